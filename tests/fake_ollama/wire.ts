/**
 * HTTP/1.1 parsing for the fake Ollama: received bytes, request heads and request bodies.
 */

import { concat, type RecordedRequest, type RequestHead } from "./request.ts";

/** Maximum size of heads and of chunk size lines. */
export const MAX_HEAD_BYTES = 1024 * 1024;
/** Maximum of unread bytes per connection; above it, reading from the socket pauses. */
const MAX_INBOX_BYTES = 1024 * 1024;
const EMPTY = new Uint8Array(0);

/** Thrown in a handler if the peer has disconnected or the fake is closing; never a test failure. */
export class ConnectionGone extends Error {
  override name = "ConnectionGone";
}

/** Thrown for a malformed request, which gets 400 as from Go. */
export class BadRequest extends Error {
  override name = "BadRequest";
}

/** Bytes received from the peer and not yet consumed. */
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

  /** Resolves when there is room for more bytes. */
  async room(): Promise<void> {
    while (this.#size > MAX_INBOX_BYTES && !this.#ended) {
      await new Promise<void>((resolve) => this.#wakeWriter = resolve);
    }
  }

  /** Returns the next bytes, or `undefined` after the peer's last. */
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

/** Reads a request body from the inbox, by length or chunked. */
export class BodyReader {
  started = false;
  #inbox: Inbox;
  #chunked: boolean;
  /** Remaining bytes of the body, or of the current chunk. */
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
      // Trailers are ignored.
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

/** Returns whether the client waits for a 100 before it sends the body. */
export function expectsContinue(request: RecordedRequest): boolean {
  return request.header("expect")?.toLowerCase() === "100-continue";
}

/** Returns the index after the empty line, or -1. */
export function endOfHead(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(13); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at + 4;
  }
  return -1;
}

/** Parses a head without its empty line. Throws BadRequest. */
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

/** Decodes one character per byte. TextDecoder's "latin1" is windows-1252 and would change 0x80 to 0x9f. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

/** Encodes one byte per character. */
export function latin1Bytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
