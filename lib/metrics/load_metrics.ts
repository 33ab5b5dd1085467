/**
 * Metrics of how models are run: why they were loaded, and how many streams they served at once.
 *
 * @module
 */

import { OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";
import { LOAD_CAUSES, type ModelLoad } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { LOADING, type ModelRows, type Row } from "./model_metrics.ts";
import type { ModelSeries } from "./model_series.ts";
import type { MetricRegistry } from "./registry.ts";

/** How many streams there were. */
export interface StreamMaxima {
  /** Maximum number of streams of each model at once in the last minute, by the key of the model. */
  readonly maxima: ReadonlyMap<string, number>;
}

/** Declares the metric of loads, and records it. */
export class LoadMetrics implements ModelRows {
  readonly apiCounters: readonly Row[];
  readonly #loads;

  constructor(registry: MetricRegistry<ServerState>) {
    this.#loads = registry.counter(
      "ollama_model_loads_total",
      "Total number of model loads of a second or more, as far as responses report them, by cause.",
      "model",
      "cause",
    );
    const labelSets = (model: string): Record<string, string>[] => LOAD_CAUSES.map((cause) => ({ model, cause }));
    this.apiCounters = [{ metric: this.#loads, apis: LOADING, labelSets }];
  }

  /** Records a load under the label of its model. */
  record({ cause }: ModelLoad, model: string): void {
    this.#loads.inc({ model, cause });
  }
}

/**
 * Declares the gauge of streams at once: 0 for a model with series that had none. `other` and `unknown` have no series:
 * they are several models, whose maxima belong to different times.
 */
export function declareGenerating(
  registry: MetricRegistry<ServerState>,
  series: ModelSeries,
  streams: StreamMaxima | undefined,
): void {
  registry.gauge(
    "ollama_requests_generating_max",
    "Maximum number of streams past their first byte at once in the last minute.",
    ["model"],
    () => {
      const maxima = new Map([...streams?.maxima ?? []].map(([key, max]) => [series.labels.label(key), max]));
      return series.used.filter((model) => model !== OTHER_MODEL && model !== UNKNOWN_MODEL)
        .map((model) => [{ model }, maxima.get(model) ?? 0]);
    },
  );
}
