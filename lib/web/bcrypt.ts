/**
 * Compares passwords with bcrypt hashes in a worker, one at a time.
 *
 * @module
 */

import type { CompareRequest, CompareResult } from "./bcrypt_worker.ts";

/** Reports whether a password matches a hash. Takes up to seconds: callers must bound concurrency. */
export type Compare = (password: string, hash: string) => Promise<boolean>;

/** Minimum cost of a hash. */
const MIN_COST = 4;
/** Maximum cost of a hash; a comparison takes about 5 seconds of one core. */
const MAX_COST = 16;
/** Description of accepted hashes, for error messages. */
export const ACCEPTED_HASHES =
  `a bcrypt hash with a cost of ${MIN_COST} to ${MAX_COST}, such as \`htpasswd -nBC 10 ""\` prints`;

/** Returns the cost of a bcrypt hash, or `undefined` if the hash is not accepted. */
export function costOf(hash: string): number | undefined {
  // 22 characters of salt and 31 of digest. `2x` marks hashes of a defective library.
  const [, digits] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
  const cost = Number(digits);
  return cost >= MIN_COST && cost <= MAX_COST ? cost : undefined;
}

/** Returns a hash without a known password. Comparing with it takes as long as with a real hash of the same cost. */
export function decoyHash(cost: number = MIN_COST): string {
  return `$2b$${String(cost).padStart(2, "0")}$${"e".repeat(53)}`;
}

/** The worker. The first comparison starts it, which blocks for about 20 ms; it takes about 25 MB. */
export class Bcrypt {
  #worker: Worker | undefined;
  #lastId = 0;
  readonly #pending = new Map<number, { resolve(matches: boolean): void; reject(error: Error): void }>();

  /**
   * Reports whether a password matches a hash.
   *
   * @throws {Error} If the worker was closed, or cannot start; it needs read access to its module.
   */
  compare(password: string, hash: string): Promise<boolean> {
    const id = ++this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#pending.set(id, { resolve, reject });
    this.#worker ??= this.#start();
    this.#worker.postMessage({ id, password, hash } satisfies CompareRequest);
    return promise;
  }

  #start(): Worker {
    const worker = new Worker(new URL("./bcrypt_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data: { id, matches } }: MessageEvent<CompareResult>) => {
      this.#pending.get(id)?.resolve(matches);
      this.#pending.delete(id);
    };
    worker.onerror = (event) => {
      // Otherwise the error would end the process.
      event.preventDefault();
      this.#fail(new Error(`Password worker failed: ${event.message}`));
    };
    return worker;
  }

  #fail(error: Error): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** Terminates the worker. Pending comparisons fail. */
  close(): void {
    this.#fail(new Error("Password worker closed"));
  }
}
