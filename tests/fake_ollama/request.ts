/**
 * Record of a request to the fake Ollama: everything received, and the times at which it was answered or aborted. Times
 * are `performance.now()` milliseconds.
 */

import { createHash, type Hash } from "node:crypto";

/** Maximum size of bodies that are kept completely. */
export const MAX_KEPT_BODY_BYTES = 16 * 1024 * 1024;
/** Bytes kept of a larger body, in addition to its length and hash. */
export const KEPT_PREFIX_BYTES = 64 * 1024;

/** Parsed head of a request. */
export interface RequestHead {
  /** Method as sent. */
  readonly method: string;
  /** Request target as sent: path and query, not decoded. */
  readonly target: string;
  /** Minor version: 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minorVersion: number;
  /** Header names and values as received, in order, duplicates included (latin1). */
  readonly rawHeaders: readonly (readonly [string, string])[];
}

/**
 * End of a request: the whole response was written, the peer disconnected before that, or the fake closed the
 * connection.
 */
export type RequestEnd = "answered" | "aborted" | "broken";

/** Request as received by the fake. */
export class RecordedRequest implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly minorVersion: number;
  readonly rawHeaders: readonly (readonly [string, string])[];
  /** Number of the TCP connection, counted from 1 in order of arrival. */
  readonly connectionId: number;
  /** Time at which the head was complete. */
  readonly receivedAt: number = performance.now();
  /** Time at which the last byte of the response was handed to the kernel; `undefined` until then. */
  answeredAt: number | undefined;
  /** Time at which the peer closed before the response was complete; `undefined` if it did not. */
  abortedAt: number | undefined;
  /** Body bytes received so far, chunked framing removed. */
  bodyLength = 0;
  /** Whether the body was received completely; true if there is none. */
  bodyComplete = false;

  #chunks: Uint8Array[] = [];
  #kept = 0;
  #hash: Hash | undefined;
  #digest: string | undefined;
  #aborted = Promise.withResolvers<number>();
  #ended = Promise.withResolvers<RequestEnd>();

  constructor(head: RequestHead, connectionId: number) {
    this.method = head.method;
    this.target = head.target;
    this.minorVersion = head.minorVersion;
    this.rawHeaders = head.rawHeaders;
    this.connectionId = connectionId;
  }

  /** Target without its query. */
  get path(): string {
    const at = this.target.indexOf("?");
    return at < 0 ? this.target : this.target.slice(0, at);
  }

  /** Query without its question mark; empty if there is none. */
  get query(): string {
    const at = this.target.indexOf("?");
    return at < 0 ? "" : this.target.slice(at + 1);
  }

  /** Body bytes: all of them, or the first KEPT_PREFIX_BYTES of a body over MAX_KEPT_BODY_BYTES. */
  get body(): Uint8Array<ArrayBuffer> {
    return concat(this.#chunks);
  }

  /** Body as UTF-8 text, limited like `body`. */
  get text(): string {
    return new TextDecoder().decode(this.body);
  }

  /** SHA-256 of all body bytes received so far, in hex. */
  get bodySha256(): string {
    if (this.#digest !== undefined) return this.#digest;
    const hash = this.#hash ?? createHash("sha256").update(this.body);
    if (!this.bodyComplete) return hash.copy().digest("hex");
    this.#digest = hash.digest("hex");
    return this.#digest;
  }

  /**
   * Resolves with `abortedAt` if the peer closes before the response is complete, otherwise never. Use `ended`, or
   * `FakeOllama.waitForAbort()`, if that would make a test hang.
   */
  get aborted(): Promise<number> {
    return this.#aborted.promise;
  }

  /** Resolves when the request has ended: "answered", "aborted" by the peer, or "broken" by the fake. */
  get ended(): Promise<RequestEnd> {
    return this.#ended.promise;
  }

  /** Returns the first value of a header by its case-insensitive name; `undefined` if it was not sent. */
  header(name: string): string | undefined {
    const wanted = name.toLowerCase();
    for (const [key, value] of this.rawHeaders) {
      if (key.toLowerCase() === wanted) return value;
    }
    return undefined;
  }

  /** Returns all values of a header in order. */
  headers(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.rawHeaders.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
  }

  /** Adds received body bytes. Called by the server only. */
  recordBody(bytes: Uint8Array): void {
    this.bodyLength += bytes.length;
    if (this.#hash !== undefined) {
      this.#hash.update(bytes);
      return;
    }
    this.#chunks.push(bytes);
    this.#kept += bytes.length;
    if (this.#kept <= MAX_KEPT_BODY_BYTES) return;
    this.#hash = createHash("sha256");
    for (const chunk of this.#chunks) this.#hash.update(chunk);
    this.#chunks = [concat(this.#chunks).slice(0, KEPT_PREFIX_BYTES)];
  }

  /** Ends the request; further calls have no effect. Called by the server only. */
  recordEnd(end: RequestEnd): void {
    if (this.answeredAt !== undefined || this.abortedAt !== undefined) return;
    const now = performance.now();
    if (end === "answered") this.answeredAt = now;
    if (end === "aborted") {
      this.abortedAt = now;
      this.#aborted.resolve(now);
    }
    this.#ended.resolve(end);
  }
}

/** Joins byte arrays. Returns a single one without copying. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  if (parts.length === 1) return parts[0] as Uint8Array<ArrayBuffer>;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
