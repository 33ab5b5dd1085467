/**
 * Bytes kept until they are needed in one piece.
 *
 * @module
 */

/** Bytes of an unfinished message: copies, joined once. */
export class ByteQueue {
  /** Bytes held. */
  bytes = 0;
  #parts: Uint8Array<ArrayBuffer>[] = [];

  /** Holds a copy of the bytes. */
  add(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#parts.push(part.slice());
    this.bytes += part.length;
  }

  /** All that was added, followed by `last`, which may be what is returned. Nothing is held afterwards. */
  take<T extends ArrayBufferLike>(last: Uint8Array<T>): Uint8Array<T | ArrayBuffer> {
    if (this.bytes === 0) return last;
    const [first] = this.#parts;
    const isAlone = first?.length === this.bytes && last.length === 0;
    const all = isAlone ? first : join([...this.#parts, last]);
    this.clear();
    return all;
  }

  /** Forgets what was added. */
  clear(): void {
    this.#parts = [];
    this.bytes = 0;
  }
}

/** The bytes of all parts, one after the other. */
export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
