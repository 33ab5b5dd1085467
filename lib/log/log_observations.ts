/**
 * Logs requests, and changes in the reachability of Ollama.
 *
 * @module
 */

import { UNKNOWN_MODEL } from "../model_name.ts";
import type { Observation, Observe } from "../observation.ts";
import type { Fields, Log } from "./log.ts";

/**
 * Returns an observer that logs each request at DEBUG, and changes in the reachability of Ollama at WARN and INFO.
 * Observations have no prompts, answers, queries or headers, hence neither do log lines.
 *
 * @param upstream Base URL of Ollama, as logged.
 */
export function logObservations(log: Log, upstream: string): Observe {
  let isUnreachable = false;
  return (observation) => {
    if (log.isDebug) log.debug("Request", requestFields(observation));
    // Says nothing about Ollama.
    if (observation.outcome === "client_closed") return;
    const wasUnreachable = isUnreachable;
    isUnreachable = observation.outcome === "upstream_unreachable";
    if (isUnreachable === wasUnreachable) return;
    if (isUnreachable) log.warn("Ollama is unreachable", { ollama: upstream, error: observation.upstreamError });
    else log.info("Ollama is reachable again", { ollama: upstream });
  };
}

function requestFields(observation: Observation): Fields {
  const { report } = observation;
  return {
    method: observation.method,
    route: observation.route,
    model: report.model ?? observation.requestedModel ?? (observation.api && UNKNOWN_MODEL),
    client: observation.client,
    status: observation.status,
    outcome: observation.outcome,
    prompt_tokens: report.promptTokens,
    output_tokens: report.outputTokens,
    duration_seconds: Number(observation.durationSeconds.toFixed(3)),
    first_output_seconds: observation.firstOutputSeconds && Number(observation.firstOutputSeconds.toFixed(3)),
  };
}
