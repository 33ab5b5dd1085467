/**
 * Reads a body, and gathers small chunks that come in quick succession, as long as each turn of the event loop brings
 * another one.
 *
 * A read of a `fetch` body returns one chunk of the wire, which is one token, and each chunk that is forwarded costs a
 * system call. At full speed gathering halves the work. Where tokens come one by one, turns of the loop that wait for
 * another one would cost a tenth of it (bench/RESULTS.md).
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

/** Another chunk is likely within a few turns if the one before came within this time, in milliseconds. */
const SUCCESSION_MS = 2;

/** How a body ended. */
export type ReadEnd = { readonly how: "complete" } | { readonly how: "broken"; readonly error: unknown };

/** Takes what a {@linkcode GatheringReader} read. */
export interface Receiver {
  /**
   * Called once for each read, unless the body is cancelled. It may ask for the next one.
   *
   * @param bytes Their memory is used again when this returns. Empty only at the end.
   * @param end Absent: more may come.
   */
  receive(bytes: Bytes, end?: ReadEnd): void;
}

/** Counts turns of the event loop for readers that gather: one call a turn for all of them, none where none waits. */
export class LoopTicks {
  /** A clock, in milliseconds. */
  readonly now: () => number;
  #waiting: GatheringReader[] = [];

  /** @param now Default: `performance.now()`. */
  constructor(now = () => performance.now()) {
    this.now = now;
  }

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
  readonly #receiver: Receiver;
  readonly #queue = new ByteQueue();
  /** A read is waited for. */
  #isWanted = false;
  #isReading = false;
  #isDelivering = false;
  #lastChunkAt = -Infinity;
  /** The last chunk was joined to others. */
  #hasGathered = false;
  /** Turns since the last chunk; `undefined` while no tick is scheduled. */
  #turns: number | undefined;
  #end: ReadEnd | undefined;

  /**
   * @param body Body of a `fetch` response or of a request.
   * @param ticks Shared by all readers.
   */
  constructor(body: ReadableStream<Bytes>, ticks: LoopTicks, receiver: Receiver) {
    this.#reader = new BodyReader(body);
    this.#ticks = ticks;
    this.#receiver = receiver;
  }

  /** Asks for what comes next. One read at a time; none after the end. */
  read(): void {
    this.#isWanted = true;
    if (!this.#isDelivering) this.#advance();
  }

  /** Takes what was read of the body but not received; a read in progress no longer gets it. */
  take(): Bytes {
    return this.#queue.take();
  }

  /** Cancels the body. */
  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }

  /** A turn of the event loop has passed. Returns whether to wait for another one. */
  tick(): boolean {
    const isGathering = this.#isWanted && this.#queue.bytes > 0;
    this.#turns = isGathering ? (this.#turns ?? 0) + 1 : undefined;
    if (this.#turns === undefined) return false;
    if (this.#turns < GATHER_TICKS) return true;
    this.#turns = undefined;
    this.#deliver(this.#queue.take());
    this.#advance();
    return false;
  }

  /** Works towards the read that is waited for. */
  #advance(): void {
    while (this.#isWanted && (this.#end !== undefined || this.#queue.bytes >= GATHER_BYTES)) {
      this.#deliver(this.#queue.take());
    }
    if (!this.#isWanted) return;
    this.#schedule();
    if (this.#isReading) return;
    this.#isReading = true;
    this.#reader.read().then(this.#take, this.#break);
  }

  readonly #take = ({ done, value }: ReadableStreamReadResult<Bytes>): void => {
    this.#isReading = false;
    if (done) return this.#finish({ how: "complete" });
    const { bytes } = this.#queue;
    const isLikely = this.#isMoreLikely();
    const isWhole = bytes + value.length > GATHER_BYTES || bytes === 0 && !isLikely;
    this.#hasGathered = bytes > 0;
    if (this.#isWanted && isWhole) this.#deliver(this.#queue.take(value));
    else this.#queue.add(value);
    this.#reader.reuse(value);
    if (this.#turns !== undefined) this.#turns = 0;
    this.#advance();
  };

  /** Whether another chunk is likely to come at once. To be called once for each. */
  #isMoreLikely(): boolean {
    const now = this.#ticks.now();
    const isSuccessive = now - this.#lastChunkAt < SUCCESSION_MS;
    this.#lastChunkAt = now;
    return isSuccessive || this.#hasGathered;
  }

  readonly #break = (error: unknown): void => this.#finish({ how: "broken", error });

  #finish(end: ReadEnd): void {
    this.#end = end;
    this.#advance();
  }

  #schedule(): void {
    if (this.#turns !== undefined || this.#queue.bytes === 0) return;
    this.#turns = 0;
    this.#ticks.add(this);
  }

  #deliver(bytes: Bytes): void {
    this.#isWanted = false;
    this.#isDelivering = true;
    this.#receiver.receive(bytes, this.#end);
    this.#isDelivering = false;
  }
}
