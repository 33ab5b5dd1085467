/** Metrics of the exporter's own process. */

import { assert, assertEquals } from "@std/assert";
import { declareProcessMetrics } from "../../../lib/metrics/process_metrics.ts";
import { MetricRegistry } from "../../../lib/metrics/registry.ts";
import { Scrape } from "../../support/helpers.ts";

const BUILD = { version: "1.2.3", revision: "0123abc" };

async function scrape(registry: MetricRegistry<void>): Promise<Scrape> {
  return new Scrape(await registry.expose("text"));
}

Deno.test("declareProcessMetrics() exposes the versions and the platform of the build", async () => {
  const registry = new MetricRegistry<void>();
  declareProcessMetrics(registry, BUILD);
  const { deno, v8 } = Deno.version;
  const { os, arch } = Deno.build;
  const labels = { ...BUILD, deno, v8, os, arch };
  assertEquals((await scrape(registry)).value("ollama_exporter_build_info", labels), 1);
});

Deno.test("declareProcessMetrics() exposes the standard process metrics in their base units", async () => {
  const registry = new MetricRegistry<void>();
  declareProcessMetrics(registry, BUILD);
  const first = await scrape(registry);
  const startedAt = first.value("process_start_time_seconds") ?? NaN;
  assert(startedAt <= Date.now() / 1000 && startedAt > Date.now() / 1000 - 24 * 3600, `started at ${startedAt}`);
  const bytes = first.value("process_resident_memory_bytes") ?? NaN;
  assert(bytes > 10e6 && bytes < 100e9, `${bytes} bytes`);
  const [heap = NaN, used = NaN] = ["process_heap_bytes", "ollama_exporter_heap_used_bytes"].map((name) =>
    first.value(name)
  );
  assert(1e6 < used && used <= heap && heap < 100e9, `${used} of ${heap} bytes`);
  const before = first.value("process_cpu_seconds_total") ?? NaN;
  const start = performance.now();
  while (performance.now() < start + 50) Math.sqrt(start);
  const after = (await scrape(registry)).value("process_cpu_seconds_total") ?? NaN;
  // At most what all cores could have spent since the first scrape.
  const limit = (performance.now() - start + 1000) / 1000 * navigator.hardwareConcurrency;
  assert(
    before > 0 && after > before && after - before < limit,
    `${before} s, then ${after} s, at most ${limit} s later`,
  );
  assertEquals((await scrape(registry)).value("process_start_time_seconds"), startedAt);
});
