/**
 * What a route handler of the fake Ollama gets and gives.
 */

import type { FakeBehaviour } from "./behaviour.ts";
import type { Family } from "./errors.ts";
import type { FakeConnection } from "./http.ts";
import { decodeObject, type JsonObject } from "./json.ts";
import type { Answer, KeyedAnswer } from "./plan.ts";
import type { RecordedRequest } from "./request.ts";
import type { FakeState } from "./state.ts";

/** One request on its way through the fake. */
export interface Exchange {
  readonly request: RecordedRequest;
  readonly connection: FakeConnection;
  /** The behaviour when the request came; never changed. */
  readonly behaviour: FakeBehaviour;
  /** The behaviour that a test sees and changes; pull, copy and delete assign its models. */
  readonly live: FakeBehaviour;
  readonly state: FakeState;
  /** The segment that the path template's parameter matched, or "". */
  readonly param: string;
}

/** Answers one route. */
export type RouteHandler = (
  exchange: Exchange,
) => Promise<Answer | KeyedAnswer> | Answer | KeyedAnswer;

/** One row of the route table. */
export interface Route {
  method: "GET" | "HEAD" | "POST" | "DELETE";
  /** Path template; a segment that begins with ":" matches one segment (docs/ollama-api.md 1). */
  path: string;
  handler: RouteHandler;
  /** Error shape. */
  family: Family;
  /** `status`, `hang` and faults of the behaviour apply. */
  gated: boolean;
}

/** Thrown by handlers for an error answer in the shape of the route's family. */
export class RouteError extends Error {
  override name = "RouteError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The request's JSON object, read to its end. */
export async function readObject(exchange: Exchange): Promise<JsonObject> {
  return decodeObject(await exchange.connection.readBody(), "missing request body");
}
