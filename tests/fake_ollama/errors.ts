/**
 * Error bodies and statuses of the three API families (docs/ollama-api.md 4.1, 4.3).
 */

import { type Answer, bodyAnswer } from "./plan.ts";
import { goJson } from "./json.ts";

/** API family, which determines the format of errors. */
export type Family = "native" | "openai" | "anthropic";

/** Returns Ollama's message for a status (4.1); `model` is the name as requested. */
export function usualMessage(status: number, model: string): string {
  const messages: Record<number, string> = {
    400: "invalid model name",
    401: "unauthorized",
    403: "ollama cloud is disabled",
    404: `model '${model}' not found`,
    499: "request canceled",
    500: RUNNER_STOPPED,
    502: "cloud unreachable",
    503: "server busy, please try again.  maximum pending requests exceeded",
  };
  return messages[status] ?? `status ${status}`;
}

/** Message of a runner that is killed, before or within a stream (4.1). */
export const RUNNER_STOPPED = "an error was encountered while running the model: unexpected EOF";

/** What writes an error (4.1, 4.3): the middleware of /v1, the handler, or its stream before the first message. */
export type ErrorSource = "middleware" | "handler" | "stream";

const OPENAI_TYPES: Record<number, string> = {
  400: "invalid_request_error",
  404: "not_found_error",
};

const ANTHROPIC_TYPES: Record<number, string> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
  503: "overloaded_error",
  529: "overloaded_error",
};

/** Returns an error body in a family's format. */
export function errorBody(family: Family, status: number, message: string): string {
  if (family === "openai") {
    const type = OPENAI_TYPES[status] ?? "api_error";
    return goJson({ error: { message, type, param: null, code: null } });
  }
  if (family === "anthropic") {
    const type = ANTHROPIC_TYPES[status] ?? "api_error";
    return goJson({ type: "error", error: { type, message }, request_id: "req_0123456789abcdef01234567" });
  }
  if (status === 401) {
    return goJson({ error: message, signin_url: "https://ollama.com/connect?name=fake&key=AAAA" });
  }
  return goJson({ error: message });
}

/** Returns an error answer: type, final newline and framing depend on its source (4.1, 4.3). */
export function errorAnswer(
  family: Family,
  status: number,
  message: string,
  source: ErrorSource = "handler",
): Answer {
  const body = errorBody(family, status, message);
  if (family === "native") {
    return source === "stream"
      ? { ...bodyAnswer(status, "application/json", body), flushed: true }
      : bodyAnswer(status, JSON_UTF8, body);
  }
  return source === "middleware"
    ? bodyAnswer(status, JSON_UTF8, body)
    : bodyAnswer(status, "application/json", body + "\n");
}

const JSON_UTF8 = "application/json; charset=utf-8";
