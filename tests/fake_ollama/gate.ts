/**
 * Behaviour applied before and around the route handlers of the fake Ollama: scripts, forced errors, hanging, and
 * runners that fail before the first byte.
 */

import type { FakeBehaviour, Script } from "./behaviour.ts";
import { errorAnswer, type Family, RUNNER_STOPPED, usualMessage } from "./errors.ts";
import type { Exchange, Route } from "./exchange.ts";
import type { FakeConnection } from "./http.ts";
import { decodeObject, textField } from "./json.ts";
import type { Answer, KeyedAnswer } from "./plan.ts";
import type { RecordedRequest } from "./request.ts";

type Headers = readonly (readonly [string, string])[];

/** Runs a script. Returns whether it has answered, or the connection is gone. */
export async function takenOver(
  script: Script,
  request: RecordedRequest,
  connection: FakeConnection,
): Promise<boolean> {
  const before = connection.bytesWritten;
  const taken = await script(request, connection);
  return taken === true || connection.bytesWritten > before || connection.gone;
}

/** Returns the answer forced by `status`, or `undefined` to continue. With `hang` it never resolves. */
export async function gate(exchange: Exchange, route: Route): Promise<Answer | undefined> {
  const { behaviour, connection } = exchange;
  if (!behaviour.hang && behaviour.status === undefined) return undefined;
  // Uploads are refused before the body is read, just like those of existing blobs (2.5).
  const upload = route.path === "/api/blobs/:digest";
  const body = upload ? new Uint8Array(0) : await connection.readBody();
  if (behaviour.hang || behaviour.status === undefined) await connection.sleep(Infinity);
  const status = behaviour.status ?? 500;
  const message = behaviour.statusMessage ?? usualMessage(status, modelOf(body));
  return { ...errorAnswer(route.family, status, message), paced: true };
}

/** Returns an answer with additional headers, from the guards. */
export function withHeaders(found: Answer | KeyedAnswer, headers: Headers): Answer | KeyedAnswer {
  if (headers.length === 0) return found;
  const add = (answer: Answer) => ({ ...answer, headers: [...headers, ...answer.headers ?? []] });
  if (!("key" in found)) return add(found);
  return { ...found, key: `${found.key}|${headers.join()}`, make: () => add(found.make()) };
}

/**
 * Turns a runner failure into an error status if it precedes the first byte, as it always does if not streamed (4.2).
 */
export function failing(
  found: Answer | KeyedAnswer,
  family: Family,
  behaviour: FakeBehaviour,
): Answer | KeyedAnswer {
  const { fault } = behaviour;
  if (fault?.kind !== "error") return found;
  const { afterMessages, message = RUNNER_STOPPED } = fault;
  const fail = (answer: Answer): Answer => {
    if (!answer.paced || answer.status !== 200 || (answer.streamed && afterMessages !== 0)) return answer;
    // A transfer that is not streamed is a stream inside, of which only the last message is sent (2.5).
    const isStream = answer.streamed || answer.contentType === "application/json";
    const error = errorAnswer(family, 500, message, isStream ? "stream" : "handler");
    return { ...error, flushed: answer.streamed && family === "native", paced: true };
  };
  return "key" in found ? { ...found, make: () => fail(found.make()) } : fail(found);
}

/** Returns the model named by a request body, or "" if it cannot be parsed. */
function modelOf(body: Uint8Array): string {
  try {
    const object = decodeObject(body, "");
    return textField(object, "model") || textField(object, "name");
  } catch {
    return "";
  }
}
