/**
 * What the error says with which Ollama rejects a request.
 *
 * @module
 */

import { ByteQueue } from "../bytes/byte_queue.ts";
import { ByteSearch } from "../bytes/byte_search.ts";

/** Maximum size of the beginning of an error that is read, in bytes. Recorded ones have 60 to 350. */
export const ERROR_LIMIT_BYTES = 16 * 1024;

/**
 * Parts of the errors for a prompt that does not fit into the context: of llama-server (Ollama 0.30 and later), of
 * Ollama itself, and of the engines before (docs/ollama-api.md 4.1). They are searched in the body's bytes: the APIs
 * wrap them in different ways, and llama-server's is JSON inside JSON.
 */
const CONTEXT_EXCEEDED = new ByteSearch(
  "exceeds the available context size",
  "longer than the context length",
  "exceeds the context length",
);

/** Reads the body of one error, of any API. */
export class ErrorReader {
  readonly #held = new ByteQueue();

  /** Takes bytes as they arrived; the array is not kept. */
  push(bytes: Uint8Array): void {
    this.#held.add(bytes.subarray(0, ERROR_LIMIT_BYTES - this.#held.bytes));
  }

  /** Ends the body. Returns whether the error is that the prompt does not fit into the context. */
  end(): boolean {
    return CONTEXT_EXCEEDED.in(this.#held.take());
  }
}
