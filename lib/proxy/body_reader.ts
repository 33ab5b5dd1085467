/**
 * Reads a body into memory that is used again.
 *
 * @module
 */

import { releaseMemory } from "../http.ts";

/** Initial size of the buffer that a body is read into: some tokens. A read that fills it doubles it. */
const MIN_READ_BYTES = 1024;
/** Maximum size of a read. */
export const READ_BYTES = 128 * 1024;

/** Bytes of a stream's own. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A reader of one body. A read of Deno's without a buffer allocates 64 KiB, even for a chunk of one byte. */
export class BodyReader {
  readonly #reader: ReadableStreamBYOBReader | ReadableStreamDefaultReader<Bytes>;
  /** The same, if it reads into a buffer. Asked for once: `instanceof` costs 1 % of the CPU time of paced streams. */
  readonly #byob: ReadableStreamBYOBReader | undefined;
  /** Passed to each read of the body and returned with what was read. */
  #buffer = new ArrayBuffer(MIN_READ_BYTES);

  /** @param body Body of a `fetch` response or of a request. */
  constructor(body: ReadableStream<Bytes>) {
    this.#reader = readerOf(body);
    this.#byob = this.#reader instanceof ReadableStreamBYOBReader ? this.#reader : undefined;
  }

  /** Reads a chunk. Copy it, and call {@linkcode BodyReader.reuse} with it before the next read. */
  read(): Promise<ReadableStreamReadResult<Bytes>> {
    if (this.#byob !== undefined) return this.#byob.read(new Uint8Array(this.#buffer));
    return (this.#reader as ReadableStreamDefaultReader<Bytes>).read();
  }

  /**
   * Takes the memory of a chunk back; the next read has a larger buffer where the chunk filled it. Of a stream that
   * cannot be read into a buffer, a large chunk's memory is released.
   */
  reuse(chunk: Bytes): void {
    const { buffer, length } = chunk;
    if (this.#byob === undefined) return releaseMemory(chunk);
    const isFull = length === buffer.byteLength && length < READ_BYTES;
    this.#buffer = isFull ? new ArrayBuffer(2 * length) : buffer;
  }

  /** Cancels the body. */
  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }

  /** Leaves the rest of the body to another reader. */
  release(): void {
    this.#reader.releaseLock();
  }
}

/** A body that came together with its head is no byte stream in `Deno.serve`, and cannot be read into a buffer. */
function readerOf(body: ReadableStream<Bytes>): ReadableStreamBYOBReader | ReadableStreamDefaultReader<Bytes> {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return body.getReader();
  }
}
