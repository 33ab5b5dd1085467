/**
 * Shortens JSON that arrives in chunks, so that large messages can be read in little memory: what is long in a response
 * is text, vectors and encoded data, and nothing of it is measured.
 *
 * @module
 */

/** Maximum length of a string that stays whole, in bytes. Names and reasons are shorter. */
export const STRING_LIMIT_BYTES = 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ARRAY_OPEN = 0x5b;
const ARRAY_CLOSE = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const LOWER_U = 0x75;
/** Hexadecimal digits after `\u`. */
const UNICODE_DIGITS = 4;

/** Where a chunk begins. */
type State =
  /** Outside of strings and vectors. */
  | "structure"
  /** After the bracket that opens an array whose items are not known yet. */
  | "array_start"
  | "vector"
  | "string"
  /** In the part of a string that is dropped. */
  | "long_string";

/**
 * Drops the numbers of arrays that begin with a number, and what strings have beyond {@linkcode STRING_LIMIT_BYTES}.
 * The result is JSON if the input is. An array in which strings or objects follow a number may be cut wrongly; no API
 * has one.
 */
export class LongValueSkipper {
  #state: State = "structure";
  /** Bytes of the current string. */
  #stringBytes = 0;
  /** Bytes until the current escape sequence ends: a string must not be cut within one. */
  #escapeBytes = 0;
  /** In a long string: an odd number of backslashes precedes the next byte. */
  #isEscaped = false;

  /** Returns the parts of these bytes that are kept. They share memory with `bytes`. */
  push(bytes: Uint8Array): Uint8Array[] {
    const kept: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const isKept = this.#state !== "vector" && this.#state !== "long_string";
      const end = this.#next(bytes, at);
      if (isKept && end > at) kept.push(bytes.subarray(at, end));
      at = end;
    }
    return kept;
  }

  /** Index up to which the state applied; the state is then that of what follows. */
  #next(bytes: Uint8Array, at: number): number {
    switch (this.#state) {
      case "structure":
        return this.#structureEnd(bytes, at);
      case "array_start":
        this.#state = isNumber(bytes[at] as number) ? "vector" : "structure";
        return at;
      case "vector":
        return this.#vectorEnd(bytes, at);
      case "string":
        return this.#stringEnd(bytes, at);
      case "long_string":
        return this.#longStringEnd(bytes, at);
    }
  }

  #structureEnd(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === QUOTE) {
        this.#state = "string";
        this.#stringBytes = 0;
        this.#escapeBytes = 0;
        return at + 1;
      }
      if (byte === ARRAY_OPEN) {
        this.#state = "array_start";
        return at + 1;
      }
    }
    return bytes.length;
  }

  #vectorEnd(bytes: Uint8Array, from: number): number {
    const at = bytes.indexOf(ARRAY_CLOSE, from);
    if (at < 0) return bytes.length;
    this.#state = "structure";
    return at;
  }

  #stringEnd(bytes: Uint8Array, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      if (this.#stringBytes >= STRING_LIMIT_BYTES && this.#escapeBytes === 0) {
        this.#state = "long_string";
        this.#isEscaped = false;
        return at;
      }
      this.#stringBytes++;
      const byte = bytes[at];
      if (this.#escapeBytes > 0) {
        this.#escapeBytes += byte === LOWER_U && this.#escapeBytes === 1 ? UNICODE_DIGITS - 1 : -1;
      } else if (byte === BACKSLASH) this.#escapeBytes = 1;
      else if (byte === QUOTE) {
        this.#state = "structure";
        return at + 1;
      }
    }
    return bytes.length;
  }

  #longStringEnd(bytes: Uint8Array, from: number): number {
    for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
      if (this.#isEscapedAt(bytes, from, at)) continue;
      // The quote is kept, and ends the string.
      this.#state = "string";
      this.#stringBytes = 0;
      return at;
    }
    this.#isEscaped = this.#isEscapedAt(bytes, from, bytes.length);
    return bytes.length;
  }

  /** Whether an odd number of backslashes precedes an index. */
  #isEscapedAt(bytes: Uint8Array, from: number, at: number): boolean {
    let start = at;
    while (start > from && bytes[start - 1] === BACKSLASH) start--;
    const isOdd = (at - start) % 2 === 1;
    return start === from && this.#isEscaped ? !isOdd : isOdd;
  }
}

function isNumber(byte: number): boolean {
  return byte === MINUS || byte >= ZERO && byte <= NINE;
}
