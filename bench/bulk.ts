/**
 * Bodies of any size: generated, chunked and checked without being held in memory.
 *
 * @module
 */

/** Bytes repeated a number of times. */
export interface Part {
  readonly bytes: Uint8Array;
  readonly times: number;
}

/** Body that is too large to be held in memory. */
export type Bulk = readonly Part[];

/** Approximate size of a write. */
const PIECE_BYTES = 256 * 1024;

const CR = 13;
const LF = 10;

const encoder = new TextEncoder();

/**
 * Letters with a prime period: a loss, duplication or shift by the size of any buffer is detected.
 */
const PATTERN = letters(2 ** 18 - 5);

function letters(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    return 97 + (state >>> 16) % 26;
  });
}

/** Returns a body of that many bytes, all of them letters. */
export function patternOf(length: number): Bulk {
  const rest = length % PATTERN.length;
  return [{ bytes: PATTERN, times: (length - rest) / PATTERN.length }, { bytes: PATTERN.subarray(0, rest), times: 1 }];
}

/** Returns a body of one text, repeated. */
export function bulkOf(text: string, times = 1): Bulk {
  return [{ bytes: encoder.encode(text), times }];
}

/** Returns the size of a body in bytes. */
export function lengthOf(bulk: Bulk): number {
  return bulk.reduce((sum, { bytes, times }) => sum + bytes.length * times, 0);
}

/** Yields a body in the pieces in which it is written; small repeated parts are joined. */
export function* pieces(bulk: Bulk): Generator<Uint8Array> {
  for (const { bytes, times } of bulk) {
    if (bytes.length === 0) continue;
    const atOnce = Math.min(times, Math.ceil(PIECE_BYTES / bytes.length));
    const piece = atOnce === 1 ? bytes : repeated(bytes, atOnce);
    for (let rest = times; rest > 0; rest -= atOnce) yield piece.subarray(0, rest * bytes.length);
  }
}

/** Yields a body as chunks of HTTP/1.1, including the last chunk. */
export function* chunks(bulk: Bulk): Generator<Uint8Array> {
  for (const piece of pieces(bulk)) {
    yield encoder.encode(`${piece.length.toString(16)}\r\n`);
    yield piece;
    yield encoder.encode("\r\n");
  }
  yield encoder.encode("0\r\n\r\n");
}

function repeated(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let at = 0; at < all.length; at += bytes.length) all.set(bytes, at);
  return all;
}

/** Writes all of these bytes. */
export async function writeAll(conn: Deno.Conn, parts: Iterable<Uint8Array>): Promise<void> {
  for (const bytes of parts) {
    for (let written = 0; written < bytes.length;) written += await conn.write(bytes.subarray(written));
  }
}

/** Compares a received body with the expected one. */
export class BulkCheck {
  readonly #bulk: Bulk;
  readonly #expectedBytes: number;
  #part = 0;
  /** Repetitions of the current part that were received, and bytes of the next one. */
  #times = 0;
  #at = 0;
  #right = 0;
  #received = 0;

  constructor(bulk: Bulk) {
    this.#bulk = bulk.filter(({ bytes, times }) => bytes.length * times > 0);
    this.#expectedBytes = lengthOf(bulk);
  }

  /** Bytes received. */
  get received(): number {
    return this.#received;
  }

  /** Bytes missing or unexpected: everything from the first difference on. */
  get lost(): number {
    return this.#expectedBytes - this.#right + Math.max(this.#received - this.#expectedBytes, 0);
  }

  /** Bytes received that differ from the expected ones. */
  get wrong(): number {
    return this.#received - this.#right;
  }

  push(bytes: Uint8Array): void {
    let start = 0;
    while (start < bytes.length && this.#right === this.#received + start) {
      const part = this.#bulk[this.#part];
      if (part === undefined) break;
      const length = Math.min(bytes.length - start, part.bytes.length - this.#at);
      const same = sameBytes(bytes, start, part.bytes, this.#at, length);
      this.#right += same;
      this.#advance(part, same);
      start += length;
    }
    this.#received += bytes.length;
  }

  #advance(part: Part, bytes: number): void {
    this.#at += bytes;
    if (this.#at < part.bytes.length) return;
    this.#at = 0;
    if (++this.#times < part.times) return;
    this.#times = 0;
    this.#part++;
  }
}

/** Returns the number of equal bytes from these indexes on. */
function sameBytes(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): number {
  for (let index = 0; index < length; index++) {
    if (a[aStart + index] !== b[bStart + index]) return index;
  }
  return length;
}

/** Decodes the bytes of an HTTP/1.1 body. */
export class BodyDecoder {
  /** Whether the body has ended. */
  done: boolean;
  readonly #take: (bytes: Uint8Array) => void;
  readonly #isChunked: boolean;
  /** Remaining bytes of the chunk or of the body. */
  #rest: number;
  /** Digits of a chunk's size so far; `undefined` inside a chunk. */
  #size: string | undefined;

  /** @param contentLength `undefined` if the body is chunked. */
  constructor(contentLength: number | undefined, take: (bytes: Uint8Array) => void) {
    this.#take = take;
    this.#isChunked = contentLength === undefined;
    this.#rest = contentLength ?? 0;
    this.#size = this.#isChunked ? "" : undefined;
    this.done = contentLength === 0;
  }

  /** @returns The number of bytes that belong to the body. */
  push(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.#size !== undefined) this.#sizeByte(bytes[at++] as number);
      else at += this.#data(bytes.subarray(at));
    }
    return at;
  }

  #data(bytes: Uint8Array): number {
    const part = bytes.subarray(0, this.#rest);
    this.#take(part);
    this.#rest -= part.length;
    if (this.#rest > 0) return part.length;
    if (this.#isChunked) this.#size = "";
    else this.done = true;
    return part.length;
  }

  /** Takes a byte between chunks: the line end after one, the size of the next, or the end after the last. */
  #sizeByte(byte: number): void {
    if (byte === CR) return;
    if (byte !== LF) {
      this.#size += String.fromCharCode(byte);
      return;
    }
    // The line feed of the previous chunk.
    if (this.#size === "") {
      this.done = this.#rest < 0;
      return;
    }
    const size = parseInt(this.#size ?? "", 16);
    if (!(size >= 0)) throw new Error(`invalid chunk size: ${JSON.stringify(this.#size)}`);
    // Negative: after the last chunk, with a blank line remaining.
    this.#rest = size === 0 ? -1 : size;
    this.#size = size === 0 ? "" : undefined;
  }
}
