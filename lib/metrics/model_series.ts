/**
 * Which series with a `model` label exist: when they start at 0, and when they are removed.
 *
 * `rate()` and `increase()` cannot see the increase with which a series begins. Therefore those with `model` alone
 * start at 0 for each listed model that has a label, and all that an API can fill when one of its requests arrives.
 *
 * @module
 */

import { OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";
import { type Api, APIS, type Observation, type OpenRequest } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { ModelLabels, type Moment } from "./model_labels.ts";
import type { ModelRows, Row } from "./model_metrics.ts";
import type { MetricRegistry, Sample } from "./registry.ts";

/** Options of {@linkcode ModelSeries}. */
interface ModelSeriesOptions {
  readonly registry: MetricRegistry<ServerState>;
  /** The metrics whose series are started and removed. */
  readonly metrics: readonly ModelRows[];
  /** Maximum number of values of the `model` label, besides `unknown` and `other`. */
  readonly modelLimit: number;
  readonly openRequests: ReadonlySet<OpenRequest>;
}

/** Series of a model and an API that exist: counters only, or histograms as well. */
type Started = "counters" | "all";

/** Labels models, and starts and removes their series. */
export class ModelSeries {
  readonly labels: ModelLabels;
  readonly #rows: Required<ModelRows>;
  readonly #openRequests: ReadonlySet<OpenRequest>;
  /** What exists, by model label and API. */
  readonly #started = new Map<string, Map<Api, Started>>();
  /** The APIs that have been used, with any model. */
  readonly #apis = new Set<Api>();

  constructor({ registry, metrics, modelLimit, openRequests }: ModelSeriesOptions) {
    this.labels = new ModelLabels(modelLimit);
    this.#rows = {
      modelCounters: metrics.flatMap(({ modelCounters = [] }) => modelCounters),
      apiCounters: metrics.flatMap(({ apiCounters = [] }) => apiCounters),
      histograms: metrics.flatMap(({ histograms = [] }) => histograms),
    };
    this.#openRequests = openRequests;
    this.#declareOpenRequests(registry);
  }

  /** Takes over the server's lists of models, and starts the series of models and of the requests in flight. */
  update(state: ServerState): void {
    const moment = { now: state.at, openRequests: this.#openRequests };
    for (const label of this.labels.update(state, moment)) this.#remove(label);
    for (const label of this.labels.all) this.#startModel(label);
    for (const { model, api } of this.#openRequests) this.#start(this.#use(model, false, moment), api);
    const used = [OTHER_MODEL, UNKNOWN_MODEL].filter((label) => this.#started.get(label)?.size);
    for (const label of [...this.labels.active, ...used]) {
      for (const api of this.#apis) this.#startCounters(label, api);
    }
  }

  /**
   * Returns the label of the response's model, or else of the request's, and starts the series of its API. Failed
   * requests add labels of listed models only.
   */
  labelOf({ api, report, outcome, requestedModel }: Observation): string {
    const isConfirmed = report.model !== undefined || outcome === "ok";
    const moment = { now: performance.now(), openRequests: this.#openRequests };
    const label = this.#use(report.model ?? requestedModel, isConfirmed, moment);
    if (api !== undefined) this.#start(label, api);
    return label;
  }

  /** The labels of models with series of an API. */
  get used(): string[] {
    return [...this.#started].filter(([, apis]) => apis.size > 0).map(([label]) => label);
  }

  #use(name: string | undefined, isConfirmed: boolean, moment: Moment): string {
    const { label, removed } = this.labels.use(name, isConfirmed, moment);
    if (removed !== undefined) this.#remove(removed);
    return label;
  }

  /** Starts the counters of a model that have no other label. */
  #startModel(label: string): Map<Api, Started> {
    let apis = this.#started.get(label);
    if (apis === undefined) {
      apis = new Map();
      this.#started.set(label, apis);
      for (const { metric } of this.#rows.modelCounters) metric.start({ model: label });
    }
    return apis;
  }

  #startCounters(label: string, api: Api): void {
    const apis = this.#startModel(label);
    if (apis.has(api)) return;
    apis.set(api, "counters");
    start(this.#rows.apiCounters, label, api);
  }

  /** Starts all that a request can fill. Of a model that is not known, nothing but its failure will be known. */
  #start(label: string, api: Api): void {
    this.#apis.add(api);
    this.#startCounters(label, api);
    const apis = this.#startModel(label);
    if (label === UNKNOWN_MODEL || apis.get(api) === "all") return;
    apis.set(api, "all");
    start(this.#rows.histograms, label, api);
  }

  /** Removes all series of a model. Gauges are computed from what exists. */
  #remove(label: string): void {
    const { modelCounters, apiCounters, histograms } = this.#rows;
    for (const { metric, labelSets } of [...modelCounters, ...apiCounters, ...histograms]) {
      // Of all APIs: a response may have more than its API is known to report.
      for (const labels of APIS.flatMap((api) => labelSets(label, api))) metric.remove(labels);
    }
    this.#started.delete(label);
  }

  /** Declares gauges that are counted from the requests in flight at each exposition, so that they cannot drift. */
  #declareOpenRequests(registry: MetricRegistry<ServerState>): void {
    registry.gauge(
      "ollama_requests_in_flight",
      "Number of inference requests in flight.",
      ["model", "api"],
      () => this.#countOpenRequests(() => true),
    );
    registry.gauge(
      "ollama_requests_waiting",
      "Number of inference requests in flight that are waiting for the first byte of their response.",
      ["model", "api"],
      () => this.#countOpenRequests(({ waiting }) => waiting),
    );
  }

  #countOpenRequests(isCounted: (open: OpenRequest) => boolean): Sample<"model" | "api">[] {
    const counts = new Map<string, number>();
    for (const open of this.#openRequests) {
      const key = `${open.api} ${this.labels.label(open.model)}`;
      if (isCounted(open)) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...this.#started].flatMap(([model, apis]) =>
      [...apis.keys()].map((api): Sample<"model" | "api"> => [{ model, api }, counts.get(`${api} ${model}`) ?? 0])
    );
  }
}

function start(rows: readonly Row[], model: string, api: Api): void {
  for (const { metric, apis, labelSets } of rows) {
    if (!apis.includes(api)) continue;
    for (const labels of labelSets(model, api)) metric.start(labels);
  }
}
