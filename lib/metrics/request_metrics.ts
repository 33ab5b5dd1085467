/**
 * Metrics of proxied requests: their declarations, and how an observation is recorded.
 *
 * @module
 */

import {
  type Api,
  APIS,
  generationOf,
  type Observation,
  type OpenRequest,
  type Operation,
  OPERATIONS,
  OUTCOMES,
  PARSE_ERRORS,
  slotWaitSeconds,
  UPSTREAM_ERRORS,
} from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { ModelLabels } from "./model_labels.ts";
import { type Format, MetricRegistry, type Sample } from "./registry.ts";

/** Upper bounds in seconds, from a warm, small model to the longest responses. */
const DURATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
/** Loading a large model from a slow disk takes longer than any response. */
const LOAD_BUCKETS = [...DURATION_BUCKETS, 1200, 1800];
/** Responses that need no model take milliseconds. */
const HTTP_BUCKETS = [0.005, 0.01, 0.025, ...DURATION_BUCKETS];
const FIRST_TOKEN_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120];
const PER_TOKEN_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const TOKENS_PER_SECOND_BUCKETS = [1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000];
/** 1 to 262,144 tokens, in powers of two. */
const TOKEN_BUCKETS = Array.from({ length: 19 }, (_, exponent) => 2 ** exponent);

/** Values of the `method` label. Clients may send any other token, which is counted as `other`. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Options of {@linkcode Metrics}. */
interface MetricsOptions {
  /** Maximum number of values of the `model` label, besides `unknown` and `other`. */
  readonly modelLimit: number;
  /** Measured requests in flight. */
  readonly openRequests: ReadonlySet<OpenRequest>;
}

/** The metrics of one exporter. */
export class Metrics {
  readonly registry: MetricRegistry<ServerState> = new MetricRegistry();
  readonly models: ModelLabels;
  readonly #openRequests: ReadonlySet<OpenRequest>;
  /** Label sets with a request in flight at an earlier exposition. Their gauges return to 0 and do not disappear. */
  readonly #inFlightLabels = new Map<string, { model: string; api: Api }>();

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
  readonly #firstToken = this.registry.tracedHistogram(
    "ollama_time_to_first_token_seconds",
    "Time from the arrival of a request to the first output of its stream, including thinking and tool calls.",
    FIRST_TOKEN_BUCKETS,
    "model",
    "api",
  );
  readonly #perToken = this.registry.histogram(
    "ollama_time_per_output_token_seconds",
    "Generation time per output token.",
    PER_TOKEN_BUCKETS,
    "model",
    "api",
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

  readonly #httpRequests = this.registry.counter(
    "ollama_http_requests_total",
    "Total number of proxied HTTP requests.",
    "route",
    "method",
    "code",
  );
  readonly #httpDuration = this.registry.tracedHistogram(
    "ollama_http_request_duration_seconds",
    "Duration of proxied HTTP requests, from their arrival to the end of the response.",
    HTTP_BUCKETS,
    "route",
  );
  readonly #requestBytes = this.registry.counter(
    "ollama_http_request_bytes_total",
    "Total size of proxied request bodies in bytes.",
    "route",
  );
  readonly #responseBytes = this.registry.counter(
    "ollama_http_response_bytes_total",
    "Total size of proxied response bodies in bytes.",
    "route",
  );
  readonly #transfers = this.registry.counter(
    "ollama_transfers_total",
    "Total number of completed model transfers.",
    "operation",
    "outcome",
  );
  readonly #transferBytes = this.registry.counter(
    "ollama_transfer_bytes_total",
    "Total number of bytes moved by model transfers, as reported in their progress messages.",
    "operation",
  );

  readonly #parseErrors = this.registry.counter(
    "ollama_exporter_parse_errors_total",
    "Total number of response messages that could not be parsed; they were forwarded unchanged.",
    "api",
    "reason",
  );
  readonly #upstreamErrors = this.registry.counter(
    "ollama_exporter_upstream_errors_total",
    "Total number of failed connections to Ollama.",
    "reason",
  );
  readonly #internalErrors = this.registry.counter(
    "ollama_exporter_internal_errors_total",
    "Total number of internal errors; proxied traffic is unaffected.",
  );

  constructor(options: MetricsOptions) {
    this.models = new ModelLabels(options.modelLimit);
    this.#openRequests = options.openRequests;
    this.#declareOpenRequests();
    this.#initialize();
  }

  /** Records a completed request. */
  observe(observation: Observation): void {
    this.#recordHttp(observation);
    const { api, operation } = observation;
    if (api !== undefined) this.#recordMeasured(observation, api);
    else if (operation !== undefined) this.#recordTransfer(observation, operation);
    // Responses of other routes may report tokens, too.
    else this.#recordTokens(observation, this.#modelOf(observation));
    this.#recordErrors(observation);
  }

  /** Counts an internal error. */
  internalError(): void {
    this.#internalErrors.inc();
  }

  /** Renders all metrics, with the given state of the server. */
  expose(format: Format, state: ServerState): Promise<string> {
    // Requests in flight are labeled with models that the server lists, even if none has completed yet.
    for (const { name } of [...state.loaded ?? [], ...state.installed ?? []]) this.models.learn(name);
    return this.registry.expose(format, state);
  }

  #recordHttp(observation: Observation): void {
    const { route } = observation;
    const method = METHODS.has(observation.method) ? observation.method : "other";
    this.#httpRequests.inc({ route, method, code: String(observation.status) });
    this.#httpDuration.observe({ route }, observation.durationSeconds, observation.traceId);
    this.#requestBytes.inc({ route }, observation.requestBytes);
    this.#responseBytes.inc({ route }, observation.responseBytes);
  }

  #recordMeasured(observation: Observation, api: Api): void {
    const { outcome, report, firstOutputSeconds } = observation;
    const model = this.#modelOf(observation);
    this.#requests.inc({ model });
    this.#outcomes.inc({ model, api, outcome });
    this.#recordTokens(observation, model);
    this.#recordDurations(observation, model);
    this.#recordSpeed(observation, model, api);
    if (firstOutputSeconds !== undefined) {
      this.#firstToken.observe({ model, api }, firstOutputSeconds, observation.traceId);
    }
    if (report.finishReason !== undefined) this.#finishReasons.inc({ model, api, reason: report.finishReason });
    if (report.toolCalls !== undefined) this.#toolCalls.inc({ model, api }, report.toolCalls);
    const isCounted = report.promptTokens !== undefined || report.outputTokens !== undefined;
    if (outcome === "ok" && observation.usageExpected && !isCounted) this.#usageMissing.inc({ model, api });
  }

  /** Returns the label of the response's model, or else of the request's. Failed requests never add a label. */
  #modelOf({ report, outcome, requestedModel }: Observation): string {
    if (report.model !== undefined) return this.models.learn(report.model);
    if (outcome === "ok" && requestedModel !== undefined) return this.models.learn(requestedModel);
    return this.models.label(requestedModel);
  }

  #recordTokens({ report }: Observation, model: string): void {
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

  #recordSpeed(observation: Observation, model: string, api: Api): void {
    const generation = generationOf(observation);
    if (generation === undefined) return;
    const { tokens, seconds } = generation;
    this.#tokensPerSecond.observe({ model }, tokens / seconds);
    this.#perToken.observe({ model, api }, seconds / tokens);
  }

  #recordTransfer({ report, outcome }: Observation, operation: Operation): void {
    this.#transfers.inc({ operation, outcome });
    if (report.transferBytes !== undefined) this.#transferBytes.inc({ operation }, report.transferBytes);
  }

  #recordErrors({ api, operation, parseErrors, upstreamError }: Observation): void {
    for (const reason of PARSE_ERRORS) {
      const count = parseErrors[reason];
      if (count !== undefined) this.#parseErrors.inc({ api: api ?? operation ?? "other", reason }, count);
    }
    if (upstreamError !== undefined) this.#upstreamErrors.inc({ reason: upstreamError });
  }

  /** Declares gauges that are counted from the requests in flight at each exposition, so that they cannot drift. */
  #declareOpenRequests(): void {
    this.registry.gauge(
      "ollama_requests_in_flight",
      "Number of inference requests in flight.",
      ["model", "api"],
      () => this.#countOpenRequests(() => true),
    );
    this.registry.gauge(
      "ollama_requests_waiting",
      "Number of inference requests in flight that are waiting for the first byte of their response.",
      ["model", "api"],
      () => this.#countOpenRequests(({ waiting }) => waiting),
    );
  }

  #countOpenRequests(isCounted: (open: OpenRequest) => boolean): Sample<"model" | "api">[] {
    const counts = new Map<string, number>();
    for (const open of this.#openRequests) {
      const labels = { model: this.models.label(open.model), api: open.api };
      const key = `${labels.api} ${labels.model}`;
      this.#inFlightLabels.set(key, labels);
      if (isCounted(open)) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...this.#inFlightLabels].map(([key, labels]) => [labels, counts.get(key) ?? 0]);
  }

  /** Initializes the label sets that are known in advance to 0: `rate()` cannot see the increase of a new series. */
  #initialize(): void {
    for (const reason of UPSTREAM_ERRORS) this.#upstreamErrors.inc({ reason }, 0);
    for (const reason of PARSE_ERRORS) {
      for (const api of [...APIS, ...OPERATIONS, "other"]) this.#parseErrors.inc({ api, reason }, 0);
    }
    for (const operation of OPERATIONS) {
      this.#transferBytes.inc({ operation }, 0);
      for (const outcome of OUTCOMES) this.#transfers.inc({ operation, outcome }, 0);
    }
  }
}
