/**
 * Requests of `Deno.serve` as handlers expect them.
 *
 * @module
 */

import type { ClientRequest, Handler } from "../http.ts";

/** Size of a chunked body, in bytes, from which on it is slow over `Deno.serve`. */
const SLOW_UPLOAD_BYTES = 64 * 1024 * 1024;

type Bytes = Uint8Array<ArrayBuffer>;
type Chunk = ReadableStreamReadResult<Bytes>;

/** Whether only the body itself says if there is one: with HTTP/2, and with HTTP/1.1 where there is none. */
export function isBodyUnknown({ method, headers }: Request): boolean {
  return method !== "GET" && method !== "HEAD" && !headers.has("content-length") && !headers.has("transfer-encoding");
}

/**
 * Returns a request whose `body` is `null` if there is none, where `Deno.serve` has an empty stream. Waits for the
 * first chunk. A body that fails before it is returned failed.
 */
export async function withKnownBody(request: Request): Promise<ClientRequest> {
  const reader = request.body?.getReader();
  if (reader === undefined) return request;
  const first = readFirst(reader);
  const isEmpty = await first.then(({ done }) => done, () => false);
  return withBody(request, isEmpty ? null : streamOf(reader, first));
}

/** Reads the first chunk that is not empty: `Deno.serve` has an empty one in the stream of no body. */
async function readFirst(reader: ReadableStreamDefaultReader<Bytes>): Promise<Chunk> {
  while (true) {
    const chunk = await reader.read();
    if (chunk.done || chunk.value.length > 0) return chunk;
  }
}

/**
 * Wraps a handler so that the first chunked body of more than 64 MiB is reported, while it arrives. `Deno.serve` of
 * Deno 2.8.3 to 2.9.6 takes time quadratic in the size of such a body; HTTP/2, which has no `Transfer-Encoding`, does
 * not.
 *
 * @param report Called once.
 * @param limitBytes Default: 64 MiB.
 */
export function watchUploads(handler: Handler, report: () => void, limitBytes = SLOW_UPLOAD_BYTES): Handler {
  let hasReported = false;
  const onBytes = (bytes: number): void => {
    if (hasReported || bytes <= limitBytes) return;
    hasReported = true;
    report();
  };
  return (request, info) => {
    const { body } = request;
    if (hasReported || !request.headers.has("transfer-encoding") || body === null) return handler(request, info);
    const reader = body.getReader();
    return handler(withBody(request, streamOf(reader, reader.read(), onBytes)), info);
  };
}

/** Returns a chunk without the rest of its buffer: a read allocates 64 KiB, even for one byte (Deno 2.9.6). */
function compacted(chunk: Bytes): Bytes {
  if (chunk.length === chunk.buffer.byteLength) return chunk;
  const copy = chunk.slice();
  chunk.buffer.transfer(0);
  return copy;
}

function withBody({ method, url, headers, signal }: ClientRequest, body: ReadableStream<Bytes> | null): ClientRequest {
  return { method, url, headers, body, signal, bytes: () => new Response(body).bytes() };
}

/**
 * A stream of what a reader reads, as fast as it is read.
 *
 * @param first The first chunk, which has been asked for.
 * @param onBytes Called with the number of bytes so far after each chunk.
 */
function streamOf(
  reader: ReadableStreamDefaultReader<Bytes>,
  first: Promise<Chunk>,
  onBytes?: (bytes: number) => void,
): ReadableStream<Bytes> {
  let next: Promise<Chunk> | undefined = first;
  let bytes = 0;
  return new ReadableStream<Bytes>({
    async pull(controller): Promise<void> {
      const { done, value } = await (next ?? reader.read());
      next = undefined;
      if (done) return controller.close();
      onBytes?.(bytes += value.length);
      controller.enqueue(compacted(value));
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}
