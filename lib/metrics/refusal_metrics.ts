/**
 * Metric of refused requests.
 *
 * @module
 */

import type { ServerState } from "../ollama/state.ts";
import type { MetricRegistry } from "./registry.ts";

/** Why a request was refused: the values of the label `reason`. */
export const REFUSALS = [
  "host_not_allowed",
  "invalid_host",
  "invalid_content_length",
  "invalid_path",
  "unsupported_method",
  "unsupported_transfer_encoding",
] as const;
/** Why a request was refused. */
export type Refusal = typeof REFUSALS[number];

/** Declares the counter, with every reason at 0, and returns the function that counts a refused request. */
export function declareRefusals(registry: MetricRegistry<ServerState>): (reason: Refusal) => void {
  const refused = registry.counter(
    "ollama_exporter_refused_requests_total",
    "Total number of requests refused by the exporter.",
    "reason",
  );
  for (const reason of REFUSALS) refused.inc({ reason }, 0);
  return (reason) => refused.inc({ reason });
}
