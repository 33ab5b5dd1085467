/**
 * Metrics with a `model` label: their declarations, the APIs that can fill them, and how an observation is recorded.
 *
 * @module
 */

import {
  type Api,
  APIS,
  FINISH_REASONS,
  generationOf,
  type Observation,
  OUTCOMES,
  slotWaitSeconds,
} from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { MetricRegistry, type Series } from "./registry.ts";

/** Upper bounds in seconds, from a warm, small model to the longest responses. */
export const DURATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
/** Loading a large model from a slow disk takes longer than any response. */
const LOAD_BUCKETS = [...DURATION_BUCKETS, 1200, 1800];
const TOKENS_PER_SECOND_BUCKETS = [1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000];
/** 1 to 262,144 tokens, in powers of two. */
const TOKEN_BUCKETS = Array.from({ length: 19 }, (_, exponent) => 2 ** exponent);

// The APIs by what their responses report, in the releases that report most (docs/ollama-api.md 2, 3 and 10).
const NATIVE: readonly Api[] = ["chat", "generate"];
const OPENAI: readonly Api[] = ["openai_chat", "openai_completions", "openai_responses"];
/** Output tokens, finish reasons and tool calls; they can be streamed. */
export const GENERATING: readonly Api[] = [...NATIVE, ...OPENAI, "anthropic_messages"];
/** Prompt tokens. */
const COUNTING: readonly Api[] = [...GENERATING, "embed", "openai_embeddings"];
/** The time until a runner was ready. */
export const LOADING: readonly Api[] = [...NATIVE, "embed"];
/** The times of prompt evaluation and generation. */
const TIMED: readonly Api[] = [...NATIVE, ...OPENAI];

/** A row of the table of metrics with a `model` label. */
export interface Row {
  readonly metric: Series<string>;
  /** The APIs whose requests can fill the metric. */
  readonly apis: readonly Api[];
  /** All label sets of a model and an API. */
  readonly labelSets: (model: string, api: Api) => Record<string, string>[];
}

/** Metrics with a `model` label, by when their series start. */
export interface ModelRows {
  /** Counters with no label but `model`. */
  readonly modelCounters?: readonly Row[];
  /** Counters with the labels `model` and `api`, or with further ones. */
  readonly apiCounters?: readonly Row[];
  readonly histograms?: readonly Row[];
}

const byModel = (model: string): { model: string }[] => [{ model }];
/** The one label set of a metric with the labels `model` and `api`. */
export const byApi = (model: string, api: Api): { model: string; api: Api }[] => [{ model, api }];

/** Declares the metrics of models, and records them. */
export class ModelMetrics implements ModelRows {
  /** The registry, in which these metrics are the first. */
  readonly registry: MetricRegistry<ServerState> = new MetricRegistry();

  readonly #requests = this.registry.counter(
    "ollama_requests_total",
    "Total number of completed inference requests.",
    "model",
  );
  readonly #promptTokens = this.registry.counter(
    "ollama_tokens_processed_total",
    "Total number of prompt tokens, including those served from the prompt cache.",
    "model",
  );
  readonly #outputTokens = this.registry.counter(
    "ollama_tokens_generated_total",
    "Total number of generated tokens.",
    "model",
  );
  readonly #response = this.registry.tracedHistogram(
    "ollama_response_seconds",
    "Duration of successful inference requests, as reported by Ollama or else as measured by the exporter.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #load = this.registry.histogram(
    "ollama_load_duration_seconds",
    "Time until a runner was ready, including queueing and loading the model.",
    LOAD_BUCKETS,
    "model",
  );
  readonly #promptEval = this.registry.histogram(
    "ollama_prompt_eval_duration_seconds",
    "Time spent evaluating the uncached part of the prompt.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #eval = this.registry.histogram(
    "ollama_eval_duration_seconds",
    "Time spent generating the output.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #tokensPerSecond = this.registry.histogram(
    "ollama_tokens_per_second",
    "Generated tokens per second of generation time, per request.",
    TOKENS_PER_SECOND_BUCKETS,
    "model",
  );

  readonly #outcomes = this.registry.counter(
    "ollama_request_outcomes_total",
    "Total number of completed inference requests by outcome.",
    "model",
    "api",
    "outcome",
  );
  readonly #wait = this.registry.histogram(
    "ollama_wait_duration_seconds",
    "Time spent waiting for a free slot of a loaded model: total minus load, prompt evaluation and generation.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #requestPromptTokens = this.registry.histogram(
    "ollama_request_prompt_tokens",
    "Number of prompt tokens per request.",
    TOKEN_BUCKETS,
    "model",
  );
  readonly #requestOutputTokens = this.registry.histogram(
    "ollama_request_generated_tokens",
    "Number of generated tokens per request.",
    TOKEN_BUCKETS,
    "model",
  );
  readonly #cachedTokens = this.registry.counter(
    "ollama_tokens_cached_total",
    "Total number of prompt tokens served from the prompt cache, where Ollama reports them.",
    "model",
  );
  readonly #finishReasons = this.registry.counter(
    "ollama_finish_reasons_total",
    "Total number of responses by finish reason.",
    "model",
    "api",
    "reason",
  );
  readonly #toolCalls = this.registry.counter(
    "ollama_tool_calls_total",
    "Total number of tool calls in responses.",
    "model",
    "api",
  );
  readonly #usageMissing = this.registry.counter(
    "ollama_usage_missing_total",
    "Total number of successful responses that lack the token counts their API provides.",
    "model",
    "api",
  );

  readonly modelCounters: readonly Row[] = [
    { metric: this.#requests, apis: APIS, labelSets: byModel },
    { metric: this.#promptTokens, apis: COUNTING, labelSets: byModel },
    { metric: this.#outputTokens, apis: GENERATING, labelSets: byModel },
    { metric: this.#cachedTokens, apis: GENERATING, labelSets: byModel },
  ];
  readonly apiCounters: readonly Row[] = [
    {
      metric: this.#outcomes,
      apis: APIS,
      labelSets: (model, api) => OUTCOMES.map((outcome) => ({ model, api, outcome })),
    },
    {
      metric: this.#finishReasons,
      apis: GENERATING,
      labelSets: (model, api) => FINISH_REASONS.map((reason) => ({ model, api, reason })),
    },
    { metric: this.#toolCalls, apis: GENERATING, labelSets: byApi },
    { metric: this.#usageMissing, apis: COUNTING, labelSets: byApi },
  ];
  readonly histograms: readonly Row[] = [
    { metric: this.#response, apis: APIS, labelSets: byModel },
    { metric: this.#load, apis: LOADING, labelSets: byModel },
    { metric: this.#promptEval, apis: TIMED, labelSets: byModel },
    { metric: this.#eval, apis: TIMED, labelSets: byModel },
    { metric: this.#tokensPerSecond, apis: GENERATING, labelSets: byModel },
    { metric: this.#wait, apis: NATIVE, labelSets: byModel },
    { metric: this.#requestPromptTokens, apis: COUNTING, labelSets: byModel },
    { metric: this.#requestOutputTokens, apis: GENERATING, labelSets: byModel },
  ];

  /** Records a completed inference request. */
  record(observation: Observation, model: string, api: Api): void {
    const { outcome, report } = observation;
    this.#requests.inc({ model });
    this.#outcomes.inc({ model, api, outcome });
    this.recordTokens(observation, model);
    this.#recordDurations(observation, model);
    const generation = generationOf(observation);
    if (generation !== undefined) this.#tokensPerSecond.observe({ model }, generation.tokens / generation.seconds);
    if (report.finishReason !== undefined) this.#finishReasons.inc({ model, api, reason: report.finishReason });
    if (report.toolCalls !== undefined) this.#toolCalls.inc({ model, api }, report.toolCalls);
    const isCounted = report.promptTokens !== undefined || report.outputTokens !== undefined;
    if (outcome === "ok" && observation.usageExpected && !isCounted) this.#usageMissing.inc({ model, api });
  }

  /** Records the tokens that a response of any route reports. */
  recordTokens({ report }: Observation, model: string): void {
    const { promptTokens, outputTokens, cachedTokens } = report;
    if (promptTokens !== undefined) {
      this.#promptTokens.inc({ model }, promptTokens);
      this.#requestPromptTokens.observe({ model }, promptTokens);
    }
    if (outputTokens !== undefined) {
      this.#outputTokens.inc({ model }, outputTokens);
      this.#requestOutputTokens.observe({ model }, outputTokens);
    }
    if (cachedTokens !== undefined) this.#cachedTokens.inc({ model }, cachedTokens);
  }

  #recordDurations(observation: Observation, model: string): void {
    const { report, outcome, durationSeconds } = observation;
    const { totalSeconds, loadSeconds, promptEvalSeconds, evalSeconds } = report;
    if (outcome === "ok") {
      this.#response.observe({ model }, totalSeconds ?? durationSeconds, observation.traceId);
    }
    if (loadSeconds !== undefined) this.#load.observe({ model }, loadSeconds);
    if (promptEvalSeconds !== undefined) this.#promptEval.observe({ model }, promptEvalSeconds);
    if (evalSeconds !== undefined) this.#eval.observe({ model }, evalSeconds);
    const wait = slotWaitSeconds(observation);
    if (wait !== undefined) this.#wait.observe({ model }, wait);
  }
}
