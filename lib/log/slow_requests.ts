/**
 * Logs slow requests, and where their time went.
 *
 * @module
 */

import { type Observation, type Observe, phasesOf } from "../observation.ts";
import type { Fields, Log } from "./log.ts";
import { requestFields, roundedSeconds } from "./log_observations.ts";

/** Maximum number of slow requests that are logged in a minute: in a storm every request is slow. */
export const SLOW_REQUESTS_LIMIT = 60;

const MINUTE_MS = 60_000;
const MILLISECONDS_PER_SECOND = 1000;

/**
 * Returns an observer that logs inference requests at WARN that take longer than a time, up to
 * {@linkcode SLOW_REQUESTS_LIMIT}. Transfers take long by nature and are not logged.
 *
 * @param thresholdMs In milliseconds.
 */
export function logSlowRequests(log: Log, thresholdMs: number): Observe {
  let minuteStart = -Infinity;
  let logged = 0;
  let suppressed = 0;
  return (observation) => {
    const { api, durationSeconds } = observation;
    if (api === undefined || durationSeconds * MILLISECONDS_PER_SECOND <= thresholdMs) return;
    const now = performance.now();
    if (now - minuteStart >= MINUTE_MS) {
      minuteStart = now;
      logged = 0;
    }
    if (logged === SLOW_REQUESTS_LIMIT) {
      if (suppressed++ === 0) log.warn("Suppressing further slow requests", { limit_per_minute: SLOW_REQUESTS_LIMIT });
      return;
    }
    logged++;
    const fields = { ...requestFields(observation), ...phaseFields(observation) };
    log.warn("Slow request", { ...fields, suppressed: suppressed || undefined });
    suppressed = 0;
  };
}

function phaseFields(observation: Observation): Fields {
  const { load, wait, prompt, firstToken, output, other } = phasesOf(observation);
  return {
    load_seconds: roundedSeconds(load),
    wait_seconds: roundedSeconds(wait),
    prompt_seconds: roundedSeconds(prompt),
    first_token_seconds: roundedSeconds(firstToken),
    generation_seconds: roundedSeconds(output),
    other_seconds: roundedSeconds(other),
  };
}
