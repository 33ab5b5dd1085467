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

const encoder = new TextEncoder();

/** Letters with a prime period: a loss, duplication or shift by the size of any buffer is detected. */
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

/** Returns the number of line feeds in a body. */
export function lineFeedsOf(bulk: Bulk): number {
  return bulk.reduce((sum, { bytes, times }) => sum + bytes.filter((byte) => byte === 10).length * times, 0);
}

/** Yields a body in the pieces in which it is written; small repeated parts are joined up to about `pieceBytes`. */
export function* pieces(bulk: Bulk, pieceBytes = PIECE_BYTES): Generator<Uint8Array> {
  for (const { bytes, times } of bulk) {
    if (bytes.length === 0) continue;
    const atOnce = Math.min(times, Math.ceil(pieceBytes / bytes.length));
    const piece = new Uint8Array(bytes.length * atOnce);
    for (let at = 0; at < piece.length; at += bytes.length) piece.set(bytes, at);
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

/** Compares a received body with the expected one. */
export class BulkCheck {
  readonly #pieces: Iterator<Uint8Array>;
  readonly #expectedBytes: number;
  /** Rest of the expected piece; `undefined` after the last one. */
  #piece: Uint8Array | undefined;
  #right = 0;
  #received = 0;

  constructor(bulk: Bulk) {
    this.#pieces = pieces(bulk);
    this.#piece = this.#pieces.next().value;
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
    for (let at = 0; this.#piece !== undefined && this.#right === this.#received + at && at < bytes.length;) {
      const same = sameBytes(bytes, at, this.#piece);
      this.#right += same;
      at += Math.min(bytes.length - at, this.#piece.length);
      this.#piece = same < this.#piece.length ? this.#piece.subarray(same) : this.#pieces.next().value;
    }
    this.#received += bytes.length;
  }
}

/** Returns the number of bytes from `start` on that are equal to those of `other`. */
function sameBytes(bytes: Uint8Array, start: number, other: Uint8Array): number {
  const length = Math.min(bytes.length - start, other.length);
  for (let index = 0; index < length; index++) {
    if (bytes[start + index] !== other[index]) return index;
  }
  return length;
}
