/**
 * Values of the `client` label.
 *
 * @module
 */

import { OTHER_CLIENT, UNKNOWN_CLIENT } from "../observation.ts";
import { UNUSED_MS, type Use } from "./model_labels.ts";

/** What decides whether a label can be given to another client. */
export interface ClientMoment {
  /** Monotonic time in milliseconds. */
  readonly now: number;
  /** The requests in flight. */
  readonly openRequests: Iterable<{ readonly client: string | undefined }>;
}

/** A bounded set of labels of clients that had a successful request. */
export class ClientLabels {
  readonly #limit: number;
  /** Time of the last use of each label. */
  readonly #usedAt = new Map<string, number>();

  /** @param limit Maximum number of labels; further clients are labeled `other`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether a client has a label. */
  has(client: string): boolean {
    return this.#usedAt.has(client);
  }

  /** Number of labels that no client has yet. */
  get free(): number {
    return this.#limit - this.#usedAt.size;
  }

  /**
   * Returns the label of a client for a request that has ended. Anyone can name clients, so a failed request adds none:
   * it is labeled `unknown` if the client has no label.
   */
  use(client: string, hasSucceeded: boolean, moment: ClientMoment): Use {
    let removed: string | undefined;
    if (client === UNKNOWN_CLIENT || client === OTHER_CLIENT) return { label: client, removed };
    if (!this.#usedAt.has(client)) {
      if (!hasSucceeded) return { label: UNKNOWN_CLIENT, removed };
      if (this.free === 0) {
        removed = this.#removeUnused(moment);
        if (removed === undefined) return { label: OTHER_CLIENT, removed };
      }
    }
    this.#usedAt.set(client, moment.now);
    return { label: client, removed };
  }

  /** Removes the label unused for longest, if it has not been used for a day and has no open request. Returns it. */
  #removeUnused({ now, openRequests }: ClientMoment): string | undefined {
    const open = new Set([...openRequests].map(({ client }) => client));
    const unused = [...this.#usedAt].filter(([client, usedAt]) => now - usedAt >= UNUSED_MS && !open.has(client));
    const [longest] = unused.sort(([, a], [, b]) => a - b)[0] ?? [];
    if (longest !== undefined) this.#usedAt.delete(longest);
    return longest;
  }
}
