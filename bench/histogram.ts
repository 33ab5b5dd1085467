/**
 * A histogram of durations, fine enough for percentiles and small enough to be sent from process to process.
 *
 * @module
 */

/** Each bucket is this much wider than the one before it: the error of a percentile. */
const GROWTH = 1.01;
const LOG_GROWTH = Math.log(GROWTH);

/** Upper end of the first bucket, in milliseconds. */
const LEAST_MS = 0.001;

/** Buckets from {@linkcode LEAST_MS} to over a minute. */
const BUCKETS = 1850;

/** Counts by bucket, only those that are not 0: what is sent from process to process. */
export type SparseCounts = readonly (readonly [bucket: number, count: number])[];

/** Counts durations in buckets that grow by one per cent. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  /** Counts one duration. Whatever is out of the range goes into the first or the last bucket. */
  add(milliseconds: number): void {
    const bucket = milliseconds <= LEAST_MS ? 0 : Math.ceil(Math.log(milliseconds / LEAST_MS) / LOG_GROWTH);
    this.#count(Math.min(bucket, BUCKETS - 1), 1);
  }

  /** Adds what another histogram has counted. */
  merge(counts: SparseCounts): void {
    for (const [bucket, count] of counts) this.#count(bucket, count);
  }

  /** The duration in milliseconds that a share (0 to 1) of all does not exceed; `NaN` where nothing was counted. */
  quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(this.#total * share));
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      below += this.#counts[bucket] ?? 0;
      if (below >= rank) return LEAST_MS * GROWTH ** bucket;
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
