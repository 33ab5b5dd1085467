/**
 * Metrics of proxied requests: their declarations, and how an observation is recorded.
 *
 * @module
 */

import {
  type Api,
  APIS,
  type ContextFinding,
  type ModelLoad,
  type Observation,
  type OpenRequest,
  type Operation,
  OPERATIONS,
  OUTCOMES,
  PARSE_ERRORS,
  UPSTREAM_ERRORS,
} from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { AbandonedMetrics } from "./abandoned_metrics.ts";
import { ClientMetrics } from "./client_metrics.ts";
import { ContextMetrics } from "./context_metrics.ts";
import { LatencyMetrics, type Slo } from "./latency_metrics.ts";
import { declareGenerating, LoadMetrics, type StreamMaxima } from "./load_metrics.ts";
import type { ModelLabels } from "./model_labels.ts";
import { DURATION_BUCKETS, ModelMetrics } from "./model_metrics.ts";
import { ModelSeries } from "./model_series.ts";
import type { Format, MetricRegistry } from "./registry.ts";

/** Responses that need no model take milliseconds. */
const HTTP_BUCKETS = [0.005, 0.01, 0.025, ...DURATION_BUCKETS];

/** Values of the `method` label. Clients may send any other token, which is counted as `other`. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Options of {@linkcode Metrics}. */
interface MetricsOptions {
  /** Maximum number of values of the `model` label, besides `unknown` and `other`. */
  readonly modelLimit: number;
  /** Maximum number of values of the `client` label, besides `unknown` and `other`. Absent: no metrics of clients. */
  readonly clientLimit?: number;
  /** Measured requests in flight. */
  readonly openRequests: ReadonlySet<OpenRequest>;
  /** Their streams. Default: none. */
  readonly streams?: StreamMaxima;
  /** Objectives of the latency of streams. Default: none. */
  readonly slo?: Slo;
}

const NO_SLO: Slo = { firstTokenMs: undefined, perTokenMs: undefined };

/** The metrics of one exporter. */
export class Metrics {
  readonly #models = new ModelMetrics();
  readonly registry: MetricRegistry<ServerState> = this.#models.registry;
  readonly #context = new ContextMetrics(this.registry);
  readonly #loads: LoadMetrics;
  readonly #latency: LatencyMetrics;
  readonly #abandoned = new AbandonedMetrics(this.registry);
  readonly #series: ModelSeries;
  readonly #clients: ClientMetrics | undefined;

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
  readonly #scrapeErrors = this.registry.counter(
    "ollama_exporter_scrape_errors_total",
    "Total number of scrapes that failed or whose client disconnected; not those refused with 401 or 429.",
  );

  constructor(options: MetricsOptions) {
    const { registry } = this;
    const { clientLimit: limit, openRequests, slo = NO_SLO } = options;
    this.#latency = new LatencyMetrics(registry, slo);
    if (limit !== undefined) this.#clients = new ClientMetrics({ registry, limit, openRequests });
    this.#loads = new LoadMetrics(registry);
    const metrics = [this.#models, this.#latency, this.#loads, this.#context, this.#abandoned];
    this.#series = new ModelSeries({ registry, metrics, ...options });
    declareGenerating(registry, this.#series, options.streams);
    this.#initialize();
  }

  /** Records a completed request. */
  observe(observation: Observation): void {
    this.#recordHttp(observation);
    const { api, operation } = observation;
    if (operation !== undefined) this.#recordTransfer(observation, operation);
    else if (api !== undefined) this.#recordInference(observation, api);
    // Responses of other routes may report tokens, too.
    else this.#models.recordTokens(observation, this.#series.labelOf(observation));
    if (operation === undefined) this.#clients?.record(observation);
    this.#recordErrors(observation);
  }

  /** Records what was found about the context of a request, after its observation. */
  observeContext(finding: ContextFinding): void {
    // A rejected prompt does not confirm its model.
    this.#context.record(finding, this.models.label(finding.model, finding.usedRatio !== undefined));
  }

  /** Records a load of a model, after the observations that show it. */
  observeLoad(load: ModelLoad): void {
    this.#loads.record(load, this.models.label(load.model, true));
  }

  /** Counts an internal error. */
  internalError(): void {
    this.#internalErrors.inc();
  }

  /** Counts a failed scrape. */
  scrapeError(): void {
    this.#scrapeErrors.inc();
  }

  /** Labels of models. */
  get models(): ModelLabels {
    return this.#series.labels;
  }

  /** Takes over the models that the server lists and the requests in flight, as {@linkcode Metrics.expose} does. */
  update(state: ServerState): void {
    this.#series.update(state);
    this.#clients?.update();
  }

  /** Renders all metrics, with the given state of the server. */
  expose(format: Format, state: ServerState): Promise<string> {
    this.update(state);
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

  #recordInference(observation: Observation, api: Api): void {
    const model = this.#series.labelOf(observation);
    this.#models.record(observation, model, api);
    this.#latency.record(observation, model, api);
    this.#abandoned.record(observation, model, api);
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
