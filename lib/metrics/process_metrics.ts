/**
 * What the exporter says of its own process.
 *
 * Open file descriptors are not among it: counting them reads `/proc`, which Deno allows only with every permission.
 *
 * @module
 */

import process from "node:process";
import type { MetricRegistry } from "./registry.ts";

const MICROSECONDS_PER_SECOND = 1e6;
const MILLISECONDS_PER_SECOND = 1e3;

/** Declares build information and the standard `process_*` metrics. */
export function declareProcessMetrics(registry: MetricRegistry, version: string): void {
  const { deno, v8 } = Deno.version;
  const { os, arch } = Deno.build;
  registry.gauge("ollama_exporter_build_info", "Always 1.", ["version", "deno", "v8", "os", "arch"])
    .set({ version, deno, v8, os, arch }, 1);
  registry.gauge("process_start_time_seconds", "Start of the process, in seconds of the Unix epoch.", [])
    .set(performance.timeOrigin / MILLISECONDS_PER_SECOND);
  registry.gauge("process_resident_memory_bytes", "Resident memory.", [], (gauge) => gauge.set(Deno.memoryUsage().rss));
  registry.readCounter("process_cpu_seconds_total", "CPU time, user and system.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / MICROSECONDS_PER_SECOND;
  });
}
