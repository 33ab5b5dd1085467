/**
 * Compression of responses.
 *
 * @module
 */

import { acceptsEncodings } from "@std/http/negotiation";
import { pause } from "../metrics/pause.ts";

/** Number of bytes that are compressed in one go, within about a millisecond. */
const SLICE_BYTES = 128 * 1024;

/**
 * Compresses a response, which has no coding yet, if the client prefers gzip. Without `Accept-Encoding`, or with `*`,
 * it does not.
 */
export function compressed(request: Pick<Request, "headers">, response: Response): Response {
  const encoding = acceptsEncodings(request).find((name) => name === "gzip" || name === "identity");
  response.headers.append("vary", "accept-encoding");
  // Its body is not touched: listeners know the length of a text, but not of a stream (seen in Deno 2.9.6).
  if (encoding !== "gzip") return response;
  const { body, status, headers } = response;
  if (body === null) return response;
  headers.set("content-encoding", "gzip");
  return new Response(body.pipeThrough(slices()).pipeThrough(new CompressionStream("gzip")), { status, headers });
}

/** Splits large chunks and pauses between the parts, so that a scrape does not delay proxied streams. */
function slices(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  return new TransformStream({
    async transform(chunk, controller): Promise<void> {
      for (let start = 0; start < chunk.length; start += SLICE_BYTES) {
        if (start > 0) await pause();
        controller.enqueue(chunk.subarray(start, start + SLICE_BYTES));
      }
    },
  });
}
