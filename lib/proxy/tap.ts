/**
 * The same bytes, watched.
 *
 * A pull-based reader with one reused buffer: `tee()` buffers without bound where one side is slow, and a
 * TransformStream costs half the throughput. What the watcher sees, the client has already been given.
 *
 * A read brings one chunk of the wire, which is one token, and whatever is passed on costs a system call. So small
 * chunks are gathered for as long as each turn of the event loop brings another one. Where tokens come one by one that
 * delays them by microseconds; where the loop is busy it halves the work.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { ByteQueue, join } from "../bytes/byte_queue.ts";

/** Size of the buffer that a body is read into at first: that of a few tokens. A read that fills it doubles it. */
const LEAST_READ_BYTES = 1024;
/** Most bytes that are read at once. */
export const READ_BYTES = 128 * 1024;

/** Most bytes that are gathered; a chunk that does not fit goes out with what was gathered before it. */
export const GATHER_BYTES = 4 * 1024;

/**
 * Turns of the event loop without another chunk after which what was gathered is passed on. The first one ends before
 * the connection has been asked for more.
 */
const GATHER_TURNS = 2;

const NOTHING: Bytes = new Uint8Array(0);

type Bytes = Uint8Array<ArrayBuffer>;
type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Bytes>;

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
 * Passes a body on, only as fast as it is read, and lets a watcher see it.
 *
 * @param body The body of a `fetch` response or of a `Deno.serve` request.
 * @param turns One for all taps.
 * @param filter Changes what is passed on; absent: nothing is changed.
 */
export function tap(
  body: ReadableStream<Bytes>,
  watcher: Watcher,
  turns: Turns,
  filter?: Filter,
): ReadableStream<Bytes> {
  return new ReadableStream(new Tap(body, watcher, turns, filter), { highWaterMark: 0 });
}

/** Tells taps of the turns of the event loop: one call a turn for all that wait, and none where none does. */
export class Turns {
  #waiting: Tap[] = [];
  #isRunning = false;

  /** Waits for the tap. */
  add(tap: Tap): void {
    this.#waiting.push(tap);
    if (this.#isRunning) return;
    this.#isRunning = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const tap of waiting) if (tap.turn()) this.#waiting.push(tap);
    this.#isRunning = this.#waiting.length > 0;
    if (this.#isRunning) setImmediate(this.#turn);
  };
}

/** What a {@linkcode tap} does. Its callbacks are made once, not for each chunk. */
class Tap implements UnderlyingDefaultSource<Bytes> {
  readonly #reader: Reader;
  readonly #watcher: Watcher;
  readonly #allTurns: Turns;
  readonly #filter: Filter | undefined;
  #controller!: ReadableStreamDefaultController<Bytes>;
  /** Goes into each read and comes back with what was read. */
  #buffer = new ArrayBuffer(LEAST_READ_BYTES);
  readonly #gathered = new ByteQueue();
  /** Turns since the last chunk, while something is gathered. */
  #turns = 0;
  #isScheduled = false;
  /** The reader of this stream waits: what is passed on now does not pile up. */
  #isAsked = false;
  #isReading = false;
  /** The first chunk waits for no other. */
  #isFirst = true;
  #isFinished = false;
  #end: "complete" | "broken" | "cancelled" | undefined;
  #error: unknown;

  constructor(body: ReadableStream<Bytes>, watcher: Watcher, turns: Turns, filter: Filter | undefined) {
    this.#reader = readerOf(body);
    this.#watcher = watcher;
    this.#allTurns = turns;
    this.#filter = filter;
  }

  start(controller: ReadableStreamDefaultController<Bytes>): void {
    this.#controller = controller;
  }

  pull(): void {
    this.#isAsked = true;
    if (this.#end !== undefined) return this.#finish();
    if (this.#gathered.bytes > 0) this.#schedule();
    this.#read();
  }

  async cancel(reason: unknown): Promise<void> {
    this.#end = "cancelled";
    this.#watcher.cancelled();
    await this.#reader.cancel(reason);
  }

  #read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    read(this.#reader, this.#buffer).then(this.#take, this.#break);
  }

  readonly #take = ({ done, value }: ReadableStreamReadResult<Bytes>): void => {
    if (this.#end !== undefined) return;
    if (done) return this.#ended("complete");
    try {
      if (this.#isFirst && this.#isAsked) this.#pass(value.slice());
      else this.#gather(value);
      this.#isFirst = false;
      // Until now `pull` may have been called, and a read would have taken the bytes away.
      this.#buffer = nextBuffer(value);
    } catch (error) {
      return this.#fail(error);
    }
    this.#isReading = false;
    if (!this.#isAsked) return;
    if (this.#gathered.bytes > 0) this.#schedule();
    this.#read();
  };

  readonly #break = (error: unknown): void => {
    if (this.#end !== undefined) return;
    this.#error = error;
    this.#ended("broken");
  };

  #ended(end: "complete" | "broken"): void {
    this.#end = end;
    if (this.#isAsked) this.#finish();
  }

  /** Keeps a copy of a chunk, or passes it on with what was gathered if it does not fit. */
  #gather(chunk: Bytes): void {
    this.#turns = 0;
    if (this.#gathered.bytes + chunk.length <= GATHER_BYTES) this.#gathered.add(chunk);
    else this.#pass(this.#gathered.bytes === 0 ? chunk.slice() : this.#gathered.take(chunk));
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#allTurns.add(this);
  }

  /** A turn of the event loop has passed. Returns whether to wait for another one. */
  turn(): boolean {
    const isWaiting = this.#gathered.bytes > 0 && this.#isAsked && this.#end === undefined;
    if (isWaiting && ++this.#turns < GATHER_TURNS) return true;
    this.#isScheduled = false;
    try {
      if (isWaiting) this.#pass(this.#gathered.take(NOTHING));
    } catch (error) {
      this.#fail(error);
    }
    return false;
  }

  /** Ends both sides after an exception, as where there is no memory left, and leaves it as an unhandled rejection. */
  #fail(error: unknown): void {
    this.#end = "broken";
    this.#controller.error(error);
    this.#reader.cancel(error).catch(() => {});
    this.#watcher.broken(error);
    Promise.reject(error);
  }

  /** Passes on bytes that are not written to again. A filter may hold all of them back: then more is read. */
  #pass(bytes: Bytes): void {
    const passed = this.#filter === undefined ? bytes : this.#filter.push(bytes).slice();
    if (passed.length > 0) {
      this.#isAsked = false;
      this.#controller.enqueue(passed);
    }
    this.#watcher.chunk(bytes, passed.length);
    if (this.#isAsked) this.#read();
  }

  /** Ends this stream as the body ended. */
  #finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    try {
      this.#passRest();
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#end === "complete") {
      this.#controller.close();
      this.#watcher.complete();
    } else {
      this.#controller.error(this.#error);
      this.#watcher.broken(this.#error);
    }
  }

  /** Passes on what is left, in one piece: an error discards what was not asked for. */
  #passRest(): void {
    const bytes = this.#gathered.take(NOTHING);
    const rest = this.#filter === undefined ? bytes : join([this.#filter.push(bytes), this.#filter.end()]);
    if (rest.length > 0) this.#controller.enqueue(rest);
    if (bytes.length + rest.length > 0) this.#watcher.chunk(bytes, rest.length);
  }
}

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

/** The buffer of a read, to be used for the next one; a larger one where it was filled. */
function nextBuffer({ buffer, length }: Bytes): ArrayBuffer {
  return length === buffer.byteLength && length < READ_BYTES ? new ArrayBuffer(2 * length) : buffer;
}
