/**
 * Request bodies in memory, within limits: of one body, and of all together.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import type { Bytes } from "./body_reader.ts";

/** Maximum size of a body that is parsed, in bytes. A larger one is only forwarded; its model is the response's. */
export const READ_LIMIT_BYTES = 8 * 1024 * 1024;

/**
 * Maximum size of all bodies that are held at once, in bytes: while they arrive, and until they are sent. Beyond it
 * bodies are only forwarded, so that memory stays bounded when thousands of requests wait.
 */
export const HELD_LIMIT_BYTES = 256 * 1024 * 1024;

/** What all bodies take that are held. */
export interface HeldTotal {
  /** Sum of the sizes of their buffers, in bytes: what is kept, not what is announced. */
  bytes: number;
}

/** One body, or the beginning of one. It counts for as long as its bytes are kept. */
export class HeldBody {
  readonly #total: HeldTotal;
  readonly #queue: ByteQueue;
  readonly #limitBytes: number;
  /** Bytes of it in the total. */
  #counted = 0;

  /** @param length Announced size, in bytes. Default: not known. */
  constructor(total: HeldTotal, length = READ_LIMIT_BYTES) {
    this.#total = total;
    this.#limitBytes = Math.min(length, READ_LIMIT_BYTES);
    this.#queue = new ByteQueue(this.#limitBytes);
  }

  /**
   * Appends a copy of the bytes.
   *
   * @returns `false` where this would exceed one of the limits; nothing has been appended then.
   */
  add(part: Uint8Array): boolean {
    if (this.#queue.bytes + part.length > this.#limitBytes) return false;
    const capacity = this.#queue.capacityWith(part.length);
    if (this.#total.bytes - this.#counted + capacity > HELD_LIMIT_BYTES) return false;
    this.#queue.add(part);
    this.#count(capacity);
    return true;
  }

  /** Takes all bytes out; they count until {@linkcode HeldBody.release}. */
  take(): Bytes {
    const taken = this.#queue.take();
    const bytes = taken.length === taken.buffer.byteLength ? taken : taken.slice();
    this.#count(bytes.length);
    return bytes;
  }

  /** Counts this number of bytes in place of those taken. */
  replace(bytes: number): void {
    this.#count(bytes);
  }

  /** No longer counts the bytes: they were given away, or nobody needs them. */
  release(): void {
    this.#queue.clear();
    this.#count(0);
  }

  #count(bytes: number): void {
    this.#total.bytes += bytes - this.#counted;
    this.#counted = bytes;
  }
}
