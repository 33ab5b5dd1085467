/**
 * Quantiles of small samples.
 *
 * @module
 */

const MEDIAN = 0.5;
const P95 = 0.95;
const DIGITS = 6;
/** Significant digits of quantiles: they are of samples, and there are many of them in an event. */
const QUANTILE_DIGITS = 4;

/** Median and 95th percentile. */
export interface Quantiles {
  readonly median: number;
  readonly p95: number;
}

/** Returns the quantiles of values in ascending order; `undefined` without values. */
export function quantilesOf(sorted: readonly number[]): Quantiles | undefined {
  const [median, p95] = [quantile(sorted, MEDIAN), quantile(sorted, P95)];
  return median === undefined || p95 === undefined ? undefined : { median: short(median), p95: short(p95) };
}

/** Returns a quantile by the nearest-rank method, which yields only values that were measured. */
function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

/** Rounds to six digits, to keep events short. */
export function rounded(value: number): number {
  return Number(value.toPrecision(DIGITS));
}

/** Rounds to four digits, which suffice for what is shown in a table. */
export function short(value: number): number {
  return Number(value.toPrecision(QUANTILE_DIGITS));
}
