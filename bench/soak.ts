/**
 * `deno task soak`: an exporter in a process of its own under loads that could exhaust its memory or grow its metrics,
 * over both listeners, and a table of the results. Fails if a limit is exceeded.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import type { WebServer } from "../lib/settings/settings.ts";
import { stopAll } from "./child.ts";
import { writeLine } from "./job.ts";
import { startDeno } from "./proxies.ts";
import { runStamp, table, writeBetween } from "./report.ts";
import { FULL_SOAK, QUICK_SOAK, RSS_LIMITS_BYTES, type SoakCase, soakCases, type SoakScale } from "./soak_cases.ts";
import { type Tally, Trial } from "./soak_trial.ts";

const HELP = `Usage: deno task soak [flags]

Applies loads that could exhaust the exporter's memory or grow its metrics, and checks bytes, counts and limits. A full
run takes about 15 minutes.

  --quick      reduced loads, in a minute or two
  --case=A,B   run only these cases: ${
  [...new Set(soakCases({ seed: 1, ...FULL_SOAK }).map(({ name }) => name))].join(", ")
}
  --seed=N     seed of the order of the soak's requests (1)
  --write      also write the table to bench/README.md
  --help       show this`;

/** Flag, with its value if it has one. */
const FLAG = /^--(help$|quick$|write$|case(?==.)|seed(?==[1-9]\d{0,8}$))(?:=(.+))?$/;

const MEBIBYTE = 2 ** 20;
const EXIT_FAILURE = 1;

/** Options of the command line. */
export interface SoakOptions {
  readonly help: boolean;
  readonly write: boolean;
  /** Names of the cases. Default: all. */
  readonly cases?: readonly string[];
  readonly scale: SoakScale;
}

/** Result of a case over a listener. */
export interface SoakResult {
  readonly soakCase: SoakCase;
  readonly server: WebServer;
  readonly tally: Tally;
  /** Notes in addition to the counts. */
  readonly remark: string;
}

/**
 * Parses the command line.
 *
 * @throws {Error} If an argument is unknown or invalid.
 */
export function parseSoakOptions(args: readonly string[]): SoakOptions {
  const values = new Map<string, string>();
  for (const arg of args) {
    const [, name, value = ""] = FLAG.exec(arg) ?? [];
    if (name === undefined) throw new Error(`Unknown argument ${JSON.stringify(arg)}; see --help`);
    values.set(name, value);
  }
  const names = values.get("case")?.split(",");
  return {
    help: values.has("help"),
    write: values.has("write"),
    scale: { seed: Number(values.get("seed") ?? 1), ...values.has("quick") ? QUICK_SOAK : FULL_SOAK },
    ...names && { cases: names },
  };
}

/**
 * Runs cases over their listeners, each with a new exporter.
 *
 * @param note Called before each case with its name.
 */
export async function runSoak(cases: readonly SoakCase[], note: (text: string) => void): Promise<SoakResult[]> {
  const upstream = startDeno(new URL("upstream.ts", import.meta.url).pathname, "0");
  try {
    const port = Number(await upstream.line(/^listening (\d+)$/));
    const results: SoakResult[] = [];
    for (const soakCase of cases) {
      for (const server of soakCase.servers) {
        note(`${soakCase.name} ${server}`);
        const result = runCase(soakCase, server, port).catch((error) => {
          throw new Error(`${soakCase.name} ${server}: ${messageOf(error)}`);
        });
        results.push(await result);
      }
    }
    return results;
  } finally {
    await upstream.stop();
  }
}

async function runCase(soakCase: SoakCase, server: WebServer, upstreamPort: number): Promise<SoakResult> {
  await using trial = await Trial.start(upstreamPort, server);
  const late = Promise.withResolvers<never>();
  const { deadlineMs } = soakCase;
  const timer = setTimeout(() => late.reject(new Error(`not done within ${deadlineMs / 1000} s`)), deadlineMs);
  let remark = "failed";
  try {
    remark = await Promise.race([soakCase.run(trial), late.promise]);
  } catch (error) {
    trial.problem(messageOf(error));
  } finally {
    clearTimeout(timer);
  }
  return { soakCase, server, remark, tally: await trial.end() };
}

/** Returns the problems: wrong counts, lost bytes, and exceeded limits. */
export function problemsOf({ soakCase, server, tally }: SoakResult): string[] {
  const { peakRssBytes, problems } = tally;
  const limitBytes = RSS_LIMITS_BYTES[soakCase.limit];
  const exceeded = `${soakCase.limit} of ${mebibytes(limitBytes)} exceeded: peak RSS is ${mebibytes(peakRssBytes)}`;
  // NaN if RSS could not be read, which proves nothing.
  return [...problems, ...peakRssBytes <= limitBytes ? [] : [exceeded]].map((text) =>
    `${soakCase.name} ${server}: ${text}`
  );
}

/** Returns the table of the results. */
export function soakTable(results: readonly SoakResult[]): string {
  const heads = ["case", "listener", "load held", "exchanges", "bytes checked", "bytes lost"];
  heads.push("observations missing / doubled", "peak RSS", "limit", "notes");
  const rows = results.map(({ soakCase, server, tally, remark }) => [
    soakCase.name,
    server,
    soakCase.load,
    String(tally.exchanges),
    String(tally.bytesChecked),
    String(tally.bytesLost),
    `${tally.observationsMissing} / ${tally.observationsDoubled}`,
    mebibytes(tally.peakRssBytes),
    `${soakCase.limit} ${mebibytes(RSS_LIMITS_BYTES[soakCase.limit])}`,
    remark,
  ]);
  return table(heads, rows);
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / MEBIBYTE)} MiB`;
}

async function main(): Promise<void> {
  const { help, write, cases, scale } = parseSoakOptions(Deno.args);
  if (help) return writeLine(Deno.stdout, HELP);
  const all = soakCases(scale);
  for (const name of cases ?? []) {
    if (!all.some((soakCase) => soakCase.name === name)) throw new Error(`unknown case: ${JSON.stringify(name)}`);
  }
  const chosen = all.filter(({ name }) => cases?.includes(name) ?? true);
  const results = await runSoak(chosen, (text) => writeLine(Deno.stderr, text));
  const report = `${runStamp("soak")}, seed ${scale.seed}\n\n${soakTable(results)}`;
  writeLine(Deno.stdout, report);
  if (write) await writeBetween(new URL("README.md", import.meta.url), "soak", report);
  const problems = results.flatMap(problemsOf);
  for (const problem of problems) writeLine(Deno.stderr, problem);
  if (problems.length > 0) Deno.exitCode = EXIT_FAILURE;
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // On a signal all processes are terminated, so the case fails and cleans up as after any error.
    Deno.addSignalListener(signal, stopAll);
  }
  try {
    await main();
  } catch (error) {
    writeLine(Deno.stderr, messageOf(error));
    Deno.exitCode = EXIT_FAILURE;
  }
  await stopAll();
  Deno.exit();
}
