/**
 * `deno task chaos`: exchanges with all kinds of faults, over both listeners, and a table of the results.
 *
 *     deno task chaos [--seed=N] [--exchanges=N] [--clients=N] [--write]
 *
 * With `--write` the table is also written to bench/README.md.
 *
 * @module
 */

import { WEB_SERVERS } from "../lib/settings/settings.ts";
import { type ChaosResult, runChaos } from "./chaos_run.ts";
import { writeLine } from "./job.ts";
import { runStamp, table, writeBetween } from "./report.ts";

const MEBIBYTE = 1024 * 1024;
const SHOWN_PROBLEMS = 10;

/** Returns the value of a flag, or its default. */
function flag(name: string, byDefault: number): number {
  const value = Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  if (value === undefined) return byDefault;
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new Error(`--${name} must be an integer from 1: ${JSON.stringify(value)}`);
  return Number(value);
}

const HEADS = ["listener", "seed", "exchanges", "at once", "faults", "bytes checked", "bytes lost"];
HEADS.push("observations missing / doubled", "POSTs repeated", "problems", "peak RSS, all in one process");

/** Returns a row of the table. */
function rowOf(result: ChaosResult): string[] {
  const { server, seed, exchanges, clients, faults, bytesChecked, peakRssBytes } = result;
  const kinds = Object.entries(faults).map(([fault, count]) => `${fault} ${count}`).join(", ");
  return [
    server,
    seed,
    exchanges,
    clients,
    kinds,
    bytesChecked,
    result.bytesLost,
    `${result.observationsMissing} / ${result.observationsDoubled}`,
    result.postsRepeated,
    result.problems.length,
    `${Math.round(peakRssBytes / MEBIBYTE)} MiB`,
  ].map(String);
}

const seed = flag("seed", 1);
const exchanges = flag("exchanges", 20_000);
const clients = flag("clients", 32);
const rows: string[][] = [];
let hasFailed = false;
for (const server of WEB_SERVERS) {
  const result = await runChaos({ server, seed, exchanges, clients });
  rows.push(rowOf(result));
  for (const problem of result.problems.slice(0, SHOWN_PROBLEMS)) writeLine(Deno.stderr, `${server}: ${problem}`);
  hasFailed ||= result.problems.length > 0 || result.observationsMissing + result.observationsDoubled > 0;
}
const report = `${runStamp("chaos")}\n\n${table(HEADS, rows)}`;
writeLine(Deno.stdout, report);
if (Deno.args.includes("--write")) await writeBetween(new URL("README.md", import.meta.url), "chaos", report);
if (hasFailed) Deno.exit(1);
