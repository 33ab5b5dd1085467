/**
 * Targets of the exporter, as ratios to alternatives in the same run.
 *
 * @module
 */

import type { Case } from "./cases.ts";
import type { Figure, RunResult } from "./run.ts";
import { figureOf, ratioOf, type Spread } from "./spread.ts";

/** Target. */
export interface Target {
  readonly caseName: string;
  readonly text: string;
  readonly figure: Figure;
  /** Alternative: the case's bare pass-through, or nginx. */
  readonly base: "bare" | "nginx";
  /** Bounds of the ratio or the difference. Default: none. */
  readonly min?: number;
  readonly max?: number;
  /** Whether the bounds are of the difference instead of the ratio. */
  readonly isDifference?: boolean;
}

/** Targets in the order of the cases. */
export const TARGETS: readonly Target[] = [
  {
    caseName: "json64",
    text: "at least 0.9 of the bare pass-through's requests/s",
    figure: "requestsPerSecond",
    base: "bare",
    min: 0.9,
  },
  {
    caseName: "full32",
    text: "at least 0.9 of the bare pass-through's lines per CPU second",
    figure: "linesPerCpuSecond",
    base: "bare",
    min: 0.9,
  },
  {
    caseName: "paced500",
    text: "token lag p99 at most 3 times nginx's",
    figure: "lagP99Ms",
    base: "nginx",
    max: 3,
  },
  {
    caseName: "paced500",
    text: "first byte p99 at most 10 ms above the bare pass-through's",
    figure: "firstByteP99Ms",
    base: "bare",
    max: 10,
    isDifference: true,
  },
  {
    caseName: "paced2000",
    text: "pace held if the bare pass-through holds it",
    figure: "held",
    base: "bare",
    min: 0.98,
  },
  {
    caseName: "paced2000",
    text: "RSS at most 1.5 times the bare pass-through's",
    figure: "rssPeakMegabytes",
    base: "bare",
    max: 1.5,
  },
  ...["download", "upload"].map((caseName) => ({
    caseName,
    text: "at least 0.95 of the bare pass-through's MiB per CPU second",
    figure: "mebibytesPerCpuSecond" as const,
    base: "bare" as const,
    min: 0.95,
  })),
];

/** Compares the two. Returns `undefined` if one of them was not measured. */
export function verdict(
  { figure, base, min = -Infinity, max = Infinity, isDifference = false }: Target,
  benchCase: Case,
  runs: readonly RunResult[],
): { readonly measured: Spread; readonly isReached: boolean } | undefined {
  const other = base === "bare" ? benchCase.bare : base;
  const measured = isDifference ? difference(runs, other, figure) : ratioOf(runs, ["us", other], figure);
  if (measured === undefined) return undefined;
  return { measured, isReached: measured.median >= min && measured.median <= max };
}

function difference(runs: readonly RunResult[], other: string, figure: Figure): Spread | undefined {
  const ours = figureOf(runs, "us", figure);
  const theirs = figureOf(runs, other, figure);
  if (ours === undefined || theirs === undefined) return undefined;
  return { median: ours.median - theirs.median, min: ours.min - theirs.max, max: ours.max - theirs.min };
}
