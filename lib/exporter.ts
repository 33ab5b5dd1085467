/**
 * Assembles the parts of the exporter.
 *
 * @module
 */

import { ContextUse } from "./analysis/context_use.ts";
import { Generating } from "./analysis/generating.ts";
import { ModelLoads } from "./analysis/model_loads.ts";
import type { ClientOf } from "./clients/client_identity.ts";
import type { Fetch } from "./http.ts";
import type { Log } from "./log/log.ts";
import { logObservations } from "./log/log_observations.ts";
import { logSlowRequests } from "./log/slow_requests.ts";
import { type ConfigFile, declareConfigMetrics } from "./metrics/config_metrics.ts";
import { EventLoopLag } from "./metrics/event_loop_lag.ts";
import type { Slo } from "./metrics/latency_metrics.ts";
import { Metrics } from "./metrics/request_metrics.ts";
import { UNKNOWN_MODEL } from "./model_name.ts";
import type { ContextFinding, ModelLoad, Observation, Observe, OpenRequest } from "./observation.ts";
import type { HeadersFile } from "./ollama/headers_file.ts";
import { ModelDiscovery } from "./ollama/model_discovery.ts";
import { Ollama } from "./ollama/probes.ts";
import type { LoadedList } from "./ollama/state.ts";
import { declareProcessMetrics } from "./metrics/process_metrics.ts";
import { declareRefusals } from "./metrics/refusal_metrics.ts";
import { declareProbeErrors, declareServerMetrics } from "./metrics/server_metrics.ts";
import { createProxy } from "./proxy/proxy.ts";
import { type BoundHosts, createHandlers, type Guard, type Handlers } from "./web/handlers.ts";
import { Refusals } from "./web/refusals.ts";
import { createStatus } from "./status/status.ts";

/** Options of {@linkcode createExporter}. */
export interface ExporterOptions {
  /** Base URL of Ollama: scheme, host, port, and a base path if it has one. */
  readonly upstream: URL;
  /** CA certificates to trust for an https upstream besides the built-in ones, in PEM. Default: none. */
  readonly upstreamCa?: string;
  /** Headers of the exporter's own requests to Ollama. Default: none. */
  readonly headersFile?: HeadersFile;
  /** Version of the exporter. */
  readonly version: string;
  /** Page of the project on GitHub, to whose documentation the status page links. */
  readonly homepage: string;
  /** Commit that the exporter was built from. Default: `unknown`. */
  readonly revision?: string;
  readonly log: Log;
  readonly metricsPath: string;
  readonly modelLimit: number;
  /** How clients are told apart, and the maximum number of their labels. Absent: they are not. */
  readonly clients?: { readonly clientOf: ClientOf; readonly limit: number };
  readonly probeTimeoutMs: number;
  readonly openaiStreamUsage: boolean;
  /** Host names to accept besides addresses and local names. */
  readonly allowedHosts: readonly string[];
  /** Where the listeners are bound. Absent: to all interfaces. */
  readonly bound?: BoundHosts;
  /** Objectives of the latency of streams. Default: none. */
  readonly slo?: Slo;
  /** Inference requests that take longer are logged, in milliseconds. Default: none are. */
  readonly slowRequestMs?: number;
  /** Guards the admin endpoints. Absent: they are open. */
  readonly guard?: Guard;
  /** Configuration files whose state is exposed. Absent: none. */
  readonly configFiles?: readonly ConfigFile[];
  /** Sends requests upstream. */
  readonly fetch: Fetch;
  /** Further consumers of observations, called before the metrics and the log. */
  readonly observers?: readonly Observe[];
}

/** An exporter, ready to be called by listeners. */
export interface Exporter {
  readonly handlers: Handlers;
  readonly ollama: Ollama;
  readonly metrics: Metrics;
  /** The measured requests that have not ended. */
  readonly openRequests: ReadonlySet<OpenRequest>;
  /** Logs and counts an exception of our own code. */
  readonly internalError: (error: unknown) => void;
  /** Asks Ollama for its models: now, until it answers, and later when a request names one that is not known. */
  discoverModels(): void;
  /** Ends the status page's streams, which have no end of their own. Call it before listeners shut down. */
  endViewers(): void;
  /** Ends timers, and closes idle connections to Ollama. */
  close(): void;
}

/** Creates an exporter. */
export function createExporter(options: ExporterOptions): Exporter {
  const { version, homepage, upstream, log, fetch, metricsPath, allowedHosts, bound, guard, headersFile } = options;
  const { pooled, unpooled } = createClients(options.upstreamCa);
  const openRequests = new Set<OpenRequest>();
  const streams = new Generating();
  const { modelLimit, clients, slo } = options;
  const limits = { modelLimit, ...clients && { clientLimit: clients.limit } };
  const metrics = new Metrics({ ...limits, openRequests, streams, ...slo && { slo } });
  const refusals = new Refusals({ log, count: declareRefusals(metrics.registry) });
  declareOtherMetrics(metrics, options);
  const eventLoopLag = new EventLoopLag(metrics.registry);
  const internalError = internalErrorOf(metrics, log);
  const countError = declareProbeErrors(metrics.registry);
  const analysis = createAnalysis(metrics, (finding) => status.observeContext(finding));
  const onLoaded = all<LoadedList | undefined>(internalError, listConsumers(analysis));
  const probe = { upstream, fetch, client: pooled, timeoutMs: options.probeTimeoutMs, onLoaded, countError };
  const ollama = new Ollama({ ...probe, ...headersFile && { headersFile } });
  const discovery = new ModelDiscovery({ ollama, onState: (state) => metrics.update(state) });
  const status = createStatus({ version, homepage, metricsPath, upstream, ollama, openRequests, internalError });
  const proxy = createProxy({
    upstream,
    fetch,
    pooled,
    unpooled,
    openaiStreamUsage: options.openaiStreamUsage,
    userAgent: `ollama-exporter/${version}`,
    openRequests,
    openStreams: streams,
    onModel: (name) => {
      if (metrics.models.label(name) === UNKNOWN_MODEL) discovery.onUnknownModel();
    },
    observe: all<Observation>(internalError, [
      ...consumersOf(options, metrics),
      status.observe,
      ...analysts(analysis, discovery),
    ]),
    ...clients && { clientOf: clients.clientOf },
    refused: (request) => refusals.record("invalid_path", request),
    internalError,
  });
  return {
    handlers: createHandlers({
      metrics,
      metricsPath,
      ollama,
      status,
      proxy,
      allowedHosts,
      refusals,
      internalError,
      ...bound && { bound },
      ...guard && { guard },
    }),
    ollama,
    metrics,
    openRequests,
    internalError,
    discoverModels: () => discovery.start(),
    endViewers: () => status.endEvents(),
    close(): void {
      status.endEvents();
      for (const timers of [discovery, eventLoopLag]) timers[Symbol.dispose]();
      for (const client of [pooled, unpooled]) client.close();
    },
  };
}

/** Creates the clients of the upstream: one that reuses its connections, and one that does not. */
function createClients(ca: string | undefined): Readonly<Record<"pooled" | "unpooled", Deno.HttpClient>> {
  const options = { http2: false, ...ca !== undefined && { caCerts: [ca] } };
  return {
    pooled: Deno.createHttpClient(options),
    unpooled: Deno.createHttpClient({ ...options, poolMaxIdlePerHost: 0 }),
  };
}

/** Declares the metrics of everything but requests and refusals. */
function declareOtherMetrics({ registry, models }: Metrics, options: ExporterOptions): void {
  const { version, revision = "unknown", configFiles = [] } = options;
  declareProcessMetrics(registry, { version, revision });
  declareConfigMetrics(registry, configFiles);
  declareServerMetrics(registry, models);
}

/** Returns a function that logs and counts an exception of our own code. */
function internalErrorOf(metrics: Metrics, log: Log): (error: unknown) => void {
  return (error) => {
    metrics.internalError();
    log.error("Internal error", { error: String(error), stack: error instanceof Error ? error.stack : undefined });
  };
}

/** The consumers of observations, but for the status page. */
function consumersOf(options: ExporterOptions, metrics: Metrics): Observe[] {
  const { observers = [], log, upstream, slowRequestMs } = options;
  return [
    ...observers,
    (observation) => metrics.observe(observation),
    logObservations(log, upstream.href),
    ...slowRequestMs === undefined ? [] : [logSlowRequests(log, slowRequestMs)],
  ];
}

/** What finds out from observations and lists of the models in memory together, and what gets its findings. */
interface Analysis {
  readonly contextUse: ContextUse;
  readonly loads: ModelLoads;
  readonly observeContext: (finding: ContextFinding) => void;
  readonly observeLoad: (load: ModelLoad) => void;
}

/** Creates the analysis, whose findings go to the metrics, and those of contexts to another consumer as well. */
function createAnalysis(metrics: Metrics, observeContext: Analysis["observeContext"]): Analysis {
  return {
    contextUse: new ContextUse(),
    loads: new ModelLoads(),
    observeContext(finding): void {
      metrics.observeContext(finding);
      observeContext(finding);
    },
    observeLoad: (load) => metrics.observeLoad(load),
  };
}

/** The consumers of observations that pass on what follows from them, and have asked what must be known. */
function analysts(analysis: Analysis, discovery: ModelDiscovery): Observe[] {
  const { contextUse, loads, observeContext, observeLoad } = analysis;
  return [
    (observation) => loads.observe(observation).forEach(observeLoad),
    (observation): void => {
      const finding = contextUse.observe(observation);
      if (finding !== undefined) observeContext(finding);
      if (contextUse.isWaiting) discovery.onUnknownContext();
    },
  ];
}

/** The same for lists of the models in memory; `undefined` if they could not be fetched. */
function listConsumers(analysis: Analysis): ((list: LoadedList | undefined) => void)[] {
  const { contextUse, loads, observeContext, observeLoad } = analysis;
  return [
    (list) => loads.update(list).forEach(observeLoad),
    (list) => contextUse.update(list).forEach(observeContext),
  ];
}

/** One consumer for several; what one of them throws does not keep the value from the others. */
function all<Value>(
  internalError: (error: unknown) => void,
  consumers: readonly ((value: Value) => void)[],
): (value: Value) => void {
  return (value) => {
    for (const consume of consumers) {
      try {
        consume(value);
      } catch (error) {
        internalError(error);
      }
    }
  };
}
