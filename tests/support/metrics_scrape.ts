/**
 * Records observations and reads what is exposed then.
 *
 * @module
 */

import { Metrics } from "../../lib/metrics/request_metrics.ts";
import type { Observation, OpenRequest } from "../../lib/observation.ts";
import { Scrape } from "./helpers.ts";

/** What a test changes about the metrics. */
export interface Options {
  readonly modelLimit?: number;
  readonly openRequests?: Set<OpenRequest>;
}

/** Metrics that have these observations. */
export function metricsOf(observations: readonly Observation[], options: Options = {}): Metrics {
  const metrics = new Metrics({ modelLimit: 200, openRequests: new Set(), ...options });
  for (const observation of observations) metrics.observe(observation);
  return metrics;
}

/** What is exposed now. */
export async function scrape(metrics: Metrics): Promise<Scrape> {
  return new Scrape(await metrics.registry.expose("text"));
}

/** What is exposed after these observations. */
export function scrapeOf(observations: readonly Observation[], options?: Options): Promise<Scrape> {
  return scrape(metricsOf(observations, options));
}

/** Labels of what is said of the model `llama3.2`. */
export const LABELS = { model: "llama3.2:latest" };
/** The same, where the API is a label too and it was a chat. */
export const API_LABELS = { ...LABELS, api: "chat" };
