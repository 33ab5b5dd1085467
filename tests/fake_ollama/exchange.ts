/**
 * Types shared by the route handlers of the fake Ollama.
 */

import type { FakeBehaviour } from "./behaviour.ts";
import type { ErrorSource, Family } from "./errors.ts";
import type { FakeConnection } from "./http.ts";
import { decodeObject, type JsonObject } from "./json.ts";
import type { Answer, KeyedAnswer } from "./plan.ts";
import type { RecordedRequest } from "./request.ts";
import type { FakeState } from "./state.ts";

/** Request being handled by the fake. */
export interface Exchange {
  readonly request: RecordedRequest;
  readonly connection: FakeConnection;
  /** Behaviour at the time of the request; frozen. */
  readonly behaviour: FakeBehaviour;
  /** Current behaviour, which the test may change. Pull, copy and delete assign its models. */
  readonly live: FakeBehaviour;
  readonly state: FakeState;
  /** Value of the path template's parameter, or "" if it has none. */
  readonly param: string;
}

/** Handles the requests of one route. */
export type RouteHandler = (
  exchange: Exchange,
) => Promise<Answer | KeyedAnswer> | Answer | KeyedAnswer;

/** Row of the route table. */
export interface Route {
  method: "GET" | "HEAD" | "POST" | "DELETE";
  /** Path template; ":name" matches one segment (docs/ollama-api.md 1). */
  path: string;
  handler: RouteHandler;
  /** Format of its errors. */
  family: Family;
  /** Whether the behaviour's `status`, `hang` and faults apply. */
  gated: boolean;
}

/** Thrown by handlers for an error answer in the format of the route's family. */
export class RouteError extends Error {
  override name = "RouteError";
  readonly status: number;
  readonly source: ErrorSource;
  /** Headers besides those of every error. */
  readonly headers: readonly (readonly [string, string])[];

  constructor(
    status: number,
    message: string,
    source: ErrorSource = "handler",
    headers: readonly (readonly [string, string])[] = [],
  ) {
    super(message);
    this.status = status;
    this.source = source;
    this.headers = headers;
  }
}

/** Reads the request's JSON object. */
export async function readObject(exchange: Exchange): Promise<JsonObject> {
  return decodeObject(await exchange.connection.readBody(), "missing request body");
}
