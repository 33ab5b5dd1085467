/**
 * Worker of `bcrypt.ts`. A comparison takes 50 to 100 ms at the usual cost, and `bcryptjs` yields to the event loop
 * only every 100 ms, which would stall proxied streams. `deno compile` needs `--include` of this file.
 *
 * @module
 */

import { compareSync } from "bcryptjs";

/** Message to the worker. */
export interface CompareRequest {
  /** Echoed in the result. */
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

/** Message from the worker. */
export interface CompareResult {
  /** Id of the request. */
  readonly id: number;
  readonly matches: boolean;
}

/** The worker's global scope, which Deno types only with the `deno.worker` library. */
declare const self: {
  addEventListener(type: "message", listener: (event: MessageEvent<CompareRequest>) => void): void;
  postMessage(result: CompareResult): void;
};

self.addEventListener("message", ({ data: { id, password, hash } }) => {
  self.postMessage({ id, matches: compareSync(password, hash) });
});
