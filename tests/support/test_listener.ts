/** A listener that a test owns, and bodies that it holds up. */

import type { Listener } from "../../lib/http.ts";
import type { Gate } from "./helpers.ts";

/** A listener, stopped at the end of its block. */
export class TestListener implements AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;
  #shutdown: Promise<void> | undefined;

  constructor(listener: Listener) {
    this.listener = listener;
    this.port = listener.address.port;
  }

  shutdown(): Promise<void> {
    return this.#shutdown ??= this.listener.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#shutdown !== undefined) return;
    this.listener.abort();
    await this.shutdown();
  }
}

/** Returns a body that starts with `beginning` and ends with `end` once the gate is open. */
export function gatedBody(beginning: string, gate: Gate, end: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  const texts = [Promise.resolve(beginning), gate.opened.then(() => end)];
  return ReadableStream.from(texts).pipeThrough(new TextEncoderStream());
}
