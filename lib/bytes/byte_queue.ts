/**
 * Bytes that are kept until they are needed in one piece.
 *
 * @module
 */

/** No bytes. */
export const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/**
 * Copies of byte arrays, in one buffer that grows: an array for each part would take some 300 bytes even for a part of
 * one byte, and a view would keep the whole buffer that the part was read into.
 */
export class ByteQueue {
  readonly #sizeBytes: number;
  #buffer = EMPTY;
  #bytes = 0;

  /** @param sizeBytes Expected size, in bytes: the buffer does not grow beyond it ahead of time. Default: not known. */
  constructor(sizeBytes = Infinity) {
    this.#sizeBytes = sizeBytes;
  }

  /** Number of bytes in the queue. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Size that the buffer has once this number of bytes is added, in bytes: at most twice those of the queue. */
  capacityWith(bytes: number): number {
    const needed = this.#bytes + bytes;
    const { length } = this.#buffer;
    return needed <= length ? length : Math.max(needed, Math.min(2 * length, this.#sizeBytes));
  }

  /** Appends a copy of the bytes. */
  add(part: Uint8Array): void {
    if (part.length === 0) return;
    const capacity = this.capacityWith(part.length);
    if (capacity > this.#buffer.length) {
      // Frees the old buffer at once. That of EMPTY is shared.
      const grown = this.#bytes === 0 ? new ArrayBuffer(capacity) : this.#buffer.buffer.transfer(capacity);
      this.#buffer = new Uint8Array(grown);
    }
    this.#buffer.set(part, this.#bytes);
    this.#bytes += part.length;
  }

  /**
   * Empties the queue.
   *
   * @param last Bytes to append to those of the queue. Default: none.
   * @returns All bytes in one array, in a buffer that may be larger; `last` itself where the queue is empty.
   */
  take<T extends ArrayBufferLike = ArrayBuffer>(last?: Uint8Array<T>): Uint8Array<T | ArrayBuffer> {
    if (this.#bytes === 0) return last ?? EMPTY;
    const taken = this.#buffer.subarray(0, this.#bytes);
    this.clear();
    return last === undefined || last.length === 0 ? taken : join([taken, last]);
  }

  /** Discards all bytes. */
  clear(): void {
    this.#buffer = EMPTY;
    this.#bytes = 0;
  }
}

/** Concatenates byte arrays. */
export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
