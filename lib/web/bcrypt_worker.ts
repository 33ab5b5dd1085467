/**
 * The thread in which `bcrypt.ts` has passwords compared. One comparison takes 50 to 100 ms at the usual cost,
 * and `bcryptjs` gives way only after 100 ms: streams would feel that. `deno compile` needs `--include` of this file.
 *
 * @module
 */

import { compareSync } from "bcryptjs";

/** What the thread is asked. */
export interface Question {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

/** What the thread answers. */
export interface Answer {
  /** Of the question. */
  readonly id: number;
  readonly matches: boolean;
}

/** The thread's side of the channel, which Deno types only for programs that are nothing but workers. */
declare const self: {
  addEventListener(type: "message", listener: (event: MessageEvent<Question>) => void): void;
  postMessage(answer: Answer): void;
};

self.addEventListener("message", ({ data: { id, password, hash } }) => {
  self.postMessage({ id, matches: compareSync(password, hash) });
});
