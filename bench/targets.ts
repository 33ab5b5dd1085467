/**
 * Targets of the exporter, in the same run as what it is compared with.
 *
 * @module
 */

import { WEB_SERVERS } from "../lib/settings/settings.ts";
import { type Figure, FIGURES } from "./cases.ts";
import { type Against, figureOf, ratio, type RunResult, section, show } from "./report.ts";

/** Target: a bound of a figure, or of its ratio to, or difference from, another proxy's. */
interface Target {
  readonly caseName: string;
  readonly proxy: string;
  readonly figure: Figure;
  /** Default: the figure itself is bounded. */
  readonly against?: Against;
  /** Bounds. Default: none. */
  readonly min?: number;
  readonly max?: number;
}

/** Targets in the order of the table. */
const TARGETS: readonly Target[] = WEB_SERVERS.flatMap((server): Target[] => {
  const proxy = `us_${server}`;
  const [tap, pass] = [`tap_${server}`, "pass"];
  return [
    ...["paced16", "paced100"].map((caseName) => ({ caseName, proxy })).flatMap((run): Target[] => [
      { ...run, figure: "linesPerCpuSecond", against: { base: tap, by: "ratio" }, min: 0.95 },
      { ...run, figure: "lagP50Ms", against: { base: pass, by: "difference" }, max: 0.15 },
      { ...run, figure: "lagP99Ms", against: { base: pass, by: "ratio" }, max: 2 },
    ]),
    ...server === "deno" ? [] : ([
      { caseName: "paced300", proxy, figure: "lagP99Ms", against: { base: "us_deno", by: "ratio" }, max: 1 },
    ] as const),
    ...["upload", "upload_chunked", "download"].map((caseName): Target => (
      { caseName, proxy, figure: "rssPeakMegabytes", max: 130 }
    )),
  ];
});

/** Returns the table of targets: measured value, and whether it is met. Empty if none was measured. */
export function targetTable(runs: readonly RunResult[]): string {
  const rows = TARGETS.flatMap(({ caseName, proxy, figure, against, min = -Infinity, max = Infinity }) => {
    const measured = figureOf(runs, [caseName, proxy, figure], against);
    if (measured === undefined) return [];
    const isMet = measured.median >= min && measured.median <= max;
    const base = against === undefined ? "" : ` ${against.by === "ratio" ? "/" : "-"} ${against.base}`;
    const bound = max === Infinity ? `at least ${min}` : `at most ${max}`;
    return [[caseName, `${proxy}${base}`, FIGURES[figure], bound, show(measured, ratio), isMet ? "yes" : "no"]];
  });
  return rows.length === 0 ? "" : section("Targets", ["case", "of", "figure", "target", "measured", "met"], rows);
}
