/**
 * Reads a body, and gathers small chunks for as long as each turn of the event loop brings another one.
 *
 * A read of a `fetch` body returns one chunk of the wire, which is one token, and each chunk that is forwarded costs a
 * system call. Where tokens come one by one, gathering delays them by microseconds; where the loop is busy it halves
 * the work (bench/RESULTS.md).
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { ByteQueue } from "../bytes/byte_queue.ts";
import { BodyReader, type Bytes } from "./body_reader.ts";

/** Maximum size of what is gathered; a chunk that does not fit completes it. */
export const GATHER_BYTES = 4 * 1024;

/**
 * Turns of the event loop without another chunk that end gathering. The first one ends before the connection has been
 * asked for more.
 */
const GATHER_TICKS = 2;

/** What a read brought. */
export interface Gathered {
  /** Not written to again; empty only at the end. */
  readonly bytes: Bytes;
  /** Absent: more may come. */
  readonly end?: { readonly how: "complete" } | { readonly how: "broken"; readonly error: unknown };
}

/** Counts turns of the event loop for readers that gather: one call a turn for all of them, none where none waits. */
export class LoopTicks {
  #waiting: GatheringReader[] = [];

  /** Calls `tick()` after each turn for as long as it returns `true`. */
  add(reader: GatheringReader): void {
    this.#waiting.push(reader);
    if (this.#waiting.length === 1) setImmediate(this.#tick);
  }

  readonly #tick = (): void => {
    const ticked = this.#waiting;
    this.#waiting = [];
    for (const reader of ticked) if (reader.tick()) this.add(reader);
  };
}

/** A reader of one body. While nobody waits for it, at most one read of the body is under way. */
export class GatheringReader {
  readonly #reader: BodyReader;
  readonly #ticks: LoopTicks;
  readonly #queue = new ByteQueue();
  #isReading = false;
  /** The first chunk does not wait for others. */
  #isFirst = true;
  /** Turns since the last chunk; `undefined` while no tick is scheduled. */
  #turns: number | undefined;
  #end: Gathered["end"];
  /** Resolves the read that is waited for. */
  #resolve: ((gathered: Gathered) => void) | undefined;

  /**
   * @param body Body of a `fetch` response or of a request.
   * @param ticks Shared by all readers.
   */
  constructor(body: ReadableStream<Bytes>, ticks: LoopTicks) {
    this.#reader = new BodyReader(body);
    this.#ticks = ticks;
  }

  /** Returns what comes next. One read at a time; none after the end. */
  read(): Promise<Gathered> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      if (this.#end !== undefined || this.#queue.bytes >= GATHER_BYTES) return this.#deliver();
      this.#schedule();
      this.#readBody();
    });
  }

  /** Takes what was read of the body but not returned; a read in progress no longer gets it. */
  take(): Bytes {
    return this.#queue.take();
  }

  /** Cancels the body. */
  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }

  /** A turn of the event loop has passed. Returns whether to wait for another one. */
  tick(): boolean {
    const isGathering = this.#resolve !== undefined && this.#queue.bytes > 0;
    this.#turns = isGathering ? (this.#turns ?? 0) + 1 : undefined;
    if (this.#turns === undefined) return false;
    if (this.#turns < GATHER_TICKS) return true;
    this.#turns = undefined;
    this.#deliver();
    return false;
  }

  #readBody(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#reader.read().then(this.#take, this.#break);
  }

  readonly #take = ({ done, value }: ReadableStreamReadResult<Bytes>): void => {
    this.#isReading = false;
    if (done) return this.#finish({ how: "complete" });
    const isWhole = this.#isFirst || this.#queue.bytes + value.length > GATHER_BYTES;
    this.#isFirst = false;
    if (this.#resolve !== undefined && isWhole) this.#deliver(value);
    else this.#queue.add(value);
    this.#reader.reuse(value);
    if (this.#resolve === undefined) return;
    if (this.#turns !== undefined) this.#turns = 0;
    this.#schedule();
    this.#readBody();
  };

  readonly #break = (error: unknown): void => this.#finish({ how: "broken", error });

  #finish(end: Exclude<Gathered["end"], undefined>): void {
    this.#end = end;
    if (this.#resolve !== undefined) this.#deliver();
  }

  #schedule(): void {
    if (this.#turns !== undefined || this.#queue.bytes === 0) return;
    this.#turns = 0;
    this.#ticks.add(this);
  }

  /** Resolves the read with what was gathered, and with a last chunk, whose memory is used again. */
  #deliver(last?: Bytes): void {
    const bytes = last !== undefined && this.#queue.bytes === 0 ? last.slice() : this.#queue.take(last);
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(this.#end === undefined ? { bytes } : { bytes, end: this.#end });
  }
}
