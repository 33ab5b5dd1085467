/**
 * Metrics of configuration files that can be reloaded.
 *
 * @module
 */

import type { MetricRegistry } from "./registry.ts";

/** The state of a configuration file. */
export interface ConfigFile {
  /** Whether the last attempt to load it succeeded; otherwise the previous contents are in use. */
  readonly isCurrent: boolean;
  /** Time of the last successful load that was the first one, found a change or was requested; Unix, in seconds. */
  readonly loadedAtSeconds: number;
}

/**
 * Declares the metrics under the names of Prometheus' own components, for all files together. Without files they have
 * no series.
 */
export function declareConfigMetrics<State>(registry: MetricRegistry<State>, files: readonly ConfigFile[]): void {
  registry.gauge(
    "ollama_exporter_config_last_reload_successful",
    "Whether the last configuration reload attempt was successful.",
    [],
    () => files.length === 0 ? [] : [[{}, files.every(({ isCurrent }) => isCurrent) ? 1 : 0]],
  );
  registry.gauge(
    "ollama_exporter_config_last_reload_success_timestamp_seconds",
    "Timestamp of the last successful configuration reload.",
    [],
    () => files.length === 0 ? [] : [[{}, Math.max(...files.map(({ loadedAtSeconds }) => loadedAtSeconds))]],
  );
}
