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

/** Fields of a request in a log line. */
export function requestFields(observation: Observation): Fields {
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
    duration_seconds: roundedSeconds(observation.durationSeconds),
    first_output_seconds: roundedSeconds(observation.firstOutputSeconds),
  };
}

/** Seconds as they are logged: to the millisecond. */
export function roundedSeconds(seconds: number | undefined): number | undefined {
  return seconds && Number(seconds.toFixed(3));
}
