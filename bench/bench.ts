/**
 * `deno task bench`: the cost of the exporter, compared with alternatives in one alternating run.
 *
 * Everything runs on loopback, in separate processes: the upstream (`upstream.ts`), the load clients (`load.ts`), and
 * one proxy at a time, restarted for each run. Within a case the proxies alternate in an order shuffled for each
 * repetition; in some cases those of a listener run at the same time, each with an upstream and clients of its own.
 * Each repetition runs all cases, to distribute a slowdown of the machine.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import { random as randomFrom } from "../tests/support/fixtures.ts";
import { type Case, casesOf, type Figure, FULL_SCALE, QUICK_CASES, QUICK_SCALE } from "./cases.ts";
import { type Child, cpuSecondsBetween, output, type Usage, usageOf, writeLine } from "./child.ts";
import { costSection } from "./costs.ts";
import { chosen, type Flags, type FlagTable } from "./flags.ts";
import type { Job, JobResult, Load } from "./load.ts";
import {
  type Cores,
  findCores,
  findProxies,
  nginxVersion,
  portOf,
  type Proxy,
  type ProxyKind,
  startScript,
} from "./proxies.ts";
import { caseTable, quantile, type RunResult, runStamp, startTable, writeBetween } from "./report.ts";
import { targetTable } from "./targets.ts";

const RESULTS = new URL("RESULTS.md", import.meta.url);
/** Page for users with the table of costs. */
const COSTS = new URL("../docs/limits.md", import.meta.url);

/** Maximum time of a load beyond its planned duration. */
const LOAD_GRACE_MS = 120_000;

/** Share of the measured time after which the CPU time is read, before clients disconnect. */
const MEASURED_SHARE = 0.95;

/** Interval of the requests that are sent meanwhile. */
const MEANWHILE_MS = 1000;

const BYTES_PER_MEGABYTE = 1e6;
const BYTES_PER_MEBIBYTE = 2 ** 20;

/** Flags of the command line. */
export const BENCH_FLAGS: FlagTable = {
  quick: ["", "run the cases of the table of costs once, over both listeners, in less than a minute"],
  case: ["A,B", "run only these cases"],
  proxy: [
    "A,B",
    "run only these proxies, or variants: direct, nginx, pass, and tap, least and us with _deno and _node",
  ],
  variant: ["NAME=PATH", "also measure another source tree or executable, as NAME_deno and NAME_node; repeatable"],
  reps: ["N", "repetitions; ratios are of the same repetition (5, with --quick 1)"],
  seed: ["N", "seed of the order of proxies (1)"],
  "measure-ms": ["N", `time for which a load is measured (${FULL_SCALE.measureMs}, ${QUICK_SCALE.measureMs})`],
  "warm-up-ms": ["N", `time for which a proxy is warmed up (${FULL_SCALE.warmUpMs}, ${QUICK_SCALE.warmUpMs})`],
  "warm-up-requests": [
    "N",
    `short streams before paced ones (${FULL_SCALE.warmUpRequests}, ${QUICK_SCALE.warmUpRequests})`,
  ],
  "paced-tokens": ["N", `tokens of a paced stream (${FULL_SCALE.pacedTokens}, ${QUICK_SCALE.pacedTokens})`],
  "body-bytes": ["N", "size of large bodies (1 GiB, 256 MiB)"],
  write: [
    "",
    "also write the results: with --quick the costs to docs/limits.md, otherwise the tables to bench/RESULTS.md",
  ],
};

/** Processes that runs share, one after the other. */
interface Stage {
  readonly upstreamPort: number;
  /** Load clients. */
  readonly clients: readonly Child[];
  readonly cores: Cores;
}

/** Runs the benchmark. */
export async function bench(flags: Flags): Promise<void> {
  const isQuick = flags.has("quick");
  const standard = isQuick ? QUICK_SCALE : FULL_SCALE;
  const all = casesOf({
    measureMs: flags.number("measure-ms", standard.measureMs),
    warmUpMs: flags.number("warm-up-ms", standard.warmUpMs),
    warmUpRequests: flags.number("warm-up-requests", standard.warmUpRequests),
    pacedTokens: flags.number("paced-tokens", standard.pacedTokens),
    bodyBytes: flags.number("body-bytes", standard.bodyBytes),
  });
  const variants = flags.all("variant").map((text) => text.split(/=(.*)/s, 2) as [string, string]);
  const known = await findProxies(new Map(variants));
  const needed = [...known].filter(([name, { isExporter }]) => isExporter || name === "direct").map(([name]) => name);
  const proxies = new Map(
    chosen([...known], ([name]) => name, flags.names("proxy") ?? (isQuick ? needed : undefined), "proxy"),
  );
  if (!known.has("nginx")) note("skipping nginx: not installed");
  const wanted = flags.names("case") ?? (isQuick ? QUICK_CASES : undefined);
  const cases = chosen(all, ({ name }) => name, wanted, "case");
  const reps = flags.number("reps", isQuick ? 1 : 5);
  const startedAt = performance.now();
  const runs = await runAll(cases, proxies, { reps, seed: flags.number("seed", 1) });
  const stamp = await machine(reps);
  const costs = isQuick ? [costSection(runs, stamp)] : [];
  const report = reportOf(cases, known, runs);
  writeLine(Deno.stdout, [...costs, ...report].join("\n\n"));
  note(`${runs.length} runs in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  if (!flags.has("write")) return;
  if (isQuick) await writeBetween(COSTS, "bench", costs.join());
  else await writeBetween(RESULTS, "bench", [stamp, ...report].join("\n\n"));
}

function note(text: string): void {
  writeLine(Deno.stderr, text);
}

/** Starts upstreams and load clients for this number of proxies at the same time, and always terminates them. */
async function withStages<T>(count: number, use: (stages: readonly Stage[]) => Promise<T>): Promise<T> {
  // Upstreams, sharing a port, and clients.
  const each = navigator.hardwareConcurrency > 2 ? 2 : 1;
  const cores = await findCores();
  const children: Child[] = [];
  const start = async (script: string, ...args: string[]): Promise<[child: Child, port: number]> => {
    const child = startScript(script, args, cores.load);
    children.push(child);
    return [child, await portOf(child)];
  };
  const startStage = async (): Promise<Stage> => {
    const [, upstreamPort] = await start("upstream.ts", "0");
    for (let more = 1; more < each; more++) await start("upstream.ts", String(upstreamPort));
    const started = await Promise.all(Array.from({ length: each }, () => start("load.ts")));
    return { upstreamPort, clients: started.map(([child]) => child), cores };
  };
  try {
    return await use(await Promise.all(Array.from({ length: count }, startStage)));
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
}

async function runAll(
  cases: readonly Case[],
  proxies: ReadonlyMap<string, ProxyKind>,
  { reps, seed }: { readonly reps: number; readonly seed: number },
): Promise<RunResult[]> {
  const random = randomFrom(seed);
  const plan = cases.map((benchCase) => ({ benchCase, groups: groupsOf(benchCase, proxies) }));
  const largest = Math.max(...plan.flatMap(({ groups }) => groups.map(({ length }) => length)));
  return await withStages(largest, async (stages) => {
    const runs: RunResult[] = [];
    for (let rep = 1; rep <= reps; rep++) {
      for (const { benchCase, groups } of plan) {
        for (const group of shuffled(groups, random)) {
          note(`${rep}/${reps} ${benchCase.name} ${group.map(([proxy]) => proxy).join(" ")}`);
          const isReady = barrierOf(group.length);
          const running = group.map(([proxy, kind], index) =>
            run({ benchCase, proxy, rep }, kind, stages[index] as Stage, isReady)
          );
          runs.push(...await Promise.all(running));
        }
      }
    }
    return runs;
  });
}

type NamedProxy = readonly [name: string, kind: ProxyKind];

/** Returns the proxies that a case is run with, those together that run at the same time. */
function groupsOf(benchCase: Case, proxies: ReadonlyMap<string, ProxyKind>): NamedProxy[][] {
  const found = [...proxies].filter(([name, { isExporter }]) => isExporter || benchCase.proxies.includes(name));
  if (benchCase.isTogether !== true) return found.map((proxy) => [proxy]);
  return [...Map.groupBy(found, ([, { server }]) => server).values()];
}

/** Returns a function whose promises resolve once it has been called this many times. */
function barrierOf(calls: number): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let missing = calls;
  return () => {
    if (--missing === 0) resolve();
    return promise;
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items.map((item) => ({ item, at: random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}

/** What is run. */
interface Planned {
  readonly benchCase: Case;
  readonly proxy: string;
  readonly rep: number;
}

/**
 * Returns the result of a run.
 *
 * @param isReady As of {@linkcode measure}.
 * @throws {Error} With the names of the case and the proxy.
 */
async function run(
  { benchCase, proxy, rep }: Planned,
  kind: ProxyKind,
  stage: Stage,
  isReady: () => Promise<void>,
): Promise<RunResult> {
  try {
    return { caseName: benchCase.name, proxy, rep, figures: await measure(benchCase, kind, stage, isReady) };
  } catch (error) {
    throw new Error(`${benchCase.name} ${proxy}: ${messageOf(error)}`);
  }
}

/**
 * Starts the proxy, applies the load and terminates the proxy.
 *
 * @param isReady Waited for before the load that is measured.
 */
async function measure(
  benchCase: Case,
  kind: ProxyKind,
  stage: Stage,
  isReady: () => Promise<void>,
): Promise<RunResult["figures"]> {
  const { load, before = [], meanwhile } = benchCase;
  const proxy = await kind.start(stage.upstreamPort, stage.cores);
  const others = new AbortController();
  try {
    for (const earlier of before) await put(earlier, proxy, stage);
    await isReady();
    if (meanwhile !== undefined) request(`http://127.0.0.1:${proxy.port}${meanwhile}`, others.signal);
    const [from, to, results] = await Promise.all([
      weigh(proxy, load.warmUpMs),
      load.limit === undefined ? weigh(proxy, load.warmUpMs + MEASURED_SHARE * load.measureMs) : undefined,
      put(load, proxy, stage),
    ]);
    const end = await weigh(proxy, 0);
    const figures = {
      ...figuresOf(benchCase, results, { from, to: to ?? end, isWhole: to === undefined }),
      rssPeakMegabytes: end.peakRssBytes / BYTES_PER_MEGABYTE,
      startMs: proxy.startMs,
      rssIdleMegabytes: (proxy.idle?.rssBytes ?? NaN) / BYTES_PER_MEGABYTE,
    };
    return Object.fromEntries(Object.entries(figures).filter(([, value]) => Number.isFinite(value)));
  } finally {
    others.abort();
    await proxy.stop();
  }
}

const NO_USAGE: Usage = { atSeconds: NaN, threads: new Map(), rssBytes: NaN, peakRssBytes: NaN };

/** Returns the resource usage after a time; NaN without a proxy. */
async function weigh({ pid }: Proxy, afterMs: number): Promise<Usage> {
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  return pid === undefined ? NO_USAGE : await usageOf(pid);
}

/** Requests a page regularly until it is aborted. The first error ends it, too. */
async function request(url: string, signal: AbortSignal): Promise<void> {
  try {
    while (!signal.aborted) {
      const response = await fetch(url, { signal });
      if (!response.ok) note(`${url}: status ${response.status}`);
      for await (const _ of response.body ?? []);
      await new Promise((resolve) => setTimeout(resolve, MEANWHILE_MS));
    }
  } catch (error) {
    if (!signal.aborted) note(`${url}: ${messageOf(error)}`);
  }
}

async function put(load: Load, { port }: Proxy, { clients: all }: Stage): Promise<JobResult[]> {
  const clients = all.slice(0, load.connections);
  return await Promise.all(clients.map(async (child, client) => {
    const job: Job = { ...load, port, client, clients: clients.length };
    const limitMs = load.warmUpMs + load.measureMs + LOAD_GRACE_MS;
    const result: JobResult = JSON.parse(await child.ask(JSON.stringify(job), limitMs));
    if (result.error !== undefined) throw new Error(result.error);
    return result;
  }));
}

/** Two readings while a load is measured. */
interface Weighed {
  readonly from: Usage;
  readonly to: Usage;
  /** Whether the whole load is between them; otherwise a part of it, in which it is steady. */
  readonly isWhole: boolean;
}

function figuresOf(
  benchCase: Case,
  results: readonly JobResult[],
  { from, to, isWhole }: Weighed,
): Partial<Record<Figure, number>> {
  const { load, linesPerResponse = 0, pacedLinesPerSecond = NaN } = benchCase;
  const sum = (key: "responses" | "lineFeeds"): number => results.reduce((all, one) => all + one[key], 0);
  const times = (key: "firstByteMs" | "wholeMs" | "lagMs", share: number): number =>
    quantile(results.flatMap((result) => result[key]), share);
  const seconds = Math.max(...results.map(({ elapsedMs }) => elapsedMs)) / 1000;
  const measuredCpuSeconds = cpuSecondsBetween(from, to);
  const coreShare = measuredCpuSeconds / (to.atSeconds - from.atSeconds);
  const cpuSeconds = isWhole ? measuredCpuSeconds : coreShare * seconds;
  const lines = sum("lineFeeds") * linesPerResponse / (load.lineFeeds ?? NaN);
  const mebibytes = (load.upload?.bytes ?? load.bodyBytes ?? NaN) / BYTES_PER_MEBIBYTE;
  return {
    held: lines / seconds / pacedLinesPerSecond,
    requestsPerCpuSecond: sum("responses") / cpuSeconds,
    linesPerSecond: lines / seconds,
    linesPerCpuSecond: lines / cpuSeconds,
    coreShare,
    mebibytesPerSecond: mebibytes / seconds,
    mebibytesPerCpuSecond: mebibytes / cpuSeconds,
    firstByteP50Ms: times("firstByteMs", 0.5),
    firstByteP99Ms: times("firstByteMs", 0.99),
    wholeP50Ms: times("wholeMs", 0.5),
    wholeP99Ms: times("wholeMs", 0.99),
    lagP50Ms: times("lagMs", 0.5),
    lagP99Ms: times("lagMs", 0.99),
  };
}

/** Returns the sections of the report, other than that of costs. */
function reportOf(
  cases: readonly Case[],
  proxies: ReadonlyMap<string, ProxyKind>,
  runs: readonly RunResult[],
): string[] {
  const tables = cases.map((benchCase) => {
    return caseTable(benchCase, proxies, runs.filter(({ caseName }) => caseName === benchCase.name));
  });
  // Proxies that start at the same time delay each other.
  const together = cases.filter(({ isTogether }) => isTogether).map(({ name }) => name);
  const alone = runs.filter(({ caseName }) => !together.includes(caseName));
  return [targetTable(runs), ...tables, startTable(proxies, alone)].filter((text) => text !== "");
}

/** Returns date, machine and versions of the run. */
async function machine(reps: number): Promise<string> {
  const cpuInfo = await output("cat", "/proc/cpuinfo").catch(() => "");
  const model = /^model name\s*: (.*)$/m.exec(cpuInfo)?.[1] ?? "unknown CPU";
  const nginx = await nginxVersion();
  const { proxy } = await findCores();
  const place = proxy === undefined ? "all processes on any core" : "the proxy alone on one core";
  return [
    `${runStamp()}, ${model}, v8 ${Deno.version.v8}${nginx === undefined ? "" : `, nginx ${nginx}`}`,
    `load average ${Deno.loadavg().map((load) => load.toFixed(1)).join(" ")}, ${place}`,
    `repetitions: ${reps}, medians (min to max)`,
  ].join("; ");
}
