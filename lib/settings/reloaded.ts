/**
 * Configuration that is loaded again while the program runs.
 *
 * @module
 */

import { messageOf } from "../errors.ts";

/** Default minimum time between two loads, in milliseconds. */
const LOAD_INTERVAL_MS = 1000;

const MILLISECONDS_PER_SECOND = 1000;

/**
 * A value that is loaded again on demand, at most once per interval, which needs neither timers nor file watchers.
 * While it cannot be loaded, the previous value stays in use.
 */
export abstract class Reloaded<T> {
  readonly #intervalMs: number;
  #value: T;
  /** Time of the next load, by `performance.now()`. */
  #nextLoadAt: number;
  /** Load in progress. */
  #loading: Promise<void> | undefined;
  /** Whether a load was requested that has not begun. */
  #isRequested = false;
  /** Error of the last load; `undefined` if it succeeded. */
  #error: string | undefined;
  #loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;

  /** @param intervalMs Minimum time between two loads, in milliseconds. Default: a second. */
  protected constructor(value: T, intervalMs = LOAD_INTERVAL_MS) {
    this.#value = value;
    this.#intervalMs = intervalMs;
    this.#nextLoadAt = performance.now() + intervalMs;
  }

  /**
   * Loads the value.
   *
   * @returns `previous` itself if nothing has changed.
   * @throws {Error} If it cannot be loaded.
   */
  protected abstract load(previous: T): Promise<T>;

  /**
   * Called when the value was loaded: with the error if there is another one than the last time, and with `undefined`
   * if it has changed or is valid again; after {@linkcode Reloaded.reload} always. Must not throw.
   */
  protected abstract reloaded(error: string | undefined): void;

  /** Value of the last successful load. */
  protected get value(): T {
    return this.#value;
  }

  /** Whether the last load succeeded; otherwise the previous value is in use. */
  get isCurrent(): boolean {
    return this.#error === undefined;
  }

  /** Time of the last successful load that was the first one, found a change or was requested; Unix, in seconds. */
  get loadedAtSeconds(): number {
    return this.#loadedAtSeconds;
  }

  /** Loads the value again if the last load was an interval ago. Never rejects. */
  protected async refresh(): Promise<void> {
    if (performance.now() >= this.#nextLoadAt) await this.#load();
  }

  /** Loads the value now, and reports the result also if nothing has changed. Never rejects. */
  reload(): Promise<void> {
    this.#isRequested = true;
    return this.#load();
  }

  #load(): Promise<void> {
    return this.#loading ??= this.#loadRequested();
  }

  async #loadRequested(): Promise<void> {
    try {
      // A load in progress may have read the file before the change for which another one was requested.
      do {
        const isRequested = this.#isRequested;
        this.#isRequested = false;
        await this.#loadOnce(isRequested);
      } while (this.#isRequested);
    } finally {
      this.#loading = undefined;
      this.#nextLoadAt = performance.now() + this.#intervalMs;
    }
  }

  async #loadOnce(isRequested: boolean): Promise<void> {
    const previous = this.#value;
    const previousError = this.#error;
    try {
      this.#value = await this.load(previous);
      this.#error = undefined;
    } catch (error) {
      this.#error = messageOf(error);
    }
    const hasChanged = this.#value !== previous || this.#error !== previousError;
    if (!hasChanged && !isRequested) return;
    if (this.#error === undefined) this.#loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;
    this.reloaded(this.#error);
  }
}
