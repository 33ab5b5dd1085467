/**
 * Forwards a body unchanged while an observer reads it.
 *
 * Pull-based: `tee()` buffers without bound where one side is slow, and a TransformStream halves the throughput.
 * Without a promise of its own per chunk. What the observer sees has been forwarded before.
 *
 * @module
 */

import { EMPTY, join } from "../bytes/byte_queue.ts";
import { type BodySink, type BodySource, BodyStream } from "../http.ts";
import type { Bytes } from "./body_reader.ts";
import { GatheringReader, type LoopTicks, type ReadEnd, type Receiver } from "./gather.ts";

/** How a body ended. */
export type BodyEnd =
  /** With its last byte. */
  | "complete"
  /** The source broke off; the reader of the body gets the same error. */
  | "broken"
  /** The reader of the body disconnected; the source is cancelled. */
  | "cancelled";

/** Observes a body. What it throws ends the body on both sides. */
export interface Watcher {
  /**
   * Called with each chunk, after it has been forwarded.
   *
   * @param bytes As they arrived.
   * @param forwarded Number of bytes that were forwarded; 0 where a filter holds them, and where the reader of the body
   * has disconnected.
   */
  chunk(bytes: Uint8Array, forwarded: number): void;
  /**
   * Called once, after all chunks.
   *
   * @param error Set where the body is broken.
   */
  end(end: BodyEnd, error?: unknown): void;
}

/** Changes a body on its way. */
export interface Filter {
  /** Takes bytes and returns those to be forwarded in their place; the result may share their memory. */
  push(bytes: Uint8Array): Uint8Array;
  /** Called at the end of the body, complete or broken. Returns what is still to be forwarded. */
  end(): Uint8Array;
}

/** Options of {@linkcode tap}. */
export interface TapOptions {
  readonly watcher: Watcher;
  /** Shared by all taps. */
  readonly ticks: LoopTicks;
  /** Changes what is forwarded. Absent: nothing is changed. */
  readonly filter?: Filter | undefined;
}

/**
 * Forwards a body, only as fast as it is read. The watcher must not keep the chunks that it sees.
 *
 * @param body The body of a `fetch` response or of a request.
 */
export function tap(body: ReadableStream<Bytes>, options: TapOptions): BodyStream {
  return new BodyStream(new Tap(body, options));
}

class Tap implements BodySource, Receiver {
  readonly #reader: GatheringReader;
  readonly #watcher: Watcher;
  readonly #filter: Filter | undefined;
  #sink: BodySink | undefined;
  /** The chunk that is being forwarded: its reader may cancel meanwhile. */
  #current = EMPTY;
  #hasEnded = false;

  constructor(body: ReadableStream<Bytes>, options: TapOptions) {
    const { watcher, ticks, filter } = options;
    this.#reader = new GatheringReader(body, ticks, this);
    this.#watcher = watcher;
    this.#filter = filter;
  }

  pull(sink: BodySink): void {
    this.#sink = sink;
    this.#reader.read();
  }

  async cancel(reason: unknown): Promise<void> {
    // What has arrived is observed, although nobody gets it: it may have the figures.
    const bytes = join([this.#current, this.#reader.take()]);
    if (bytes.length > 0) this.#watcher.chunk(bytes, 0);
    this.#end("cancelled");
    await this.#reader.cancel(reason);
  }

  receive(bytes: Bytes, end?: ReadEnd): void {
    const sink = this.#sink;
    if (this.#hasEnded || sink === undefined) return;
    try {
      const forwarded = this.#forward(bytes, end, sink);
      if (this.#hasEnded) return;
      if (end !== undefined) this.#finish(end, sink);
      // A filter may hold a whole chunk back.
      else if (forwarded === 0) this.#reader.read();
    } catch (error) {
      this.#fail(error, sink);
    }
  }

  /** Returns the number of bytes forwarded. */
  #forward(bytes: Bytes, end: ReadEnd | undefined, sink: BodySink): number {
    const forwarded = this.#filtered(bytes, end !== undefined);
    this.#current = bytes;
    // `Deno.serve` takes the chunk at once, and cancels where the client has disconnected.
    if (forwarded.length > 0) sink.enqueue(forwarded);
    this.#current = EMPTY;
    if (!this.#hasEnded && bytes.length + forwarded.length > 0) this.#watcher.chunk(bytes, forwarded.length);
    return forwarded.length;
  }

  #filtered(bytes: Bytes, isLast: boolean): Uint8Array {
    if (this.#filter === undefined) return bytes;
    const forwarded = this.#filter.push(bytes);
    return isLast ? join([forwarded, this.#filter.end()]) : forwarded;
  }

  #finish(end: ReadEnd, sink: BodySink): void {
    if (end.how === "complete") {
      sink.close();
      this.#end("complete");
    } else {
      sink.error(end.error);
      this.#end("broken", end.error);
    }
  }

  #end(end: BodyEnd, error?: unknown): void {
    this.#hasEnded = true;
    this.#watcher.end(end, error);
  }

  /** Ends both sides after an exception of our own, such as a lack of memory, and leaves it unhandled to be logged. */
  #fail(error: unknown, sink: BodySink): void {
    if (!this.#hasEnded) this.#end("broken", error);
    sink.error(error);
    this.#reader.cancel(error).catch(() => {});
    Promise.reject(error);
  }
}
