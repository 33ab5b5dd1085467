/**
 * Parallel slots of the fake Ollama: a loaded model handles `slots` requests at a time, further ones wait in order
 * and get no byte (docs/ollama-api.md 8.1).
 */

import type { FakeConnection } from "./http.ts";
import { ConnectionGone } from "./wire.ts";

/** Busy slots and waiting requests by model. */
export class Slots {
  #busy = new Map<string, number>();
  #waiting = new Map<string, (() => void)[]>();

  /** Number of requests waiting for a slot, over all models. */
  get waiting(): number {
    let sum = 0;
    for (const queue of this.#waiting.values()) sum += queue.length;
    return sum;
  }

  /** Waits for a free slot of a model and returns a function that frees it. Throws if the peer disconnects. */
  async take(model: string, slots: number, connection: FakeConnection): Promise<() => void> {
    const busy = this.#busy.get(model) ?? 0;
    if (busy < slots) this.#busy.set(model, busy + 1);
    else await this.#turn(model, connection);
    return () => this.#free(model);
  }

  /** Passes the slot to the next request in the queue, or frees it. */
  #free(model: string): void {
    const next = this.#waiting.get(model)?.shift();
    if (next !== undefined) next();
    else this.#busy.set(model, (this.#busy.get(model) ?? 1) - 1);
  }

  async #turn(model: string, connection: FakeConnection): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const queue = this.#waiting.get(model) ?? [];
    this.#waiting.set(model, queue);
    queue.push(resolve);
    connection.onGone(resolve);
    await promise;
    if (!connection.gone) return;
    const at = queue.indexOf(resolve);
    if (at >= 0) queue.splice(at, 1);
    else this.#free(model);
    throw new ConnectionGone();
  }
}
