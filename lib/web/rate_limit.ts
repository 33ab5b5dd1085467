/**
 * A token bucket, by the rules of the exporter toolkit's `rate_limit`.
 *
 * @module
 */

/** How often something may be done. */
export interface RateLimit {
  /** Time in which one more becomes possible, over 0. */
  readonly intervalMs: number;
  /** How many are possible at once after a rest, from 1. */
  readonly burst: number;
}

/** Counts what was done against a limit. */
export class RateLimiter {
  readonly limit: RateLimit;
  readonly #now: () => number;
  #tokens: number;
  /** When {@linkcode RateLimiter.#tokens} was right. */
  #since: number;

  /**
   * Begins with a full burst.
   *
   * @param now A clock in milliseconds that never goes back.
   */
  constructor(limit: RateLimit, now: () => number = () => performance.now()) {
    this.limit = limit;
    this.#now = now;
    this.#tokens = limit.burst;
    this.#since = now();
  }

  /** Does it once: returns 0 where it may be done now, else after how many milliseconds it may be tried again. */
  take(): number {
    const { intervalMs, burst } = this.limit;
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#since) / intervalMs);
    this.#since = now;
    if (this.#tokens < 1) return (1 - this.#tokens) * intervalMs;
    this.#tokens -= 1;
    return 0;
  }
}

/** Milliseconds of each unit of a Go duration. */
const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Longest duration that is accepted, in milliseconds. */
export const DURATION_LIMIT_MS = 86_400_000;

/**
 * A duration as Go's `time.ParseDuration` reads it (`1m30s`, `0`), in milliseconds; `undefined` for anything else, and
 * for more than 24 hours.
 */
export function parseGoDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const part = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/gy;
  let sum = 0;
  let end = 0;
  for (const [match, number = "", unit = ""] of text.matchAll(part)) {
    sum += Number(number) * (UNITS_MS[unit] ?? NaN);
    end += match.length;
  }
  return end > 0 && end === text.length && sum <= DURATION_LIMIT_MS ? sum : undefined;
}
