/**
 * What the chaos run and the soak count and report.
 *
 * @module
 */

import type { WebServer } from "../lib/settings/settings.ts";
import { writeLine } from "./child.ts";
import type { Flags } from "./flags.ts";
import { runStamp, table, writeBetween } from "./report.ts";

const MEBIBYTE = 2 ** 20;

/** Maximum number of problems reported per case, since one cause often has many. */
const PROBLEM_LIMIT = 20;

/** Counts of what passed through an exporter. */
export class Tally {
  exchanges = 0;
  /** Bytes of bodies that must arrive completely, in both directions. */
  bytesChecked = 0;
  bytesLost = 0;
  observationsMissing = 0;
  observationsDoubled = 0;
  peakRssBytes = 0;
  readonly problems: string[] = [];
}

/** Result of a case over a listener. */
export interface Checked {
  readonly name: string;
  readonly server: WebServer;
  /** Description of the load. */
  readonly load: string;
  /** Limit of the peak RSS. Default: none. */
  readonly limit?: readonly [name: string, bytes: number];
  readonly tally: Tally;
  /** Notes in addition to the counts. */
  readonly remark: string;
}

/**
 * Prints a table of the results, and writes it to bench/README.md if asked.
 *
 * @throws {Error} If a limit is exceeded, a byte lost or a count wrong.
 */
export async function report(task: string, flags: Flags, results: readonly Checked[]): Promise<void> {
  const text = `${runStamp()}\n\n${tallyTable(results)}`;
  writeLine(Deno.stdout, text);
  if (flags.has("write")) await writeBetween(new URL("README.md", import.meta.url), task, text);
  const problems = results.flatMap(problemsOf);
  if (problems.length > 0) throw new Error(problems.join("\n"));
}

/** Returns the problems of a case: wrong counts, lost bytes, and an exceeded limit. */
export function problemsOf({ name, server, tally, limit: [limit, bytes] = ["", Infinity] }: Checked): string[] {
  const { peakRssBytes, problems } = tally;
  const exceeded = `${limit} of ${mebibytes(bytes)} exceeded: peak RSS is ${mebibytes(peakRssBytes)}`;
  // NaN if RSS could not be read, which proves nothing.
  const all = [...problems.slice(0, PROBLEM_LIMIT), ...peakRssBytes <= bytes ? [] : [exceeded]];
  return all.map((text) => `${name} ${server}: ${text}`);
}

/** Returns the table of the results. */
export function tallyTable(results: readonly Checked[]): string {
  const heads = ["case", "listener", "load held", "exchanges", "bytes checked", "bytes lost"];
  heads.push("observations missing / doubled", "problems", "peak RSS", "limit", "notes");
  const rows = results.map(({ name, server, load, limit, tally, remark }) => [
    ...[name, server, load, tally.exchanges, tally.bytesChecked, tally.bytesLost].map(String),
    `${tally.observationsMissing} / ${tally.observationsDoubled}`,
    String(tally.problems.length),
    mebibytes(tally.peakRssBytes),
    limit === undefined ? "" : `${limit[0]} ${mebibytes(limit[1])}`,
    remark,
  ]);
  return table(heads, rows);
}

/** Returns bytes in MiB as text. */
export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)} MiB`;
}
