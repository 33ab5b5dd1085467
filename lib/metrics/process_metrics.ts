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

/** What was built. */
export interface Build {
  /** Version of the exporter. */
  readonly version: string;
  /** Commit that it was built from. */
  readonly revision: string;
}

/** Declares build information, the standard `process_*` metrics, and the use of the heap. */
export function declareProcessMetrics<State>(registry: MetricRegistry<State>, { version, revision }: Build): void {
  const { deno, v8 } = Deno.version;
  const { os, arch } = Deno.build;
  registry.gauge(
    "ollama_exporter_build_info",
    "A metric with a constant '1' value labeled by version, revision, deno, v8, os and arch of the exporter.",
    ["version", "revision", "deno", "v8", "os", "arch"],
    () => [[{ version, revision, deno, v8, os, arch }, 1]],
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
  registry.gauge(
    "process_heap_bytes",
    "Process heap size in bytes.",
    [],
    () => [[{}, Deno.memoryUsage().heapTotal]],
  );
  registry.gauge(
    "ollama_exporter_heap_used_bytes",
    "Used part of the JavaScript heap in bytes.",
    [],
    () => [[{}, Deno.memoryUsage().heapUsed]],
  );
  registry.readCounter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / MICROSECONDS_PER_SECOND;
  });
}
