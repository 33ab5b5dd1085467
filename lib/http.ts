/**
 * Types and small functions shared by listeners, handlers and the proxy. Imports nothing.
 *
 * @module
 */

/** A TCP address to listen on or to connect to. */
export interface Address {
  readonly hostname: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** Returns an address as in the authority of a URL: IPv6 addresses are in brackets. */
export function hostPort({ hostname, port }: Address): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/**
 * Address of a client without its port; `undefined` for a transport other than TCP. An IPv4 client of a dual-stack
 * socket has an IPv4-mapped address (RFC 4291, 2.5.5.2), which is returned as the IPv4 address.
 */
export function clientAddress(remoteAddr: Deno.Addr): string | undefined {
  return "hostname" in remoteAddr ? remoteAddr.hostname.replace(/^::ffff:(?=\d+\.)/i, "") : undefined;
}

/** Reports whether a host can be reached from this machine only. IPv6 addresses are without brackets. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|(::ffff:)?127(\.\d+){3}|::1)$/i.test(hostname);
}

/** Certificate and key of a TLS listener. */
export interface TlsConfig {
  /** Certificate chain, PEM. */
  readonly cert: string;
  /** Private key of the certificate, PEM. */
  readonly key: string;
  /** Minimum version; the maximum is TLS 1.3. */
  readonly minVersion: "TLS12" | "TLS13";
}

/** What a listener knows about a request besides the request itself; `Deno.ServeHandlerInfo` is one. */
export interface RequestInfo {
  /** Address of the client. */
  readonly remoteAddr: Deno.Addr;
  /**
   * Settles when the response has been sent, or can no longer be sent. It resolves in either case; in the latter the
   * request's signal is aborted before. Of a body that the system cannot take at once, `Deno.serve` has sent only the
   * beginning by then, and the signal is aborted later if the client disconnects (Deno 2.9.6).
   */
  readonly completed: Promise<void>;
}

/**
 * The part of a `Request` that handlers use. `url` holds the request target as received, unresolved; `body` is `null`
 * if there is none, also where no header tells.
 */
export type ClientRequest = Pick<Request, "method" | "url" | "headers" | "body" | "signal" | "bytes">;

/** Responds to a request. */
export type Handler = (request: ClientRequest, info: RequestInfo) => Response | Promise<Response>;

/** An open listener. */
export interface Listener {
  /** Bound address; `port` is the actual port where 0 was asked for. */
  readonly address: Deno.NetAddr;
  /** Stops accepting connections and resolves when all open requests have ended. */
  shutdown(): Promise<void>;
  /** Closes all connections at once. Use instead of `shutdown()`: `Deno.serve` cannot abort a shutdown in progress. */
  abort(): void;
  /** Replaces the certificate. Absent where that takes a restart, as with `Deno.serve`. */
  useTls?(tls: TlsConfig): void;
}

/** `fetch`, as far as it is used here. */
export type Fetch = (url: string, init: RequestInit & { client?: Deno.HttpClient }) => Promise<Response>;

/**
 * Value of a valid `Content-Length` header.
 *
 * @returns `undefined` where there is none, and where it is repeated or not a number of at most 15 digits.
 */
export function contentLength(headers: Headers): number | undefined {
  const value = headers.get("content-length");
  return value !== null && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** A copy of a text: V8's substrings are views, which keep the whole text in memory that they were taken from. */
export function copyOf(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text));
}

/** Minimum size of a chunk whose memory is released at once, in bytes. */
export const RELEASE_BYTES = 16 * 1024;

/**
 * Releases the memory of a chunk that nobody reads any more. Otherwise large bodies leave garbage of 64 MiB and more
 * before V8 collects it (V8 15.0). Small chunks, and those that share their memory, are left alone.
 */
export function releaseMemory({ buffer, byteLength }: Uint8Array): void {
  if (byteLength >= RELEASE_BYTES && byteLength === buffer.byteLength) (buffer as ArrayBuffer).transfer(0);
}

/** Takes a body, chunk by chunk. */
export interface BodySink {
  /** Takes a chunk that is not empty. Its memory is used again when this returns. */
  enqueue(chunk: Uint8Array): void;
  close(): void;
  error(reason: unknown): void;
}

/** Gives a body, chunk by chunk. */
export interface BodySource {
  /** Asks for the next chunk or the end; it may come at once. May be called from within `enqueue()`. */
  pull(sink: BodySink): void;
  /** Discards the rest: the sink gets nothing more. */
  cancel(reason: unknown): Promise<void>;
}

/** A body as a stream, for those who need one. Whoever can take it from the source saves the stream's promises. */
export class BodyStream extends ReadableStream<Uint8Array<ArrayBuffer>> {
  /** Not to be used once the stream is being read. */
  readonly source: BodySource;

  /**
   * A chunk's memory is released when the next one is read: the reader must be done with it by then, as `fetch` and
   * `Deno.serve` are.
   */
  constructor(source: BodySource) {
    super(new StreamFeed(source), { highWaterMark: 0 });
    this.source = source;
  }
}

/** Enqueues copies of a source's chunks. */
class StreamFeed implements UnderlyingDefaultSource<Uint8Array<ArrayBuffer>>, BodySink {
  readonly #source: BodySource;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #last: Uint8Array<ArrayBuffer> | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    this.#controller = controller;
  }

  pull(): void {
    if (this.#last !== undefined) releaseMemory(this.#last);
    this.#last = undefined;
    this.#source.pull(this);
  }

  cancel(reason: unknown): Promise<void> {
    return this.#source.cancel(reason);
  }

  enqueue(chunk: Uint8Array): void {
    this.#last = chunk.slice();
    this.#controller?.enqueue(this.#last);
  }

  close(): void {
    this.#controller?.close();
  }

  error(reason: unknown): void {
    this.#controller?.error(reason);
  }
}

/**
 * An error response in the shape of the API that was called (docs/ollama-api.md 4.1, 4.3), so that clients can show it.
 *
 * @param path Path of the request, without the upstream's base path.
 */
export function errorResponse(status: number, path: string, message: string): Response {
  const type = status < 500 ? "invalid_request_error" : "api_error";
  if (path === "/v1/messages") return Response.json({ type: "error", error: { type, message } }, { status });
  if (path.startsWith("/v1/")) {
    return Response.json({ error: { message, type, param: null, code: null } }, { status });
  }
  return Response.json({ error: message }, { status });
}
