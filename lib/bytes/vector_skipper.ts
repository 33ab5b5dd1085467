/**
 * Drops the vectors of a response with embeddings: they are nearly all of it, and nothing of them is measured.
 *
 * @module
 */

const ARRAY_OPEN = 0x5b;
const ARRAY_CLOSE = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/**
 * Empties the arrays of numbers in JSON that arrives in chunks. A string that contains `[` and a digit would be cut as
 * well; the embedding APIs have none: their strings are model names and vectors in base64.
 */
export class VectorSkipper {
  #isInVector = false;
  /** The last byte opened an array whose items are not known yet. */
  #hasOpened = false;

  /** Returns the parts of these bytes that are not numbers of a vector. They share memory with `bytes`. */
  push(bytes: Uint8Array): Uint8Array[] {
    const kept: Uint8Array[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#hasOpened) {
        this.#hasOpened = false;
        this.#isInVector = isNumber(bytes[at] as number);
      }
      const end = this.#isInVector ? this.#vectorEnd(bytes, at) : this.#arrayStart(bytes, at);
      if (!this.#isInVector) kept.push(bytes.subarray(at, end));
      else this.#isInVector = end === bytes.length;
      at = end;
    }
    return kept;
  }

  /** Index of the bracket that closes the vector; the length where there is none. */
  #vectorEnd(bytes: Uint8Array, from: number): number {
    const at = bytes.indexOf(ARRAY_CLOSE, from);
    return at < 0 ? bytes.length : at;
  }

  /** Index after the next bracket that opens an array; the length where there is none. */
  #arrayStart(bytes: Uint8Array, from: number): number {
    const at = bytes.indexOf(ARRAY_OPEN, from);
    this.#hasOpened = at >= 0;
    return at < 0 ? bytes.length : at + 1;
  }
}

function isNumber(byte: number): boolean {
  return byte === MINUS || byte >= ZERO && byte <= NINE;
}
