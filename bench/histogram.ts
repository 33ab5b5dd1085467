/**
 * Histogram of durations, fine enough for percentiles and small enough to be sent between processes.
 *
 * @module
 */

/** Growth of bucket bounds: the relative error of a percentile. */
const GROWTH = 1.01;
const LOG_GROWTH = Math.log(GROWTH);

/** Upper bound of the first bucket in ms. */
const MIN_MS = 0.001;

/** Number of buckets, from {@linkcode MIN_MS} to over a minute. */
const BUCKETS = 1850;

/** Counts by bucket, without zeros, as sent between processes. */
export type SparseCounts = readonly (readonly [bucket: number, count: number])[];

/** Counts durations in buckets that grow by 1 %. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  /** Counts a duration. Values out of range are counted in the first or the last bucket. */
  add(milliseconds: number): void {
    const bucket = milliseconds <= MIN_MS ? 0 : Math.ceil(Math.log(milliseconds / MIN_MS) / LOG_GROWTH);
    this.#count(Math.min(bucket, BUCKETS - 1), 1);
  }

  /** Adds the counts of another histogram. */
  merge(counts: SparseCounts): void {
    for (const [bucket, count] of counts) this.#count(bucket, count);
  }

  /** Returns a quantile (0 to 1) in ms, or `NaN` if nothing was counted. */
  quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(this.#total * share));
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      below += this.#counts[bucket] ?? 0;
      if (below >= rank) return MIN_MS * GROWTH ** bucket;
    }
    return NaN;
  }

  toJSON(): SparseCounts {
    return [...this.#counts.entries()].filter(([, count]) => count > 0);
  }

  #count(bucket: number, count: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
    this.#total += count;
  }
}
