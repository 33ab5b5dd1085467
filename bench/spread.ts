/**
 * Medians, ratios of the same repetition, and their spread.
 *
 * @module
 */

import type { Figure, RunResult } from "./run.ts";

/** A median and its spread. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** @returns `undefined` where there are no values. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const half = sorted.length / 2;
  const [least, most] = [sorted.at(0), sorted.at(-1)];
  if (least === undefined || most === undefined) return undefined;
  const median = ((sorted[Math.ceil(half) - 1] ?? 0) + (sorted[Math.floor(half)] ?? 0)) / 2;
  return { median, least, most };
}

/** One figure of one proxy, over all repetitions of a case. */
export function figureOf(runs: readonly RunResult[], proxy: string, figure: Figure): Spread | undefined {
  return spreadOf(runs.filter((run) => run.proxy === proxy).map((run) => run.figures[figure] ?? NaN));
}

/** A figure of one proxy as a multiple of another's, repetition by repetition. */
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
