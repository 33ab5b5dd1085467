/**
 * `deno task bench`: the cost of the exporter, compared with alternatives in one alternating run.
 *
 * Everything runs on loopback, in separate processes: the upstream (`upstream.ts`), the load clients (`load.ts`), and
 * one proxy at a time, restarted for each run. Within a case the proxies alternate in an order shuffled for each
 * repetition. Each repetition runs all cases, to distribute a slowdown of the machine.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import { random as randomFrom } from "../tests/support/fixtures.ts";
import { type Case, casesOf } from "./cases.ts";
import { type Child, output, stopAll } from "./child.ts";
import { expositionSection } from "./exposition.ts";
import { writeLine } from "./job.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { findProxies, nginxVersion, startDeno, type StartProxy } from "./proxies.ts";
import { caseTable, startTable, targetTable, writeBetween } from "./report.ts";
import { measure, type RunResult, type Stage } from "./run.ts";

const RESULTS = new URL("RESULTS.md", import.meta.url);

/** File descriptors other than those of connections. */
const OTHER_DESCRIPTORS = 200;

const EXIT_FAILURE = 1;

async function main(): Promise<void> {
  const options = parseOptions(Deno.args);
  if (options.help) return say(HELP);
  const known = await findProxies(options.variants);
  const proxies = chosen(known, options.proxies, "proxy");
  if (!known.has("nginx")) note("skipping nginx: not installed");
  const all = new Map(casesOf(options.scale).map((benchCase) => [benchCase.name, benchCase]));
  const cases = await feasible([...chosen(all, options.cases, "case").values()]);
  const startedAt = performance.now();
  const runs = await withStage(options, (stage) => runAll(cases, proxies, options, stage));
  const report = await reportOf(cases, runs, options);
  say(report);
  note(`${runs.length} runs in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  if (options.write) await writeBetween(RESULTS, "bench", report);
}

function say(text: string): void {
  writeLine(Deno.stdout, text);
}

function note(text: string): void {
  writeLine(Deno.stderr, text);
}

/** Returns the named entries, or all. */
function chosen<T>(all: ReadonlyMap<string, T>, names: readonly string[] | undefined, what: string): Map<string, T> {
  for (const name of names ?? []) {
    if (!all.has(name)) {
      throw new Error(`unknown ${what} ${JSON.stringify(name)}: want one of ${[...all.keys()].join(", ")}`);
    }
  }
  return new Map([...all].filter(([name]) => names?.includes(name) ?? true));
}

/** Returns the cases for which the limit of file descriptors suffices. */
async function feasible(cases: readonly Case[]): Promise<Case[]> {
  const limit = Number(await output("sh", "-c", "ulimit -Hn")) || Infinity;
  return cases.filter(({ name, load }) => {
    // A proxy has two connections per client.
    const isFeasible = 2 * load.connections + OTHER_DESCRIPTORS <= limit;
    if (!isFeasible) note(`skipping ${name}: the limit of open files is ${limit}`);
    return isFeasible;
  });
}

/** Starts the upstream and the load clients, and always terminates them. */
async function withStage<T>(options: Options, use: (stage: Stage) => Promise<T>): Promise<T> {
  const children: Child[] = [];
  const start = (script: string, ...args: string[]): Child => {
    const child = startDeno(new URL(script, import.meta.url).pathname, ...args);
    children.push(child);
    return child;
  };
  try {
    const listening = async (child: Child): Promise<number> => Number(await child.line(/^listening (\d+)$/));
    const upstreamPort = await listening(start("upstream.ts", "0"));
    for (let count = 1; count < options.upstreams; count++) await listening(start("upstream.ts", String(upstreamPort)));
    const clients = Array.from({ length: options.clients }, () => start("load.ts"));
    await Promise.all(clients.map(listening));
    return await use({ upstreamPort, clients });
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

async function runAll(
  cases: readonly Case[],
  proxies: ReadonlyMap<string, StartProxy>,
  options: Options,
  stage: Stage,
): Promise<RunResult[]> {
  const random = randomFrom(options.seed);
  const runs: RunResult[] = [];
  for (let rep = 1; rep <= options.reps; rep++) {
    for (const benchCase of cases) {
      for (const [proxy, start] of shuffled(fitting(benchCase, proxies, options), random)) {
        note(`${rep}/${options.reps} ${benchCase.name} ${proxy}`);
        const figures = await measure(benchCase, start, stage).catch((error) => {
          throw new Error(`${benchCase.name} ${proxy}: ${messageOf(error)}`);
        });
        runs.push({ caseName: benchCase.name, proxy, rep, figures });
      }
    }
  }
  return runs;
}

/**
 * Returns the proxies of a case. Of the two pass-throughs this is the one that handles connections as the exporter
 * does.
 */
function fitting(
  { bare, oursOnly = false, also = [] }: Case,
  proxies: ReadonlyMap<string, StartProxy>,
  { variants }: Options,
): [string, StartProxy][] {
  const names = [...oursOnly ? [] : ["direct", "nginx", bare], "us", ...also, ...variants.keys()];
  return [...proxies].filter(([name]) => names.includes(name));
}

function exportersIn({ variants }: Options): string[] {
  return ["us", "us_node", "us_viewed", "us_scraped", ...variants.keys()];
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items.map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}

async function reportOf(cases: readonly Case[], runs: readonly RunResult[], options: Options): Promise<string> {
  const tables = cases.map((benchCase) => {
    const ofCase = runs.filter(({ caseName }) => caseName === benchCase.name);
    return caseTable(benchCase, inOrder(ofCase, options), exportersIn(options));
  });
  const exposition = cases.some(({ kind }) => kind === "scrape") ? await expositionSection() : "";
  return [await machine(options), targetTable(cases, runs), ...tables, exposition, startTable(runs)]
    .filter((text) => text !== "").join("\n\n");
}

/** Returns the runs by proxy, in the order of the tables. */
function inOrder(runs: readonly RunResult[], options: Options): RunResult[] {
  const order = ["direct", "nginx", "pass", "pass_pooled", "pass_tapped", ...exportersIn(options)];
  return runs.toSorted((a, b) => order.indexOf(a.proxy) - order.indexOf(b.proxy));
}

/** Returns date, machine and versions of the run. */
async function machine(options: Options): Promise<string> {
  const cpuInfo = await output("cat", "/proc/cpuinfo").catch(() => "");
  const model = /^model name\s*: (.*)$/m.exec(cpuInfo)?.[1] ?? "unknown CPU";
  const { deno, v8 } = Deno.version;
  const nginx = await nginxVersion();
  const rows = [
    `Date: ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    `Machine: ${navigator.hardwareConcurrency} cores, ${model}, ${Deno.build.os} ${Deno.osRelease()}, ` +
    `load before and during the run ${Deno.loadavg().map((load) => load.toFixed(1)).join(" ")}`,
    `Versions: deno ${deno}, v8 ${v8}${nginx === undefined ? "" : `, nginx ${nginx}`}`,
    `Run: ${["deno task bench", ...Deno.args].join(" ")}; ${options.reps} repetitions, medians (min to max); ` +
    `${options.upstreams} upstream and ${options.clients} load processes`,
  ];
  return rows.map((row) => `- ${row}`).join("\n");
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // On a signal all processes are terminated, so the run fails and cleans up as after any error.
  Deno.addSignalListener(signal, stopAll);
}
try {
  await main();
} catch (error) {
  note(messageOf(error));
  Deno.exitCode = EXIT_FAILURE;
}
await stopAll();
Deno.exit();
