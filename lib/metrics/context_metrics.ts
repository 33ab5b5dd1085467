/**
 * Metrics of the context of requests: their declarations, and how a finding is recorded.
 *
 * @module
 */

import { type Api, type ContextFinding, type Overflow, OVERFLOWS } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { GENERATING, type ModelRows, type Row } from "./model_metrics.ts";
import type { MetricRegistry } from "./registry.ts";

const RATIO_BUCKETS = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1];

/** APIs whose prompts Ollama rejects, but of which nobody can see that they were cut. */
const EMBEDDING: readonly Api[] = ["embed", "embeddings", "openai_embeddings"];

/** Declares the metrics of the context, and records them. */
export class ContextMetrics implements ModelRows {
  readonly apiCounters: readonly Row[];
  readonly histograms: readonly Row[];
  readonly #overflows;
  readonly #usedRatio;

  constructor(registry: MetricRegistry<ServerState>) {
    this.#overflows = registry.counter(
      "ollama_prompt_overflows_total",
      "Total number of prompts seen to exceed the context, by whether Ollama truncated or rejected them.",
      "model",
      "api",
      "kind",
    );
    this.#usedRatio = registry.histogram(
      "ollama_context_used_ratio",
      "Prompt and generated tokens per request by the context length; 1 if the prompt was truncated.",
      RATIO_BUCKETS,
      "model",
    );
    this.apiCounters = [{
      metric: this.#overflows,
      apis: [...GENERATING, ...EMBEDDING],
      labelSets: (model, api) => kindsOf(api).map((kind) => ({ model, api, kind })),
    }];
    this.histograms = [{ metric: this.#usedRatio, apis: GENERATING, labelSets: (model) => [{ model }] }];
  }

  /** Records a finding under the label of its model. */
  record({ api, usedRatio, overflow }: ContextFinding, model: string): void {
    if (overflow !== undefined) this.#overflows.inc({ model, api, kind: overflow });
    if (usedRatio !== undefined) this.#usedRatio.observe({ model }, usedRatio);
  }
}

function kindsOf(api: Api): readonly Overflow[] {
  return EMBEDDING.includes(api) ? ["rejected"] : OVERFLOWS;
}
