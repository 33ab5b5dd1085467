/**
 * Latencies of streams, and how many streams are within the service level objectives (SLO).
 *
 * @module
 */

import { type Api, type Generation, generationOf, type Observation, type Outcome } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { byApi, GENERATING, type ModelRows, type Row } from "./model_metrics.ts";
import type { MetricRegistry } from "./registry.ts";

const MILLISECONDS_PER_SECOND = 1e3;

/** Upper bounds in seconds. */
const FIRST_TOKEN_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120];
const PER_TOKEN_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Maximum latencies of a stream that is within the objectives. */
export interface Slo {
  /** Time to first token, in milliseconds; `undefined`: no objective. */
  readonly firstTokenMs: number | undefined;
  /** Time per output token, in milliseconds; `undefined`: no objective. */
  readonly perTokenMs: number | undefined;
}

/** Outcomes of streams that are within the objectives or not. Of a mistake of the client, or its leaving, neither. */
const ELIGIBLE: ReadonlySet<Outcome> = new Set([
  "ok",
  "server_error",
  "stream_error",
  "incomplete",
  "upstream_unreachable",
  "upstream_broken",
]);

/** Declares the metrics of latencies, and records them. */
export class LatencyMetrics implements ModelRows {
  readonly #firstToken;
  readonly #perToken;
  readonly #withinSlo;
  readonly #sloEligible;
  /** In seconds; infinite without an objective. */
  readonly #limits: { readonly firstToken: number; readonly perToken: number };
  readonly apiCounters: readonly Row[];
  readonly histograms: readonly Row[];

  constructor(registry: MetricRegistry<ServerState>, { firstTokenMs = Infinity, perTokenMs = Infinity }: Slo) {
    const limits = {
      firstToken: firstTokenMs / MILLISECONDS_PER_SECOND,
      perToken: perTokenMs / MILLISECONDS_PER_SECOND,
    };
    this.#limits = limits;
    this.#firstToken = registry.tracedHistogram(
      "ollama_time_to_first_token_seconds",
      "Time from the arrival of a request to the first output of its stream, including thinking and tool calls.",
      withBound(FIRST_TOKEN_BUCKETS, limits.firstToken),
      "model",
      "api",
    );
    this.#perToken = registry.histogram(
      "ollama_time_per_output_token_seconds",
      "Generation time per output token.",
      withBound(PER_TOKEN_BUCKETS, limits.perToken),
      "model",
      "api",
    );
    this.#withinSlo = registry.counter(
      "ollama_requests_within_slo_total",
      "Total number of streams within the configured latency objectives.",
      "model",
      "api",
    );
    this.#sloEligible = registry.counter(
      "ollama_requests_slo_eligible_total",
      "Total number of streams that count for the configured latency objectives, failed ones included.",
      "model",
      "api",
    );
    const row = { apis: GENERATING, labelSets: byApi };
    this.histograms = [this.#firstToken, this.#perToken].map((metric) => ({ metric, ...row }));
    this.apiCounters = this.#hasSlo ? [this.#withinSlo, this.#sloEligible].map((metric) => ({ metric, ...row })) : [];
  }

  /** Records a completed request. */
  record(observation: Observation, model: string, api: Api): void {
    const { firstOutputSeconds } = observation;
    if (firstOutputSeconds !== undefined) {
      this.#firstToken.observe({ model, api }, firstOutputSeconds, observation.traceId);
    }
    const generation = generationOf(observation);
    if (generation !== undefined) this.#perToken.observe({ model, api }, generation.seconds / generation.tokens);
    const isWithin = this.#hasSlo && GENERATING.includes(api) ? this.#isWithinSlo(observation, generation) : undefined;
    if (isWithin === undefined) return;
    this.#sloEligible.inc({ model, api });
    if (isWithin) this.#withinSlo.inc({ model, api });
  }

  get #hasSlo(): boolean {
    return Math.min(this.#limits.firstToken, this.#limits.perToken) < Infinity;
  }

  /** Whether a stream is within the objectives; `undefined` if it does not count, or that is not known. */
  #isWithinSlo(observation: Observation, generation: Generation | undefined): boolean | undefined {
    const { outcome, isStream, durationSeconds, firstOutputSeconds, report } = observation;
    if (isStream !== true || !ELIGIBLE.has(outcome)) return undefined;
    if (outcome !== "ok") return false;
    const { firstToken, perToken } = this.#limits;
    if (perToken < Infinity && report.outputTokens === undefined) return undefined;
    // A complete stream without output is judged by its end. A single token has no time of its own.
    const { seconds, tokens } = generation ?? { seconds: 0, tokens: 1 };
    return (firstOutputSeconds ?? durationSeconds) <= firstToken && seconds / tokens <= perToken;
  }
}

/** Adds a bound to the buckets, unless it is one of them or infinite. */
function withBound(buckets: readonly number[], bound: number): number[] {
  return [...new Set([...buckets, bound])].filter(Number.isFinite).sort((a, b) => a - b);
}
