/**
 * Fetches the server's lists of models when they are needed outside of a scrape: at start, when a request names a model
 * that is not known, and when the context length of an answer's model is not.
 *
 * @module
 */

import type { Ollama } from "./probes.ts";
import type { ServerState } from "./state.ts";

/** Time after the first failed attempt at start, in milliseconds. It doubles with each one. */
const FIRST_RETRY_MS = 1000;
/** Maximum time between attempts at start, and minimum time between requests for unknown models, in milliseconds. */
const DISCOVERY_INTERVAL_MS = 60_000;

/** Minimum time between requests for the models in memory alone, in milliseconds. */
const LOADED_INTERVAL_MS = 10_000;

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
  /** The same of the models in memory alone. */
  #loadedAttemptedAt = -Infinity;
  #isFetchingLoaded = false;

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

  /** The context length of a model is not known: fetches the models in memory, at most once in ten seconds. */
  async onUnknownContext(): Promise<void> {
    const now = performance.now();
    if (!this.#isEnabled || this.#isFetchingLoaded || now - this.#loadedAttemptedAt < LOADED_INTERVAL_MS) return;
    this.#loadedAttemptedAt = now;
    this.#isFetchingLoaded = true;
    await this.#options.ollama.fetchLoaded();
    this.#isFetchingLoaded = false;
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
