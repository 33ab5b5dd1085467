/** A single run of a case through a proxy.
 *
 * @module
 */

import { type Case, type Load, nominalLinesPerSecond } from "./cases.ts";
import { type Child, type Usage, usageOf } from "./child.ts";
import { Histogram, type SparseCounts } from "./histogram.ts";
import type { Job, JobResult } from "./job.ts";
import type { Proxy, StartProxy } from "./proxies.ts";

/** Figures, with their column headings. A missing figure could not be measured. */
export const FIGURES = {
  held: "share of pace held",
  requestsPerSecond: "requests/s",
  requestsPerCpuSecond: "requests per CPU s",
  linesPerSecond: "lines/s",
  linesPerCpuSecond: "lines per CPU s",
  mebibytesPerSecond: "MiB/s",
  mebibytesPerCpuSecond: "MiB per CPU s",
  scrapeP50Ms: "scrape p50 ms",
  scrapeP99Ms: "scrape p99 ms",
  scrapeCpuMs: "CPU ms per scrape",
  scrapeKilobytes: "kB per scrape",
  firstByteP50Ms: "first byte p50 ms",
  firstByteP99Ms: "first byte p99 ms",
  lagP50Ms: "token lag p50 ms",
  lagP99Ms: "token lag p99 ms",
  rssPeakMegabytes: "RSS peak MB",
  rssEndMegabytes: "RSS end MB",
  startMs: "start ms",
  rssIdleMegabytes: "RSS idle MB",
} as const;
/** Name of a figure. */
export type Figure = keyof typeof FIGURES;

/** Figures of a run. */
export interface RunResult {
  readonly caseName: string;
  readonly proxy: string;
  readonly rep: number;
  readonly figures: Readonly<Partial<Record<Figure, number>>>;
}

/** Processes and options of a run. */
export interface Stage {
  readonly upstreamPort: number;
  /** Load clients. */
  readonly clients: readonly Child[];
}

/** Maximum time of a load beyond its planned duration. */
const LOAD_GRACE_MS = 60_000;

const BYTES_PER_MEGABYTE = 1e6;
const BYTES_PER_MEBIBYTE = 2 ** 20;

/** Starts the proxy, warms it up, applies the load and terminates the proxy. */
export async function measure(
  benchCase: Case,
  start: StartProxy,
  stage: Stage,
): Promise<RunResult["figures"]> {
  const proxy = await start(stage.upstreamPort);
  try {
    if (benchCase.warmUp !== undefined) await put(benchCase.warmUp, proxy, stage);
    const before = await weigh(proxy);
    const outcome = await put(benchCase.load, proxy, stage);
    const after = await weigh(proxy);
    return { ...countedFigures(benchCase, outcome, cpuSeconds(before, after)), ...weightFigures(proxy, after) };
  } finally {
    await proxy.stop();
  }
}

async function weigh({ pid }: Proxy): Promise<Usage | undefined> {
  return pid === undefined ? undefined : await usageOf(pid);
}

function cpuSeconds(before: Usage | undefined, after: Usage | undefined): number | undefined {
  // Without a tick of the CPU clock in the run there is no figure.
  return before && after && after.cpuSeconds > before.cpuSeconds ? after.cpuSeconds - before.cpuSeconds : undefined;
}

/** Returns the combined result of all load clients. */
interface Outcome {
  readonly responses: number;
  readonly lineFeeds: number;
  readonly steadyLineFeeds: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly firstByte: Histogram;
  readonly whole: Histogram;
  readonly lag: Histogram;
}

async function put(load: Load, { port }: Proxy, { clients: all }: Stage): Promise<Outcome> {
  const clients = all.slice(0, load.connections);
  const limitMs = load.rampMs + load.measureMs + LOAD_GRACE_MS;
  const results = await Promise.all(clients.map(async (child, client) => {
    const job: Job = { ...load, port, client, clients: clients.length };
    const result: JobResult = JSON.parse(await child.ask(JSON.stringify(job), limitMs));
    if (result.error !== undefined) throw new Error(result.error);
    return result;
  }));
  const sum = (read: (result: JobResult) => number): number => results.map(read).reduce((a, b) => a + b, 0);
  return {
    responses: sum((result) => result.responses),
    lineFeeds: sum((result) => result.lineFeeds),
    steadyLineFeeds: sum((result) => result.steadyLineFeeds),
    bytes: sum((result) => result.bytes),
    seconds: Math.max(...results.map((result) => result.elapsedMs)) / 1000,
    firstByte: merged(results.map((result) => result.firstByte)),
    whole: merged(results.map((result) => result.whole)),
    lag: merged(results.map((result) => result.lag)),
  };
}

function merged(all: readonly SparseCounts[]): Histogram {
  const histogram = new Histogram();
  for (const counts of all) histogram.merge(counts);
  return histogram;
}

function countedFigures(benchCase: Case, outcome: Outcome, cpu: number | undefined): RunResult["figures"] {
  const { responses, seconds } = outcome;
  const { perStream = 0, lineFeeds = 1 } = benchCase.messages ?? {};
  const lines = (found: number): number => found * perStream / lineFeeds;
  const firstByte = {
    firstByteP50Ms: outcome.firstByte.quantile(0.5),
    firstByteP99Ms: outcome.firstByte.quantile(0.99),
  };
  const perCpu = (figure: Figure, count: number): RunResult["figures"] =>
    cpu === undefined ? {} : { [figure]: count / cpu };
  switch (benchCase.kind) {
    case "requests":
      return {
        requestsPerSecond: responses / seconds,
        ...perCpu("requestsPerCpuSecond", responses),
        ...firstByte,
      };
    case "lines":
      return {
        requestsPerSecond: responses / seconds,
        linesPerSecond: lines(outcome.lineFeeds) / seconds,
        ...perCpu("linesPerCpuSecond", lines(outcome.lineFeeds)),
        ...firstByte,
      };
    case "paced": {
      const nominal = nominalLinesPerSecond(benchCase) * benchCase.load.measureMs / 1000;
      return {
        held: lines(outcome.steadyLineFeeds) / nominal,
        ...perCpu("linesPerCpuSecond", lines(outcome.lineFeeds)),
        ...firstByte,
        lagP50Ms: outcome.lag.quantile(0.5),
        lagP99Ms: outcome.lag.quantile(0.99),
      };
    }
    case "bytes": {
      const mebibytes = (benchCase.bytes ?? 0) / BYTES_PER_MEBIBYTE;
      return { mebibytesPerSecond: mebibytes / seconds, ...perCpu("mebibytesPerCpuSecond", mebibytes) };
    }
    case "scrape":
      return {
        scrapeP50Ms: outcome.whole.quantile(0.5),
        scrapeP99Ms: outcome.whole.quantile(0.99),
        scrapeKilobytes: outcome.bytes / responses / 1000,
        ...cpu === undefined ? {} : { scrapeCpuMs: cpu * 1000 / responses },
      };
  }
}

function weightFigures({ startMs, idle }: Proxy, end: Usage | undefined): RunResult["figures"] {
  if (idle === undefined || end === undefined) return {};
  return {
    rssPeakMegabytes: end.peakRssBytes / BYTES_PER_MEGABYTE,
    rssEndMegabytes: end.rssBytes / BYTES_PER_MEGABYTE,
    startMs,
    rssIdleMegabytes: idle.rssBytes / BYTES_PER_MEGABYTE,
  };
}
