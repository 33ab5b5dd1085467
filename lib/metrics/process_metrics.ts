/**
 * Metrics of the exporter's own process.
 *
 * There is no `process_open_fds`: counting file descriptors reads `/proc`, which Deno allows only with all permissions.
 *
 * @module
 */

import process from "node:process";
import type { MetricRegistry } from "./registry.ts";

const MICROSECONDS_PER_SECOND = 1e6;
const MILLISECONDS_PER_SECOND = 1e3;

/**
 * Declares build information and the standard `process_*` metrics.
 *
 * @param version Version of the exporter.
 */
export function declareProcessMetrics<State>(registry: MetricRegistry<State>, version: string): void {
  const { deno, v8 } = Deno.version;
  const { os, arch } = Deno.build;
  registry.gauge(
    "ollama_exporter_build_info",
    "A metric with a constant '1' value labeled by version, deno, v8, os and arch of the exporter.",
    ["version", "deno", "v8", "os", "arch"],
    () => [[{ version, deno, v8, os, arch }, 1]],
  );
  registry.gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
    [],
    () => [[{}, performance.timeOrigin / MILLISECONDS_PER_SECOND]],
  );
  registry.gauge(
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
    [],
    () => [[{}, Deno.memoryUsage().rss]],
  );
  registry.readCounter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / MICROSECONDS_PER_SECOND;
  });
}
