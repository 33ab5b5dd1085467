/**
 * Sends streams at the pace of a model: all of a process's streams by one timer.
 *
 * @module
 */

import { writeAll } from "./bulk.ts";
import { type Frames, stamp } from "./frames.ts";
import { sharedNow } from "./job.ts";

/** Finest pace, in milliseconds. */
const TICK_MS = 1;

const NOTHING = new Uint8Array(0);

/** One stream on its way. */
interface Paced {
  readonly conn: Deno.TcpConn;
  readonly frames: Frames;
  readonly paceMs: number;
  rest: number;
  /** When the next token is due, in milliseconds of `performance.now()`. */
  dueAt: number;
  /** Resolves when all bytes given to the connection have left. */
  written: Promise<void>;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Sends tokens when they are due. A stream that was held up catches up, as its schedule does not move. */
export class Pacer {
  #streams = new Set<Paced>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Sends a stream of that many tokens, the first at once, the others each `paceMs` after the one before. */
  send(conn: Deno.TcpConn, frames: Frames, tokens: number, paceMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const paced: Paced = {
      conn,
      frames,
      paceMs,
      rest: tokens,
      dueAt: performance.now(),
      written: Promise.resolve(),
      done: resolve,
      failed: reject,
    };
    this.#streams.add(paced);
    this.#sendDue(paced, paced.dueAt, frames.head);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    return promise;
  }

  #tick(): void {
    const now = performance.now();
    for (const paced of this.#streams) {
      if (paced.dueAt <= now) this.#sendDue(paced, now);
    }
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** @param head Goes out in one piece with the first token, as from Go's server. */
  #sendDue(paced: Paced, now: number, head: Uint8Array = NOTHING): void {
    const { frames } = paced;
    for (let before = head; paced.rest > 0 && paced.dueAt <= now; before = NOTHING) {
      const bytes = new Uint8Array(before.length + frames.token.length);
      bytes.set(before);
      bytes.set(frames.token, before.length);
      if (frames.stampAt !== undefined) stamp(bytes, before.length + frames.stampAt, sharedNow());
      this.#put(paced, bytes);
      paced.rest--;
      paced.dueAt += paced.paceMs;
    }
    // What ends a stream comes with the token after the last: the one that makes the model stop.
    if (paced.rest > 0 || paced.dueAt > now) return;
    this.#streams.delete(paced);
    this.#put(paced, frames.tail);
    paced.written.then(paced.done);
  }

  /** Writes behind what has been written; one write is under way at a time, since each may be a partial one. */
  #put(paced: Paced, bytes: Uint8Array): void {
    paced.written = paced.written.then(() => writeAll(paced.conn, [bytes])).catch((error) => {
      this.#streams.delete(paced);
      paced.failed(error);
    });
  }
}
