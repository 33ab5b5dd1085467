/**
 * PromQL of the dashboard.
 *
 * Rates are over `$__rate_interval`, which follows the scrape interval. Quantiles, ratios and averages are over
 * `$window`, by default at least 10 minutes: on a host with a request every two minutes the former has none in most
 * steps, and a quantile of nothing is no value.
 *
 * @module
 */

import type { Query } from "./panels.ts";

/** Label matchers for the dashboard's variables. Every metric of an exporter has these labels. */
export const BY_INSTANCE = 'job=~"$job", instance=~"$instance"';
/** For metrics with a `model` label. */
export const BY_MODEL = `${BY_INSTANCE}, model=~"$model"`;
/** For metrics with `model` and `api` labels. */
export const BY_API = `${BY_MODEL}, api=~"$api"`;

/** Outcomes that are failures on the server side. */
export const FAILED = 'outcome!~"ok|client_error|client_closed"';

/** Unit of token rates. */
export const TOKENS_PER_SECOND = "suffix: tok/s";

function sum(by: string, expr: string): string {
  return by === "" ? `sum (${expr})` : `sum by (${by}) (${expr})`;
}

/** Returns a query for a counter's per-second rate, summed by labels. */
export function rate(counter: string, selector: string, by = ""): string {
  return sum(by, `rate(${counter}{${selector}}[$__rate_interval])`);
}

/** Returns a query for a counter's per-second rate over the window, summed by labels. */
export function windowRate(counter: string, selector: string, by = ""): string {
  return sum(by, `rate(${counter}{${selector}}[$window])`);
}

/** Returns a query for a counter's increase within the dashboard's time range, summed by labels. */
export function inRange(counter: string, selector: string, by: string): string {
  return sum(by, `increase(${counter}{${selector}}[$__range])`);
}

/** Returns queries for quantiles of a histogram over the window; p50, p95 and p99 by default. */
export function quantiles(histogram: string, selector: string, of: readonly number[] = [0.5, 0.95, 0.99]): Query[] {
  return of.map((quantile) => ({
    expr: `histogram_quantile(${quantile}, ${windowRate(`${histogram}_bucket`, selector, "le")})`,
    legend: `p${quantile * 100}`,
    exemplar: quantile === Math.max(...of),
  }));
}

/** Returns a query for a quantile of a histogram within the dashboard's time range, by model. */
export function quantileInRange(quantile: number, histogram: string, selector: string): string {
  return `histogram_quantile(${quantile}, ${inRange(`${histogram}_bucket`, selector, "model, le")})`;
}

/** Returns the query of a heatmap: increases of a histogram's buckets. */
export function buckets(histogram: string, selector: string): Query[] {
  const expr = `sum by (le) (increase(${histogram}_bucket{${selector}}[$__rate_interval]))`;
  return [{ expr, legend: "{{le}}", exemplar: true }];
}

/** Returns a query for a ratio: 0 if the numerator has no series, no data if the denominator is 0. */
export function share(part: string, whole: string): string {
  return `(${part} or 0 * ${whole}) / (${whole} > 0)`;
}

/** Returns a query for the quotient of two sums, no data if the divisor is 0. */
export function quotient(part: string, whole: string): string {
  return `${part} / (${whole} > 0)`;
}
