/**
 * Compares passwords with bcrypt hashes in a thread of its own, one after the other.
 *
 * @module
 */

import type { Answer, Question } from "./bcrypt_worker.ts";

/** Whether a password belongs to a hash. It may take seconds: bound how many are asked at once. */
export type Compare = (password: string, hash: string) => Promise<boolean>;

/** Least and most cost of a hash: at the most one comparison takes about 5 seconds of one core. */
const COSTS = { least: 4, most: 16 } as const;
/** Which hashes are accepted, for error messages. */
export const ACCEPTED_HASHES =
  `a bcrypt hash such as \`htpasswd -nBC 10 ""\` prints, of cost ${COSTS.least} to ${COSTS.most}`;

/** The cost of a bcrypt hash; `undefined` where it is none that is accepted. */
export function costOf(hash: string): number | undefined {
  // The salt is 22 characters, the digest 31. `2x` marks the hashes of a library with a defect.
  const [, digits] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
  const cost = Number(digits);
  return cost >= COSTS.least && cost <= COSTS.most ? cost : undefined;
}

/** A hash that no known password belongs to: comparing with it takes as long as with a real one of its cost. */
export function decoyHash(cost: number = COSTS.least): string {
  return `$2b$${String(cost).padStart(2, "0")}$${"e".repeat(53)}`;
}

/** The thread. It is started by the first comparison, which blocks for about 20 ms, and kept: about 25 MB. */
export class Bcrypt {
  #worker: Worker | undefined;
  #lastId = 0;
  readonly #open = new Map<number, { resolve(matches: boolean): void; reject(error: Error): void }>();

  /**
   * Compares.
   *
   * @throws {Error} Where the thread cannot be started, which needs read access to its module, or was closed.
   */
  compare(password: string, hash: string): Promise<boolean> {
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#open.set(id, { resolve, reject });
    this.#worker ??= this.#start();
    this.#worker.postMessage({ id, password, hash } satisfies Question);
    return promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL("./bcrypt_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { id, matches } }: MessageEvent<Answer>) => {
      this.#open.get(id)?.resolve(matches);
      this.#open.delete(id);
    };
    worker.onerror = (event) => {
      // Otherwise it would end the process.
      event.preventDefault();
      this.#fail(new Error(`The thread that compares passwords failed: ${event.message}`));
    };
    return worker;
  }

  #fail(error: Error): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#open.values()) reject(error);
    this.#open.clear();
  }

  /** Ends the thread. Comparisons that are open fail. */
  close(): void {
    this.#fail(new Error("The thread that compares passwords was closed"));
  }
}
