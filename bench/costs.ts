/**
 * What the exporter costs, for users: the table of docs/limits.md.
 *
 * @module
 */

import { WEB_SERVERS, type WebServer } from "../lib/settings/settings.ts";
import { COST_STREAMS, LARGE_STREAMS, OPEN_CASE, OPEN_STREAMS, pacedName } from "./cases.ts";
import { figureOf, type RunResult, type Spread, spreadOf, table } from "./report.ts";

/** Share of the tokens that must arrive in time for a load to be held, and the most that their median may be late. */
const HELD_SHARE = 0.98;
const HELD_LAG_MS = 100;

const TOKENS_PER_SECOND = 50;

/**
 * Returns the section: added delay, share of a core and memory by number of streams, and the largest load held.
 *
 * @param machine When, where and how the runs were made.
 */
export function costSection(runs: readonly RunResult[], machine: string): string {
  const rows = [["idle", ...memoryOnly(WEB_SERVERS.map((server) => idleMegabytes(runs, server)))]];
  for (const streams of COST_STREAMS) rows.push([pacedText(streams), ...costs(runs, pacedName(streams))]);
  const megabytes = WEB_SERVERS.map((server) => figureOf(runs, [OPEN_CASE, `us_${server}`, "rssPeakMegabytes"]));
  rows.push([`${OPEN_STREAMS.toLocaleString("en")} streams at 1 token/s`, ...memoryOnly(megabytes)]);
  const heads = ["added ms per token", "share of a core", "MB"].flatMap((what) =>
    WEB_SERVERS.map((server) => `${what}, ${server}`)
  );
  const largest = WEB_SERVERS.map((server) => `\`${server}\` ${largestLoad(runs, `us_${server}`)}`).join(", ");
  return [
    table(["load", ...heads], rows.filter((row) => row.slice(1).some((cell) => cell !== "" && cell !== "-"))),
    `Largest load held on one core: ${largest}.`,
    `Added time is the median's difference from a direct connection; MB are the peak RSS. Measured ${machine}.`,
  ].join("\n\n");
}

function pacedText(streams: number): string {
  return `${streams} streams at ${TOKENS_PER_SECOND} tokens/s`;
}

function costs(runs: readonly RunResult[], caseName: string): string[] {
  const direct = { base: "direct", by: "difference" } as const;
  const ofEach = (read: (proxy: string) => Spread | undefined, digits: number): string[] =>
    WEB_SERVERS.map((server) => text(read(`us_${server}`), digits));
  return [
    ...ofEach((proxy) => figureOf(runs, [caseName, proxy, "lagP50Ms"], direct), 2),
    ...ofEach((proxy) => figureOf(runs, [caseName, proxy, "coreShare"]), 3),
    ...ofEach((proxy) => figureOf(runs, [caseName, proxy, "rssPeakMegabytes"]), 0),
  ];
}

function memoryOnly(megabytes: readonly (Spread | undefined)[]): string[] {
  return [...WEB_SERVERS, ...WEB_SERVERS].map(() => "").concat(megabytes.map((spread) => text(spread, 0)));
}

function idleMegabytes(runs: readonly RunResult[], server: WebServer): Spread | undefined {
  const ofProxy = runs.filter(({ proxy }) => proxy === `us_${server}`);
  return spreadOf(ofProxy.map(({ figures }) => figures.rssIdleMegabytes ?? NaN));
}

/** Returns the largest number of streams that is held, and all smaller ones with it. */
function largestLoad(runs: readonly RunResult[], proxy: string): string {
  const measured = [...COST_STREAMS, ...LARGE_STREAMS].filter((streams) =>
    runs.some((run) => run.proxy === proxy && run.caseName === pacedName(streams))
  );
  const failed = measured.findIndex((streams) => !isHeld(runs, pacedName(streams), proxy));
  const held = measured.slice(0, failed < 0 ? undefined : failed).at(-1);
  if (held === undefined) return "none";
  return `${failed < 0 ? "at least " : ""}${pacedText(held)}`;
}

function isHeld(runs: readonly RunResult[], caseName: string, proxy: string): boolean {
  const held = figureOf(runs, [caseName, proxy, "held"])?.median ?? 0;
  const lagMs = figureOf(runs, [caseName, proxy, "lagP50Ms"])?.median ?? Infinity;
  return held >= HELD_SHARE && lagMs <= HELD_LAG_MS;
}

function text(spread: Spread | undefined, digits: number): string {
  return spread?.median.toFixed(digits) ?? "-";
}
