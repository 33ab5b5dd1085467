/**
 * Cost of a scrape for the event loop: the exporter's exposition compared with prom-client's, of the same series.
 *
 * @module
 */

import { Histogram, Registry } from "prom-client";
import { MetricRegistry } from "../lib/metrics/registry.ts";
import { table } from "./report.ts";
import { spreadOf } from "./spread.ts";

/** Number of histograms, as in the exporter, each with a series per model. */
const HISTOGRAMS = 12;
const MODELS = 200;
const BUCKETS = Array.from({ length: 16 }, (_, index) => 2 ** index / 100);
const APIS = ["native", "openai"];
const REPS = 15;

/** Way to expose the series, and its measurements. */
interface Contender {
  readonly name: string;
  readonly expose: () => Promise<string>;
  readonly totalMs: number[];
  /** Longest block of the event loop in ms. */
  readonly heldMs: number[];
}

/** Measures both, alternating. Returns a section of the report. */
export async function expositionSection(): Promise<string> {
  const ours = new MetricRegistry<void>();
  const theirs = new Registry();
  for (let index = 0; index < HISTOGRAMS; index++) {
    const name = `bench_${index}_seconds`;
    const labelNames = ["api", "model"];
    const mine = ours.histogram(name, "Of the benchmark.", BUCKETS, ...labelNames);
    const plain = new Histogram({ name, help: "Of the benchmark.", buckets: BUCKETS, labelNames, registers: [theirs] });
    for (const api of APIS) {
      for (let model = 0; model < MODELS; model++) {
        mine.observe({ api, model: `model-${model}:latest` }, model / 10);
        plain.observe({ api, model: `model-${model}:latest` }, model / 10);
      }
    }
  }
  const contenders: Contender[] = [
    { name: "prom-client", expose: () => theirs.metrics(), totalMs: [], heldMs: [] },
    { name: "us", expose: () => ours.expose("text"), totalMs: [], heldMs: [] },
  ];
  let bytes = 0;
  for (let rep = 0; rep < REPS; rep++) {
    for (const contender of contenders) bytes = await measure(contender);
  }
  return section(contenders, bytes);
}

/** Returns the size of the exposition in bytes. */
async function measure({ expose, totalMs, heldMs }: Contender): Promise<number> {
  const gaps = watchTurns();
  const startedAt = performance.now();
  const text = await expose();
  totalMs.push(performance.now() - startedAt);
  heldMs.push(await gaps.longest());
  return text.length;
}

/** Measures the time between turns of the event loop. */
function watchTurns(): { longest(): Promise<number> } {
  let longest = 0;
  let last = performance.now();
  let isOver = false;
  const turn = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setTimeout(turn, 0);
  };
  setTimeout(turn, 0);
  return {
    async longest(): Promise<number> {
      isOver = true;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return longest;
    },
  };
}

function section(contenders: readonly Contender[], bytes: number): string {
  const [theirs, ours] = contenders.map(({ totalMs, heldMs }) => ({
    total: spreadOf(totalMs),
    held: spreadOf(heldMs),
  }));
  const rows = [["prom-client", theirs], ["us", ours]] as const;
  const text = (value: number | undefined): string => value?.toFixed(1) ?? "-";
  const ratio = (ours?.total?.median ?? NaN) / (theirs?.total?.median ?? NaN);
  return [
    `### Exposition: ${HISTOGRAMS} histograms of ${MODELS} models, ${(bytes / 1e6).toFixed(1)} MB, ${REPS} times each`,
    "",
    table(
      ["", "ms", "longest block of the event loop, ms"],
      rows.map(([name, figures]) => [name, text(figures?.total?.median), text(figures?.held?.median)]),
    ),
    "",
    `Medians; the exporter takes ${ratio.toFixed(2)} times as long as prom-client.`,
  ].join("\n");
}
