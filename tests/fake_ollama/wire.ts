/**
 * Reading HTTP/1.1 off the wire for the fake Ollama: received bytes, request heads and request bodies.
 */

import { concat, type RecordedRequest, type RequestHead } from "./request.ts";

/** Larger heads (and chunk size lines) are refused. */
export const MAX_HEAD_BYTES = 1024 * 1024;
/** Unread bytes kept per connection; above it the socket is no longer read. */
const MAX_INBOX_BYTES = 1024 * 1024;
const EMPTY = new Uint8Array(0);

/** Thrown into a handler when the peer has left or the fake closes; never an error of the test. */
export class ConnectionGone extends Error {
  override name = "ConnectionGone";
}

/** Thrown for a request that is no HTTP; answered with 400 as Go does. */
export class BadRequest extends Error {
  override name = "BadRequest";
}

/** Bytes that came from the peer and that nobody has taken yet. */
export class Inbox {
  #chunks: Uint8Array[] = [];
  #size = 0;
  #ended = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.#wakeReader?.();
  }

  end(): void {
    this.#ended = true;
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  /** Resolves when there is room for more. */
  async room(): Promise<void> {
    while (this.#size > MAX_INBOX_BYTES && !this.#ended) {
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
    }
  }

  /** The next bytes, or undefined when the peer has sent its last. */
  async take(): Promise<Uint8Array | undefined> {
    while (true) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#size -= chunk.length;
        this.#wakeWriter?.();
        return chunk;
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
  }

  putBack(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.unshift(chunk);
    this.#size += chunk.length;
  }
}

/** Reads one request body from the inbox, by length or by chunks. */
export class BodyReader {
  started = false;
  #inbox: Inbox;
  #chunked: boolean;
  /** Bytes left of the body, or of the current chunk. */
  #left: number;
  #ended = false;
  #firstChunk = true;

  constructor(inbox: Inbox, request: RecordedRequest) {
    this.#inbox = inbox;
    this.#chunked = /\bchunked\b/i.test(request.header("transfer-encoding") ?? "");
    const length = Number(request.header("content-length") ?? 0);
    if (!Number.isSafeInteger(length) || length < 0) throw new BadRequest("Bad Content-Length");
    this.#left = this.#chunked ? 0 : length;
  }

  get empty(): boolean {
    return !this.#chunked && this.#left === 0;
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#ended) return undefined;
    if (this.#left === 0 && this.#chunked) await this.#nextChunk();
    if (this.#left === 0) {
      this.#ended = true;
      return undefined;
    }
    const bytes = await this.#inbox.take();
    if (bytes === undefined) throw new ConnectionGone();
    const part = bytes.subarray(0, this.#left);
    this.#inbox.putBack(bytes.subarray(part.length));
    this.#left -= part.length;
    return part;
  }

  async #nextChunk(): Promise<void> {
    if (!this.#firstChunk) await this.#line();
    this.#firstChunk = false;
    const size = (await this.#line()).split(";")[0]?.trim() ?? "";
    if (!/^[0-9a-f]{1,12}$/i.test(size)) throw new BadRequest("Bad chunk size");
    this.#left = parseInt(size, 16);
    if (this.#left > 0) return;
    while (await this.#line() !== "") {
      // Trailers are read and dropped.
    }
  }

  async #line(): Promise<string> {
    let held: Uint8Array = EMPTY;
    while (true) {
      const bytes = await this.#inbox.take();
      if (bytes === undefined) throw new ConnectionGone();
      held = held.length === 0 ? bytes : concat([held, bytes]);
      const end = held.indexOf(10);
      if (end >= 0) {
        this.#inbox.putBack(held.subarray(end + 1));
        return latin1(held.subarray(0, end)).replace(/\r$/, "");
      }
      if (held.length > MAX_HEAD_BYTES) throw new BadRequest("Line too long");
    }
  }
}

/** Whether the client waits for a 100 before it sends the body. */
export function expectsContinue(request: RecordedRequest): boolean {
  return request.header("expect")?.toLowerCase() === "100-continue";
}

/** The index behind the empty line, or -1. */
export function endOfHead(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(13); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at + 4;
  }
  return -1;
}

/** A head without its empty line; throws BadRequest. */
export function parseHead(bytes: Uint8Array): RequestHead {
  const [first = "", ...lines] = latin1(bytes).split("\r\n");
  const [, method, target, minor] = /^([^ ]+) ([^ ]+) HTTP\/1\.([01])$/.exec(first) ?? [];
  if (method === undefined || target === undefined) throw new BadRequest(`Bad request line: "${first}"`);
  const rawHeaders = lines.map((line): readonly [string, string] => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new BadRequest(`Bad header line: "${line}"`);
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return { method, target, minorVersion: Number(minor), rawHeaders };
}

/** One character per byte; TextDecoder's "latin1" is windows-1252 and would change 0x80 to 0x9f. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

/** The reverse of latin1. */
export function latin1Bytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
