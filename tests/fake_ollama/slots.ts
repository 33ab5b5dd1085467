/**
 * Parallel slots of the fake Ollama: a loaded model answers `slots` requests at a time, the others
 * wait in order without a byte (docs/ollama-api.md 8.1).
 */

import type { FakeConnection } from "./http.ts";
import { ConnectionGone } from "./wire.ts";

/** Busy slots and waiting requests by model. */
export class Slots {
  #busy = new Map<string, number>();
  #waiting = new Map<string, (() => void)[]>();

  /** Requests that wait for a slot, over all models. */
  get waiting(): number {
    let sum = 0;
    for (const queue of this.#waiting.values()) sum += queue.length;
    return sum;
  }

  /** Resolves when the model has a free slot, with what frees it; throws when the peer leaves. */
  async take(model: string, slots: number, connection: FakeConnection): Promise<() => void> {
    const busy = this.#busy.get(model) ?? 0;
    if (busy < slots) this.#busy.set(model, busy + 1);
    else await this.#turn(model, connection);
    return () => this.#free(model);
  }

  /** Hands the slot to the next in the queue, or gives it back. */
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
