/**
 * Records observations and parses the exposition.
 *
 * @module
 */

import type { Generating } from "../../lib/analysis/generating.ts";
import type { Slo } from "../../lib/metrics/latency_metrics.ts";
import { Metrics } from "../../lib/metrics/request_metrics.ts";
import type { Observation, OpenRequest } from "../../lib/observation.ts";
import { stateOf } from "./fixtures.ts";
import { Scrape } from "./helpers.ts";

/** Options of {@linkcode metricsOf}. */
export interface Options {
  readonly modelLimit?: number;
  readonly clientLimit?: number;
  readonly openRequests?: Set<OpenRequest>;
  readonly streams?: Generating;
  readonly slo?: Slo;
}

/** Metrics that have recorded the observations. */
export function metricsOf(observations: readonly Observation[], options: Options = {}): Metrics {
  const metrics = new Metrics({ modelLimit: 200, openRequests: new Set(), ...options });
  for (const observation of observations) metrics.observe(observation);
  return metrics;
}

/** Exposes the metrics, without a state of the server. */
export async function scrape(metrics: Metrics): Promise<Scrape> {
  return new Scrape(await metrics.expose("text", stateOf({})));
}

/** Records the observations and exposes the metrics. */
export function scrapeOf(observations: readonly Observation[], options?: Options): Promise<Scrape> {
  return scrape(metricsOf(observations, options));
}

/** Labels of the model `llama3.2`. */
export const LABELS = { model: "llama3.2:latest" };
/** Labels of a chat with the model `llama3.2`. */
export const API_LABELS = { ...LABELS, api: "chat" };
