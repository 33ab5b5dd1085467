/**
 * The last requests and the last failures, for the status page: a busy host's failures outlast its last requests.
 *
 * @module
 */

import { canonicalModelName } from "../model_name.ts";
import { generationOf, type Observation, type Outcome, type UpstreamError } from "../observation.ts";
import { rounded } from "./quantiles.ts";

/** Maximum number of requests that are listed. */
export const LAST_REQUESTS = 30;
/** Maximum number of failures that are listed besides. */
export const LAST_FAILURES = 20;
/** Maximum length of an invalid model name, in characters. */
export const NAME_LIMIT_CHARACTERS = 100;

/** Outcomes that are not failures: a client may disconnect when it has read enough. */
const SUCCESSES: ReadonlySet<Outcome> = new Set(["ok", "client_closed"]);

/** A completed request. Unknown figures are `undefined`. */
export interface EndedRequest {
  /** Counted from 1. */
  readonly id: number;
  /** Time of its arrival, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** API or operation; the route if it has neither. */
  readonly api: string;
  readonly model: string | undefined;
  /** `undefined` where clients are not told apart. */
  readonly client: string | undefined;
  readonly status: number;
  readonly outcome: Outcome;
  /** How the connection to Ollama failed; `undefined` if it did not. */
  readonly upstreamError: UpstreamError | undefined;
  readonly durationSeconds: number;
  readonly promptTokens: number | undefined;
  readonly outputTokens: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly firstTokenSeconds: number | undefined;
}

/** Whether requests of an outcome have failed. */
export function isFailure(outcome: Outcome): boolean {
  return !SUCCESSES.has(outcome);
}

/** Returns the canonical form of a model name. An invalid name is returned as it is, shortened to the limit. */
export function displayName(name: string): string {
  return canonicalModelName(name) ?? name.slice(0, NAME_LIMIT_CHARACTERS);
}

/** Returns the model of a request as it is shown; `undefined` if neither the response nor the request names one. */
export function displayedModel({ report, requestedModel }: Observation): string | undefined {
  const model = report.model ?? requestedModel;
  return model === undefined ? undefined : displayName(model);
}

/** The last requests and the last failures, each newest first. */
export class LastRequests {
  readonly #all: EndedRequest[] = [];
  readonly #failures: EndedRequest[] = [];
  #count = 0;
  #failed = 0;

  /** Adds a completed request. */
  add(observation: Observation): void {
    const request = endedRequest(observation, ++this.#count);
    prepend(this.#all, request, LAST_REQUESTS);
    if (!isFailure(request.outcome)) return;
    this.#failed++;
    prepend(this.#failures, request, LAST_FAILURES);
  }

  /** Number of requests added. */
  get count(): number {
    return this.#count;
  }

  /** Number of failures added. */
  get failed(): number {
    return this.#failed;
  }

  /** The last requests, failures among them. */
  get all(): readonly EndedRequest[] {
    return this.#all;
  }

  /** The last failures. */
  get failures(): readonly EndedRequest[] {
    return this.#failures;
  }
}

function prepend(list: EndedRequest[], request: EndedRequest, limit: number): void {
  list.unshift(request);
  if (list.length > limit) list.pop();
}

function endedRequest(observation: Observation, id: number): EndedRequest {
  const { report, api, operation, route, firstOutputSeconds } = observation;
  const generation = generationOf(observation);
  return {
    id,
    startedAt: observation.startedAt,
    api: api ?? operation ?? route,
    model: displayedModel(observation),
    client: observation.client,
    status: observation.status,
    outcome: observation.outcome,
    upstreamError: observation.upstreamError,
    durationSeconds: rounded(observation.durationSeconds),
    promptTokens: report.promptTokens,
    outputTokens: report.outputTokens,
    tokensPerSecond: generation && rounded(generation.tokens / generation.seconds),
    firstTokenSeconds: firstOutputSeconds && rounded(firstOutputSeconds),
  };
}
