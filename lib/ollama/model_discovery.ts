/**
 * Fetches the server's lists of models when they are needed outside of a scrape: at start, and when a request names a
 * model that is not known.
 *
 * @module
 */

import type { Ollama } from "./probes.ts";
import type { ServerState } from "./state.ts";

/** Time after the first failed attempt at start, in milliseconds. It doubles with each one. */
const FIRST_RETRY_MS = 1000;
/** Maximum time between attempts at start, and minimum time between requests for unknown models, in milliseconds. */
const DISCOVERY_INTERVAL_MS = 60_000;

/** Options of {@linkcode ModelDiscovery}. */
interface ModelDiscoveryOptions {
  readonly ollama: Ollama;
  /** Called with each state that was fetched. */
  readonly onState: (state: ServerState) => void;
}

/** Fetches the lists of models. */
export class ModelDiscovery implements Disposable {
  readonly #options: ModelDiscoveryOptions;
  #isEnabled = false;
  #hasAnswered = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Start of the last attempt, as of `performance.now()`. */
  #attemptedAt = -Infinity;

  constructor(options: ModelDiscoveryOptions) {
    this.#options = options;
  }

  /** Fetches the lists, again until the server has answered. Before, unknown models are ignored. */
  start(): void {
    this.#isEnabled = true;
    this.#attempt(FIRST_RETRY_MS);
  }

  /** A request names a model that is not known: fetches the lists, at most once a minute. */
  onUnknownModel(): void {
    if (!this.#isEnabled || performance.now() - this.#attemptedAt < DISCOVERY_INTERVAL_MS) return;
    this.#fetch();
  }

  [Symbol.dispose](): void {
    this.#isEnabled = false;
    clearTimeout(this.#timer);
  }

  async #attempt(retryMs: number): Promise<void> {
    await this.#fetch();
    if (this.#hasAnswered || !this.#isEnabled) return;
    this.#timer = setTimeout(() => this.#attempt(Math.min(2 * retryMs, DISCOVERY_INTERVAL_MS)), retryMs);
  }

  async #fetch(): Promise<void> {
    this.#attemptedAt = performance.now();
    const state = await this.#options.ollama.fetchState();
    if (state.installed !== undefined) this.#hasAnswered = true;
    this.#options.onState(state);
  }
}
