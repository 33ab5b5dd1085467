/**
 * Searches bytes for any of a few short strings, fast enough for every chunk.
 *
 * @module
 */

/** Finds any of several ASCII strings in bytes, reading a fraction of them (Horspool's algorithm for a set). */
export class ByteSearch {
  readonly #needles: readonly Uint8Array[];
  /** Length of the shortest needle. */
  readonly #window: number;
  /** By the last byte of the window: how far it can move; 0 where the start of a needle may end in it. */
  readonly #moves: Uint8Array;

  /** @param needles At least one, none of them empty nor longer than 255 bytes. */
  constructor(...needles: string[]) {
    this.#needles = needles.map((needle) => new TextEncoder().encode(needle));
    this.#window = Math.min(...this.#needles.map((needle) => needle.length));
    this.#moves = new Uint8Array(256).fill(this.#window);
    for (const needle of this.#needles) {
      for (let index = 0; index < this.#window; index++) {
        const byte = needle[index] as number;
        const move = this.#window - 1 - index;
        this.#moves[byte] = Math.min(this.#moves[byte] as number, move);
      }
    }
  }

  /** Whether the bytes contain any needle. */
  in(bytes: Uint8Array): boolean {
    return this.indexIn(bytes) >= 0;
  }

  /** Index of the first needle at or after an index; -1 where there is none. */
  indexIn(bytes: Uint8Array, from = 0): number {
    const length = bytes.length;
    for (let last = from + this.#window - 1; last < length;) {
      const move = this.#moves[bytes[last] as number] as number;
      if (move === 0) {
        const start = last - this.#window + 1;
        if (this.#isAt(bytes, start)) return start;
        last++;
      } else last += move;
    }
    return -1;
  }

  #isAt(bytes: Uint8Array, start: number): boolean {
    // Loops, since a closure for each byte costs several times what is done in it.
    for (const needle of this.#needles) {
      let length = 0;
      while (length < needle.length && bytes[start + length] === needle[length]) length++;
      if (length === needle.length) return true;
    }
    return false;
  }
}
