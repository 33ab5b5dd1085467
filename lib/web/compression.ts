/**
 * Compression of responses.
 *
 * @module
 */

import { acceptsEncodings } from "@std/http/negotiation";

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
  return new Response(body.pipeThrough(new CompressionStream("gzip")), { status, headers });
}
