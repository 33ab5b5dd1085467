/**
 * What the fake Ollama remembers of a request: everything that came over the wire, and the moments at which it was
 * answered or abandoned. Times are `performance.now()` milliseconds.
 */

import { createHash, type Hash } from "node:crypto";

/** Bodies up to this size are kept whole. */
export const MAX_KEPT_BODY_BYTES = 16 * 1024 * 1024;
/** What is kept of a larger one, beside its length and its hash. */
export const KEPT_PREFIX_BYTES = 64 * 1024;

/** The head of a request, as parsed by the server. */
export interface RequestHead {
  /** As sent, never upper-cased. */
  readonly method: string;
  /** The request target as sent: path and query, not decoded. */
  readonly target: string;
  /** The minor version: 0 for HTTP/1.0, 1 for HTTP/1.1. */
  readonly minorVersion: number;
  /** Names and values in the order, the case and the number in which they came (latin1). */
  readonly rawHeaders: readonly (readonly [string, string])[];
}

/** How a request ended: the whole answer was written, or the peer left before that. */
export type RequestEnd = "answered" | "aborted" | "broken";

/** One request as the fake saw it. */
export class RecordedRequest implements RequestHead {
  readonly method: string;
  readonly target: string;
  readonly minorVersion: number;
  readonly rawHeaders: readonly (readonly [string, string])[];
  /** Number of the TCP connection, counted from 1 in order of arrival. */
  readonly connectionId: number;
  /** When the head was complete. */
  readonly receivedAt: number = performance.now();
  /** When the last byte of the answer had been handed to the kernel; undefined until then. */
  answeredAt: number | undefined;
  /** When the peer was seen to have closed before the answer was complete; undefined if it did not. */
  abortedAt: number | undefined;
  /** Body bytes received so far, chunked framing removed. */
  bodyLength = 0;
  /** True when the body was received to its end (also when there is none). */
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

  /** The target without its query. */
  get path(): string {
    const at = this.target.indexOf("?");
    return at < 0 ? this.target : this.target.slice(0, at);
  }

  /** The query without its question mark; empty if there is none. */
  get query(): string {
    const at = this.target.indexOf("?");
    return at < 0 ? "" : this.target.slice(at + 1);
  }

  /** Body bytes: all of them, or the first KEPT_PREFIX_BYTES of a body over MAX_KEPT_BODY_BYTES. */
  get body(): Uint8Array<ArrayBuffer> {
    return concat(this.#chunks);
  }

  /** The body as UTF-8 text, with the bound of `body`. */
  get text(): string {
    return new TextDecoder().decode(this.body);
  }

  /** SHA-256 of all body bytes received so far, in hex; of large bodies too. */
  get bodySha256(): string {
    if (this.#digest !== undefined) return this.#digest;
    const hash = this.#hash ?? createHash("sha256").update(this.body);
    if (!this.bodyComplete) return hash.copy().digest("hex");
    this.#digest = hash.digest("hex");
    return this.#digest;
  }

  /**
   * Resolves with `abortedAt` when the peer closes before the answer is complete. Stays pending otherwise: use
   * `ended`, or `FakeOllama.waitForAbort`, where that would make a test hang.
   */
  get aborted(): Promise<number> {
    return this.#aborted.promise;
  }

  /** Resolves when the request is over: "answered", "aborted" by the peer, or "broken" off by the fake. */
  get ended(): Promise<RequestEnd> {
    return this.#ended.promise;
  }

  /** The first value of a header, any case of its name; undefined if it was not sent. */
  header(name: string): string | undefined {
    const wanted = name.toLowerCase();
    for (const [key, value] of this.rawHeaders) {
      if (key.toLowerCase() === wanted) return value;
    }
    return undefined;
  }

  /** All values of a header in order. */
  headers(name: string): string[] {
    const wanted = name.toLowerCase();
    return this.rawHeaders.filter(([key]) => key.toLowerCase() === wanted).map(([, value]) => value);
  }

  /** Takes received body bytes; called by the server only. */
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

  /** Marks the end of the request, the first call counts; called by the server only. */
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

/** Joins byte arrays; a single one is returned as it is. */
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
