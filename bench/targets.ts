/**
 * What the exporter is to reach, as ratios to what stood beside it in the same run.
 *
 * @module
 */

import type { Case } from "./cases.ts";
import type { Figure, RunResult } from "./run.ts";
import { figureOf, ratioOf, type Spread } from "./spread.ts";

/** One target. */
export interface Target {
  readonly caseName: string;
  readonly text: string;
  readonly figure: Figure;
  /** What it is compared with: the case's bare pass-through, or nginx. */
  readonly base: "bare" | "nginx";
  /** The least or the most that the ratio, or the difference, may be. */
  readonly least?: number;
  readonly most?: number;
  /** The bound is one on the difference and not on the ratio. */
  readonly isDifference?: boolean;
}

/** The targets in the order of the cases. */
export const TARGETS: readonly Target[] = [
  {
    caseName: "json64",
    text: "at least 0.9 of the bare pass-through's requests/s",
    figure: "requestsPerSecond",
    base: "bare",
    least: 0.9,
  },
  {
    caseName: "full32",
    text: "at least 0.9 of the bare pass-through's lines per CPU second",
    figure: "linesPerCpuSecond",
    base: "bare",
    least: 0.9,
  },
  {
    caseName: "paced500",
    text: "token lag p99 at most 3 times nginx's",
    figure: "lagP99Ms",
    base: "nginx",
    most: 3,
  },
  {
    caseName: "paced500",
    text: "first byte p99 at most 10 ms above the bare pass-through's",
    figure: "firstByteP99Ms",
    base: "bare",
    most: 10,
    isDifference: true,
  },
  {
    caseName: "paced2000",
    text: "held wherever the bare pass-through holds it",
    figure: "held",
    base: "bare",
    least: 0.98,
  },
  {
    caseName: "paced2000",
    text: "RSS at most 1.5 times the bare pass-through's",
    figure: "rssPeakMegabytes",
    base: "bare",
    most: 1.5,
  },
  ...["download", "upload"].map((caseName) => ({
    caseName,
    text: "at least 0.95 of the bare pass-through's MiB per CPU second",
    figure: "mebibytesPerCpuSecond" as const,
    base: "bare" as const,
    least: 0.95,
  })),
];

/** Compares. @returns `undefined` where one of the two was not measured. */
export function verdict(
  { figure, base, least = -Infinity, most = Infinity, isDifference = false }: Target,
  benchCase: Case,
  runs: readonly RunResult[],
): { readonly measured: Spread; readonly isReached: boolean } | undefined {
  const other = base === "bare" ? benchCase.bare : base;
  const measured = isDifference ? difference(runs, other, figure) : ratioOf(runs, ["us", other], figure);
  if (measured === undefined) return undefined;
  return { measured, isReached: measured.median >= least && measured.median <= most };
}

function difference(runs: readonly RunResult[], other: string, figure: Figure): Spread | undefined {
  const ours = figureOf(runs, "us", figure);
  const theirs = figureOf(runs, other, figure);
  if (ours === undefined || theirs === undefined) return undefined;
  return { median: ours.median - theirs.median, least: ours.least - theirs.most, most: ours.most - theirs.least };
}
