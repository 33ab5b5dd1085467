/**
 * Pauses long work, so that it does not delay proxied streams.
 *
 * @module
 */

/** Minimum length of a pause, in milliseconds. */
const PAUSE_MS = 1;

/**
 * Resolves after a millisecond of the event loop. One turn of it would not do: a token takes several from Ollama's
 * connection to the client's.
 */
export function pause(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, PAUSE_MS));
}
