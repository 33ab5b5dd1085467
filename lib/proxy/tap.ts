/**
 * Forwards a body unchanged while an observer reads it.
 *
 * Pull-based: `tee()` buffers without bound where one side is slow, and a TransformStream halves the throughput. What
 * the observer sees has been forwarded before.
 *
 * @module
 */

import { EMPTY, join } from "../bytes/byte_queue.ts";
import { releaseMemory } from "../http.ts";
import type { Bytes } from "./body_reader.ts";
import { type Gathered, GatheringReader, type LoopTicks } from "./gather.ts";

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
 * Forwards a body, only as fast as it is read. A chunk's memory is released when the next one is read: the reader must
 * be done with it by then, as `fetch` and the listeners are, and the watcher must not keep it.
 *
 * @param body The body of a `fetch` response or of a request.
 */
export function tap(body: ReadableStream<Bytes>, options: TapOptions): ReadableStream<Bytes> {
  return new ReadableStream(new Tap(body, options), { highWaterMark: 0 });
}

class Tap implements UnderlyingDefaultSource<Bytes> {
  readonly #source: GatheringReader;
  readonly #watcher: Watcher;
  readonly #filter: Filter | undefined;
  /** The last chunk forwarded. */
  #last = EMPTY;
  /** The chunk that is being forwarded: its reader may cancel meanwhile. */
  #current = EMPTY;
  #hasEnded = false;

  constructor(body: ReadableStream<Bytes>, options: TapOptions) {
    const { watcher, ticks, filter } = options;
    this.#source = new GatheringReader(body, ticks);
    this.#watcher = watcher;
    this.#filter = filter;
  }

  /** Copies until something is forwarded: a filter may hold a whole chunk back. */
  async pull(controller: ReadableStreamDefaultController<Bytes>): Promise<void> {
    releaseMemory(this.#last);
    this.#last = EMPTY;
    try {
      for (let hasForwarded = false; !hasForwarded && !this.#hasEnded;) {
        const gathered = await this.#source.read();
        if (this.#hasEnded) return;
        hasForwarded = this.#forward(gathered, controller);
        if (gathered.end !== undefined && !this.#hasEnded) this.#finish(gathered.end, controller);
      }
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  async cancel(reason: unknown): Promise<void> {
    // What has arrived is observed, although nobody gets it: it may have the figures.
    const bytes = join([this.#current, this.#source.take()]);
    if (bytes.length > 0) this.#watcher.chunk(bytes, 0);
    this.#end("cancelled");
    await this.#source.cancel(reason);
  }

  #forward({ bytes, end }: Gathered, controller: ReadableStreamDefaultController<Bytes>): boolean {
    const forwarded = this.#filtered(bytes, end !== undefined);
    this.#current = bytes;
    // `Deno.serve` takes the chunk at once, and cancels where the client has disconnected.
    if (forwarded.length > 0) controller.enqueue(forwarded);
    this.#current = EMPTY;
    if (this.#hasEnded) return true;
    this.#last = forwarded;
    if (bytes.length + forwarded.length > 0) this.#watcher.chunk(bytes, forwarded.length);
    return forwarded.length > 0;
  }

  #filtered(bytes: Bytes, isLast: boolean): Bytes {
    if (this.#filter === undefined) return bytes;
    const forwarded = this.#filter.push(bytes);
    return isLast ? join([forwarded, this.#filter.end()]) : forwarded.slice();
  }

  #finish(end: NonNullable<Gathered["end"]>, controller: ReadableStreamDefaultController<Bytes>): void {
    if (end.how === "complete") {
      controller.close();
      this.#end("complete");
    } else {
      controller.error(end.error);
      this.#end("broken", end.error);
    }
  }

  #end(end: BodyEnd, error?: unknown): void {
    this.#hasEnded = true;
    this.#watcher.end(end, error);
  }

  /** Ends both sides after an exception of our own, such as a lack of memory, and leaves it unhandled to be logged. */
  #fail(error: unknown): void {
    if (!this.#hasEnded) this.#end("broken", error);
    this.#source.cancel(error).catch(() => {});
    Promise.reject(error);
  }
}
