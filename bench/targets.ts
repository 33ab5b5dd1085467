/**
 * Targets of the exporter, in the same run as what it is compared with.
 *
 * @module
 */

import { WEB_SERVERS } from "../lib/settings/settings.ts";
import { type Figure, FIGURES, LONG_CASE, pacedName, TARGET_STREAMS, togetherName } from "./cases.ts";
import { type Against, figureOf, ratio, type RunResult, section, show } from "./report.ts";

/** Target: a bound of a figure, or of its ratio to, or difference from, another proxy's. */
interface Target {
  readonly caseName: string;
  readonly proxy: string;
  readonly figure: Figure;
  /** Default: the figure itself is bounded. */
  readonly against?: Against;
  /** The bare proxy on the same listener, whose figure shows what is possible. */
  readonly bare: string;
  /** Bounds. Default: none. */
  readonly min?: number;
  readonly max?: number;
}

/** Targets in the order of the table. */
const TARGETS: readonly Target[] = WEB_SERVERS.flatMap((server): Target[] => {
  const proxy = `us_${server}`;
  const bare = `tap_${server}`;
  return [
    ...[...TARGET_STREAMS.map(togetherName), LONG_CASE].map((caseName): Target => {
      const against = { base: bare, by: "ratio" } as const;
      return { caseName, proxy, figure: "linesPerCpuSecond", against, bare: `least_${server}`, min: 0.95 };
    }),
    ...TARGET_STREAMS.map((streams) => ({ caseName: pacedName(streams), proxy, bare })).flatMap((run): Target[] => [
      { ...run, figure: "lagP50Ms", against: { base: "pass", by: "difference" }, max: 0.15 },
      { ...run, figure: "lagP99Ms", against: { base: "pass", by: "ratio" }, max: 2 },
    ]),
    ...server === "deno" ? [] : ([
      { caseName: "paced300", proxy, bare, figure: "lagP99Ms", against: { base: "us_deno", by: "ratio" }, max: 1 },
    ] as const),
    ...["upload", "upload_chunked", "download"].map((caseName): Target => (
      { caseName, proxy, bare, figure: "rssPeakMegabytes", max: 130 }
    )),
  ];
});

/**
 * Returns the table of targets: measured value, whether it is met, and what the bare proxy has in its place. Empty if
 * none was measured.
 */
export function targetTable(runs: readonly RunResult[]): string {
  const rows = TARGETS.flatMap(({ caseName, proxy, figure, against, bare, min = -Infinity, max = Infinity }) => {
    const measured = figureOf(runs, [caseName, proxy, figure], against);
    if (measured === undefined) return [];
    const isMet = measured.median >= min && measured.median <= max;
    const base = against === undefined ? "" : ` ${against.by === "ratio" ? "/" : "-"} ${against.base}`;
    const bound = max === Infinity ? `at least ${min}` : `at most ${max}`;
    const possible = show(figureOf(runs, [caseName, bare, figure], against), ratio);
    const met = isMet ? "yes" : "no";
    return [[caseName, `${proxy}${base}`, FIGURES[figure], bound, show(measured, ratio), met, bare, possible]];
  });
  const heads = ["case", "of", "figure", "target", "measured", "met", "in its place", "measured"];
  return rows.length === 0 ? "" : section("Targets", heads, rows);
}
