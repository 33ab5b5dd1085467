/**
 * Every metric of the traffic: declared, recorded, and nothing else.
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
import { ModelLabels } from "./model_labels.ts";
import { type Gauge, MetricRegistry } from "./registry.ts";

/** Upper bounds in seconds: from a warm, small model to the longest answers. */
const DURATION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
/** Large models from slow disks load for longer than answers take. */
const LOAD_BUCKETS = [...DURATION_BUCKETS, 1200, 1800];
/** Answers that need no model take milliseconds. */
const HTTP_BUCKETS = [0.005, 0.01, 0.025, ...DURATION_BUCKETS];
const FIRST_TOKEN_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120];
const PER_TOKEN_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const TOKENS_PER_SECOND_BUCKETS = [1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000];
/** 1 to 262144 tokens, in powers of two. */
const TOKEN_BUCKETS = Array.from({ length: 19 }, (_, exponent) => 2 ** exponent);

/** Methods that Ollama's routes know; any other token is a client's own. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Options of {@linkcode Metrics}. */
export interface MetricsOptions {
  /** Distinct values of the `model` label, beside `unknown` and `other`. */
  readonly modelLimit: number;
  /** The measured requests that have not ended. */
  readonly openRequests: ReadonlySet<OpenRequest>;
}

/** The metrics of one exporter, in a registry of their own. */
export class Metrics {
  readonly registry: MetricRegistry = new MetricRegistry();
  /** The models that may be label values. */
  readonly models: ModelLabels;
  readonly #openRequests: ReadonlySet<OpenRequest>;
  /** Pairs of model and API that had an open request at some scrape: their gauges go back to 0, they do not vanish. */
  readonly #openedPairs = new Map<string, { model: string; api: Api }>();

  readonly #requests = this.registry.counter(
    "ollama_requests_total",
    "Requests to the inference APIs that have ended.",
    "model",
  );
  readonly #promptTokens = this.registry.counter(
    "ollama_tokens_processed_total",
    "Prompt tokens, those served from the prompt cache included.",
    "model",
  );
  readonly #outputTokens = this.registry.counter("ollama_tokens_generated_total", "Tokens generated.", "model");
  readonly #response = this.registry.tracedHistogram(
    "ollama_response_seconds",
    "Duration of complete answers: the server's own figure where it reports one, else the time at the exporter.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #load = this.registry.histogram(
    "ollama_load_duration_seconds",
    "Time until a runner was ready: waiting in the queue and loading the model.",
    LOAD_BUCKETS,
    "model",
  );
  readonly #promptEval = this.registry.histogram(
    "ollama_prompt_eval_duration_seconds",
    "Time to evaluate the part of the prompt that was not cached.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #eval = this.registry.histogram(
    "ollama_eval_duration_seconds",
    "Time to generate the output.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #tokensPerSecond = this.registry.histogram(
    "ollama_tokens_per_second",
    "Tokens generated per second of generation, for each request.",
    TOKENS_PER_SECOND_BUCKETS,
    "model",
  );

  readonly #outcomes = this.registry.counter(
    "ollama_request_outcomes_total",
    "Requests to the inference APIs that have ended, by how they ended.",
    "model",
    "api",
    "outcome",
  );
  readonly #firstToken = this.registry.tracedHistogram(
    "ollama_time_to_first_token_seconds",
    "Streamed answers: from the request's arrival to the first output, thinking and tool calls included.",
    FIRST_TOKEN_BUCKETS,
    "model",
    "api",
  );
  readonly #perToken = this.registry.histogram(
    "ollama_time_per_output_token_seconds",
    "Time of generation per token of output.",
    PER_TOKEN_BUCKETS,
    "model",
    "api",
  );
  readonly #wait = this.registry.histogram(
    "ollama_wait_duration_seconds",
    "Waiting for a free slot of a loaded model: total less load, prompt evaluation and generation.",
    DURATION_BUCKETS,
    "model",
  );
  readonly #requestPromptTokens = this.registry.histogram(
    "ollama_request_prompt_tokens",
    "Prompt tokens of a request.",
    TOKEN_BUCKETS,
    "model",
  );
  readonly #requestOutputTokens = this.registry.histogram(
    "ollama_request_generated_tokens",
    "Tokens generated for a request.",
    TOKEN_BUCKETS,
    "model",
  );
  readonly #cachedTokens = this.registry.counter(
    "ollama_tokens_cached_total",
    "Prompt tokens served from the prompt cache, where the server reports them.",
    "model",
  );
  readonly #finishReasons = this.registry.counter(
    "ollama_finish_reasons_total",
    "Answers by the reason for which the model stopped.",
    "model",
    "api",
    "reason",
  );
  readonly #toolCalls = this.registry.counter("ollama_tool_calls_total", "Tool calls in answers.", "model", "api");
  readonly #usageMissing = this.registry.counter(
    "ollama_usage_missing_total",
    "Complete answers without the token counts that the API should have given.",
    "model",
    "api",
  );

  readonly #httpRequests = this.registry.counter(
    "ollama_http_requests_total",
    "Requests proxied, measured or not.",
    "route",
    "method",
    "code",
  );
  readonly #httpDuration = this.registry.tracedHistogram(
    "ollama_http_request_duration_seconds",
    "From a proxied request's arrival to the end of its response.",
    HTTP_BUCKETS,
    "route",
  );
  readonly #requestBytes = this.registry.counter(
    "ollama_http_request_bytes_total",
    "Bytes of request bodies.",
    "route",
  );
  readonly #responseBytes = this.registry.counter(
    "ollama_http_response_bytes_total",
    "Bytes of response bodies.",
    "route",
  );
  readonly #transfers = this.registry.counter(
    "ollama_transfers_total",
    "Pulls, pushes and creations of models that have ended.",
    "operation",
    "outcome",
  );
  readonly #transferBytes = this.registry.counter(
    "ollama_transfer_bytes_total",
    "Bytes moved by pulls, pushes and creations, from their progress messages.",
    "operation",
  );

  readonly #parseErrors = this.registry.counter(
    "ollama_exporter_parse_errors_total",
    "Frames of answers that could not be read. Their bytes were passed on all the same.",
    "api",
    "reason",
  );
  readonly #upstreamErrors = this.registry.counter(
    "ollama_exporter_upstream_errors_total",
    "Connections to Ollama that failed.",
    "reason",
  );
  readonly #internalErrors = this.registry.counter(
    "ollama_exporter_internal_errors_total",
    "Exceptions in the exporter's own code. No request was harmed by them.",
  );

  constructor(options: MetricsOptions) {
    this.models = new ModelLabels(options.modelLimit);
    this.#openRequests = options.openRequests;
    this.#declareOpenRequests();
    this.#initialise();
  }

  /** Records a request that has ended. */
  observe(observation: Observation): void {
    this.#recordHttp(observation);
    const { api, operation } = observation;
    if (api !== undefined) this.#recordMeasured(observation, api);
    else if (operation !== undefined) this.#recordTransfer(observation, operation);
    // An API that is not known may count its tokens all the same.
    else this.#recordTokens(observation, this.#modelOf(observation));
    this.#recordErrors(observation);
  }

  /** Counts an exception in the exporter's own code. */
  internalError(): void {
    this.#internalErrors.inc();
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

  /** The answer's model; failing that, the request's, as long as no failed request can make a new label of it. */
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

  /** Gauges that are read off the open requests when they are scraped, so that they cannot drift. */
  #declareOpenRequests(): void {
    this.registry.gauge("ollama_requests_in_flight", "Requests that have not ended.", ["model", "api"], (gauge) => {
      this.#readOpenRequests(gauge, () => true);
    });
    const help = "Requests in flight without a first byte of their answer: queue, load, prompt evaluation.";
    this.registry.gauge("ollama_requests_waiting", help, ["model", "api"], (gauge) => {
      this.#readOpenRequests(gauge, (open) => open.waiting);
    });
  }

  #readOpenRequests(gauge: Gauge<"model" | "api">, counts: (open: OpenRequest) => boolean): void {
    const labelled = [...this.#openRequests].map((open) => ({
      labels: { model: this.models.label(open.model), api: open.api },
      counted: counts(open),
    }));
    for (const { labels } of labelled) this.#openedPairs.set(`${labels.api} ${labels.model}`, labels);
    for (const labels of this.#openedPairs.values()) gauge.set(labels, 0);
    for (const { labels, counted } of labelled) {
      if (counted) gauge.inc(labels);
    }
  }

  /** Label sets that are known from the beginning begin at 0, so that `rate()` sees their first increase. */
  #initialise(): void {
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
