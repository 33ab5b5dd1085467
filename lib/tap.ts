/**
 * The same bytes, watched.
 *
 * A pull-based reader with one reused buffer: `tee()` buffers without bound where one side is slow, and a
 * TransformStream costs half the throughput. What the watcher sees, the client has already been given.
 *
 * @module
 */

/** Size of the buffer that a body is read into. A read returns what is there, up to this. */
export const READ_BYTES = 16 * 1024;

const NOTHING = new Uint8Array(0);

/** Follows a body. Exactly one of the last three is called, and nothing after it. None of them may throw. */
export interface Watcher {
  /**
   * Bytes have come, and what is to be passed on of them has been.
   *
   * @param bytes As they came. The array is reused: what is kept of it must be copied.
   * @param passed How many bytes were passed on.
   */
  chunk(bytes: Uint8Array, passed: number): void;
  /** The body ended as it should. */
  complete(): void;
  /** The source broke off; the reader of the body gets the same error. */
  broken(error: unknown): void;
  /** The reader of the body left; the source is cancelled. */
  cancelled(): void;
}

/** Changes a body on its way. */
export interface Filter {
  /** Takes bytes and returns those to be passed on in their place; the result may share their memory. */
  push(bytes: Uint8Array): Uint8Array;
  /** The body has ended, politely or not. Returns what is still to be passed on. */
  end(): Uint8Array;
}

/**
 * Passes a body on, chunk by chunk and only as fast as it is read, and lets a watcher see it.
 *
 * @param body The body of a `fetch` response or of a `Deno.serve` request.
 * @param filter Changes what is passed on; absent: nothing is changed.
 */
export function tap(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  watcher: Watcher,
  filter?: Filter,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = readerOf(body);
  let buffer = new ArrayBuffer(READ_BYTES);
  let isCancelled = false;

  /** Reads once. Returns whether the reader of this stream got something: bytes, the end, or an error. */
  async function step(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<boolean> {
    let result;
    try {
      result = await read(reader, buffer);
    } catch (error) {
      if (isCancelled) return true;
      pass(controller, filter?.end());
      controller.error(error);
      watcher.broken(error);
      return true;
    }
    if (isCancelled) return true;
    if (result.done) {
      pass(controller, filter?.end());
      controller.close();
      watcher.complete();
      return true;
    }
    const passed = pass(controller, filter === undefined ? result.value : filter.push(result.value));
    watcher.chunk(result.value, passed);
    buffer = result.value.buffer;
    return passed > 0;
  }

  return new ReadableStream({
    async pull(controller): Promise<void> {
      while (!await step(controller));
    },
    async cancel(reason): Promise<void> {
      isCancelled = true;
      watcher.cancelled();
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

type Bytes = Uint8Array<ArrayBuffer>;
type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Bytes>;

/** A body that came together with its head is no byte stream in `Deno.serve`, and cannot be read into a buffer. */
function readerOf(body: ReadableStream<Bytes>): Reader {
  try {
    return body.getReader({ mode: "byob" });
  } catch {
    return body.getReader();
  }
}

function read(reader: Reader, buffer: ArrayBuffer): Promise<ReadableStreamReadResult<Bytes>> {
  return reader instanceof ReadableStreamBYOBReader ? reader.read(new Uint8Array(buffer)) : reader.read();
}

/** Passes a copy of the bytes on, if there are any. */
function pass(
  controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
  bytes: Uint8Array = NOTHING,
): number {
  if (bytes.length > 0) controller.enqueue(bytes.slice());
  return bytes.length;
}
