/**
 * Token bucket rate limiter with the semantics of exporter-toolkit's `rate_limit`.
 *
 * @module
 */

/** A rate and a burst. */
export interface RateLimit {
  /** Milliseconds until a token is added to the bucket; over 0. */
  readonly intervalMs: number;
  /** Maximum number of tokens in the bucket; at least 1. */
  readonly burst: number;
}

/** A token bucket. */
export class RateLimiter {
  readonly limit: RateLimit;
  readonly #now: () => number;
  #tokens: number;
  /** Time of the last update of `#tokens`. */
  #updatedAt: number;

  /**
   * Starts with a full bucket.
   *
   * @param now Monotonic clock in milliseconds.
   */
  constructor(limit: RateLimit, now: () => number = () => performance.now()) {
    this.limit = limit;
    this.#now = now;
    this.#tokens = limit.burst;
    this.#updatedAt = now();
  }

  /** Takes a token and returns 0, or returns the milliseconds until there is one. */
  take(): number {
    const { intervalMs, burst } = this.limit;
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#updatedAt) / intervalMs);
    this.#updatedAt = now;
    if (this.#tokens < 1) return (1 - this.#tokens) * intervalMs;
    this.#tokens -= 1;
    return 0;
  }
}
