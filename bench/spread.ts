/**
 * Medians, ratios of the same repetition, and their spread.
 *
 * @module
 */

import type { Figure, RunResult } from "./run.ts";

/** Median and spread. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Returns the median and spread of values, or `undefined` without any. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length / 2;
  const [min, max] = [sorted.at(0), sorted.at(-1)];
  if (min === undefined || max === undefined) return undefined;
  const median = ((sorted[Math.ceil(half) - 1] ?? 0) + (sorted[Math.floor(half)] ?? 0)) / 2;
  return { median, min, max };
}

/** Returns a figure of a proxy over all repetitions of a case. */
export function figureOf(runs: readonly RunResult[], proxy: string, figure: Figure): Spread | undefined {
  return spreadOf(runs.filter((run) => run.proxy === proxy).map((run) => run.figures[figure] ?? NaN));
}

/** Returns a proxy's figure as a multiple of another's, by repetition. */
export function ratioOf(
  runs: readonly RunResult[],
  [proxy, base]: readonly [string, string],
  figure: Figure,
): Spread | undefined {
  const of = (name: string, rep: number): number =>
    runs.find((run) => run.proxy === name && run.rep === rep)?.figures[figure] ?? NaN;
  const reps = new Set(runs.map((run) => run.rep));
  return spreadOf([...reps].map((rep) => of(proxy, rep) / of(base, rep)));
}
