/**
 * Sends a `Response` through `node:http`.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { nextTick } from "node:process";
import { setImmediate } from "node:timers";
import { type BodySink, type BodySource, BodyStream, RELEASE_BYTES, releaseMemory } from "../http.ts";

/** Carriage return and line feed. */
const CR = 0x0d;
const LF = 0x0a;

/** The last chunk, without trailers (RFC 9112, 7.1). */
const LAST_CHUNK = "0\r\n\r\n";

/**
 * Sends a response, with backpressure. Cancels its body if the client disconnects.
 *
 * Chunks are framed here and written to the socket: through `ServerResponse.write()` a token costs a tenth more of the
 * exporter's CPU time (Deno 2.9.6).
 *
 * @param outgoing Assigned to its socket, so that no other response comes before it.
 * @param disconnected Aborted when the client disconnects.
 * @throws If the body fails; the response is then incomplete.
 */
export async function sendResponse(
  response: Response,
  outgoing: ServerResponse,
  disconnected: AbortSignal,
): Promise<void> {
  const { req: request, socket } = outgoing;
  const body = request.method === "HEAD" ? null : response.body;
  const headers = headersOf(response);
  const hasLength = response.headers.has("content-length") && !response.headers.has("transfer-encoding");
  const isChunked = body !== null && !hasLength && request.httpVersion === "1.1";
  if (isChunked) headers.push("transfer-encoding", "chunked");
  else if (response.body === null && !hasLength && hasBody(response, request.method)) {
    headers.push("content-length", "0");
  }
  // Connections are persistent by default in HTTP/1.1; HTTP/1.0 clients need the header.
  if (outgoing.shouldKeepAlive && request.httpVersion === "1.1") outgoing.removeHeader("connection");
  outgoing.writeHead(response.status, headers);
  outgoing.chunkedEncoding = false;
  if (body === null || socket === null) {
    outgoing.end();
    // Of a HEAD response it is empty, and has an end like any other.
    await response.body?.pipeTo(new WritableStream());
    return;
  }
  const source = body instanceof BodyStream ? body.source : new StreamSource(body);
  await new BodySender(source, outgoing, socket, isChunked).send(disconnected);
}

/** A stream as a source. */
class StreamSource implements BodySource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reader = stream.getReader();
  }

  pull(sink: BodySink): void {
    this.#reader.read().then(({ done, value }) => {
      if (done) sink.close();
      // Framed, an empty one would be the last chunk.
      else if (value.length === 0) this.pull(sink);
      else sink.enqueue(value);
    }).catch((error) => sink.error(error));
  }

  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

/** Writes the headers and the body of one response to its socket. */
class BodySender implements BodySink {
  readonly #source: BodySource;
  readonly #outgoing: ServerResponse;
  readonly #socket: Socket;
  readonly #isChunked: boolean;
  readonly #sent = Promise.withResolvers<void>();
  /** The headers wait for the first chunk. */
  #isCorked = true;
  /** A chunk is being written whose memory is released afterwards. */
  #isFlushing = false;
  #hasEnded = false;

  constructor(source: BodySource, outgoing: ServerResponse, socket: Socket, isChunked: boolean) {
    this.#source = source;
    this.#outgoing = outgoing;
    this.#socket = socket;
    this.#isChunked = isChunked;
  }

  /** Resolves when all is written or the client has disconnected; rejects if the body fails. */
  send(disconnected: AbortSignal): Promise<void> {
    this.#socket.cork();
    // Takes the headers in Latin-1; `flushHeaders()` would encode them in UTF-8.
    this.#outgoing.write("", "latin1");
    // A chunk that came with the headers is there in two turns of the event loop.
    setImmediate(() => setImmediate(this.#uncork));
    if (disconnected.aborted) this.#cancel();
    else {
      disconnected.addEventListener("abort", this.#cancel, { once: true });
      this.#pull();
    }
    return this.#sent.promise;
  }

  enqueue(chunk: Uint8Array): void {
    const bytes = this.#isChunked ? framed(chunk) : chunk.slice();
    // The end of a short response goes out with it.
    if (this.#isCorked) nextTick(this.#uncork);
    if (!this.#isChunked || bytes.length >= RELEASE_BYTES) this.#flush(bytes);
    else if (this.#socket.write(bytes)) this.#pull();
    else this.#socket.once("drain", this.#pull);
  }

  close(): void {
    this.#hasEnded = true;
    if (!this.#isFlushing) this.#end();
    this.#uncork();
  }

  error(reason: unknown): void {
    this.#uncork();
    this.#sent.reject(reason);
  }

  /**
   * Writes a chunk and releases its memory. Unless the response ends with a last chunk, no write may be under way at
   * its end: `ServerResponse` then waits for an empty one, which over TLS never completes (Deno 2.9.6).
   */
  #flush(bytes: Uint8Array): void {
    this.#isFlushing = true;
    this.#socket.write(bytes, (error) => {
      this.#isFlushing = false;
      releaseMemory(bytes);
      // After an error the response must not be ended as if it were complete; "close" follows it.
      if (error) return;
      if (this.#hasEnded) this.#end();
      else this.#pull();
    });
  }

  #end(): void {
    this.#outgoing.end(this.#isChunked ? LAST_CHUNK : undefined);
    this.#sent.resolve();
  }

  readonly #pull = (): void => this.#source.pull(this);

  readonly #cancel = (): void => {
    this.#source.cancel(undefined).catch(() => {});
    this.#uncork();
    this.#sent.resolve();
  };

  readonly #uncork = (): void => {
    if (this.#isCorked) this.#socket.uncork();
    this.#isCorked = false;
  };
}

/** Returns names and values in turn, without what the framing decides. */
function headersOf(response: Response): string[] {
  const isChunked = response.headers.has("transfer-encoding");
  const headers: string[] = [];
  response.headers.forEach((value, name) => {
    if (name === "transfer-encoding") return;
    // There must be none in a 204 (RFC 9110, 8.6), nor beside chunks (RFC 9112, 6.2).
    if (name === "content-length" && (isChunked || response.status === 204)) return;
    headers.push(name, value);
  });
  return headers;
}

/** Whether the response to a request has a body, if an empty one (RFC 9112, 6.3). */
function hasBody({ status }: Response, method: string | undefined): boolean {
  return method !== "HEAD" && status !== 204 && status !== 304;
}

/** Returns a chunk between its size and a line end (RFC 9112, 7.1), in one buffer. */
function framed(chunk: Uint8Array): Uint8Array {
  const size = chunk.length.toString(16);
  const bytes = new Uint8Array(size.length + chunk.length + 4);
  for (let index = 0; index < size.length; index++) bytes[index] = size.charCodeAt(index);
  bytes[size.length] = CR;
  bytes[size.length + 1] = LF;
  bytes.set(chunk, size.length + 2);
  bytes[bytes.length - 2] = CR;
  bytes[bytes.length - 1] = LF;
  return bytes;
}

/** Closes the connection without ending the response, after sending what was written: the client sees an error. */
export function abortResponse(outgoing: ServerResponse): void {
  const { socket } = outgoing;
  if (socket === null || !outgoing.headersSent) outgoing.destroy();
  else socket.destroySoon();
}
