/**
 * Sends streams at the pace of a model, all streams of a process with one timer.
 *
 * @module
 */

import { writeAll } from "./bulk.ts";
import { type EncodedStream, stamp } from "./payloads.ts";
import { sharedNow } from "./job.ts";

/** Timer interval in ms. */
const TICK_MS = 1;

const NOTHING = new Uint8Array(0);

/** Stream being sent. */
interface Paced {
  readonly conn: Deno.TcpConn;
  readonly encoded: EncodedStream;
  readonly paceMs: number;
  rest: number;
  /** Time at which the next token is due, in ms of `performance.now()`. */
  dueAt: number;
  /** Resolves when all bytes have been written. */
  written: Promise<void>;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Sends tokens when they are due. A delayed stream catches up, since its schedule is fixed. */
export class Pacer {
  #streams = new Set<Paced>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Sends a stream of that many tokens, the first at once, the others at intervals of `paceMs`. */
  send(conn: Deno.TcpConn, encoded: EncodedStream, tokens: number, paceMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const paced: Paced = {
      conn,
      encoded,
      paceMs,
      rest: tokens,
      dueAt: performance.now(),
      written: Promise.resolve(),
      done: resolve,
      failed: reject,
    };
    this.#streams.add(paced);
    this.#sendDue(paced, paced.dueAt, encoded.head);
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

  /** @param head Written together with the first token, as by Go's server. */
  #sendDue(paced: Paced, now: number, head: Uint8Array = NOTHING): void {
    const { encoded } = paced;
    for (let before = head; paced.rest > 0 && paced.dueAt <= now; before = NOTHING) {
      const bytes = new Uint8Array(before.length + encoded.token.length);
      bytes.set(before);
      bytes.set(encoded.token, before.length);
      if (encoded.stampAt !== undefined) stamp(bytes, before.length + encoded.stampAt, sharedNow());
      this.#put(paced, bytes);
      paced.rest--;
      paced.dueAt += paced.paceMs;
    }
    // The end of a stream is due with the token after the last, which makes the model stop.
    if (paced.rest > 0 || paced.dueAt > now) return;
    this.#streams.delete(paced);
    this.#put(paced, encoded.tail);
    paced.written.then(paced.done);
  }

  /** Queues bytes. One write is pending at a time, since each may be partial. */
  #put(paced: Paced, bytes: Uint8Array): void {
    paced.written = paced.written.then(() => writeAll(paced.conn, [bytes])).catch((error) => {
      this.#streams.delete(paced);
      paced.failed(error);
    });
  }
}
