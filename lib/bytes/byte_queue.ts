/**
 * Bytes that are kept until they are needed in one piece.
 *
 * @module
 */

/** No bytes. */
export const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Copies of byte arrays, joined once when they are taken. */
export class ByteQueue {
  /** Number of bytes in the queue. */
  bytes = 0;
  #parts: Uint8Array<ArrayBuffer>[] = [];

  /** Appends a copy of the bytes. */
  add(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#parts.push(part.slice());
    this.bytes += part.length;
  }

  /**
   * Empties the queue.
   *
   * @param last Bytes to append to those of the queue. Default: none.
   * @returns All bytes in one array; `last` itself where the queue is empty.
   */
  take<T extends ArrayBufferLike = ArrayBuffer>(last?: Uint8Array<T>): Uint8Array<T | ArrayBuffer> {
    const parts = this.#parts;
    this.clear();
    if (last !== undefined && last.length > 0) return parts.length === 0 ? last : join([...parts, last]);
    return parts.length === 1 && parts[0] ? parts[0] : join(parts);
  }

  /** Discards all bytes. */
  clear(): void {
    this.#parts = [];
    this.bytes = 0;
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
