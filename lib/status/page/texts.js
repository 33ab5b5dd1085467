/**
 * The page's words for phases, outcomes and errors. All are ours: nothing of what an upstream writes is shown.
 *
 * @module
 */

/** Title and description of each phase, in the order of a request. */
export const PHASES = {
  load: ["Queueing and loading", "Until a runner was ready: waiting in Ollama's queue and loading the model"],
  wait: ["Waiting for a slot", "The model was loaded, but all its slots were busy"],
  prompt: ["Prompt evaluation", "Evaluating the prompt"],
  firstToken: ["Before first token", "Streams of APIs that do not report the three phases above separately"],
  output: ["Generation", "Generating the output"],
  other: ["Unattributed", "Responses that do not report durations"],
};

/** Title and description of each value of the label `outcome`, failures first. */
export const OUTCOMES = {
  upstream_unreachable: ["upstream unreachable", "Connection to Ollama failed before the response"],
  upstream_broken: ["upstream broken", "Connection to Ollama failed during the response"],
  server_error: ["server error", "Status 500 or above from Ollama"],
  stream_error: ["stream error", "Error message inside a stream"],
  incomplete: ["incomplete", "Stream ended without its final message"],
  client_error: ["client error", "Status 400 to 499"],
  client_closed: ["client closed", "Client disconnected before the response was complete"],
  ok: ["ok", "Complete response"],
};

/** Outcomes that are not failures: a client may disconnect when it has read enough. */
const SUCCESSES = new Set(["ok", "client_closed"]);

/** What the statuses of Ollama's errors mean (docs/ollama-api.md 4.1). */
const STATUSES = {
  400: "invalid request, or not supported by the model",
  401: "not signed in, or credentials missing",
  403: "host, origin or cloud model not allowed",
  404: "model not installed, or unknown path",
  413: "request too large",
  429: "too many requests",
  500: "model failed to load or run, or invalid option",
  501: "not supported by the model",
  502: "cloud or proxy cannot reach the model's server",
  503: "queue full: server busy",
  504: "timeout of a proxy",
};

/** How connections to Ollama fail. */
const UPSTREAM_ERRORS = {
  connect: "no connection",
  reset: "connection closed",
  protocol: "invalid HTTP",
  other: "request failed",
};

const REASONS = {
  stream_error: "error message within the stream",
  incomplete: "no final message",
};

/** Whether an outcome is a failure. */
export function isFailure(outcome) {
  return !SUCCESSES.has(outcome);
}

/** Returns the reason of a request's failure in a few words; an empty text if there is nothing to add. */
export function reasonOf({ outcome, status, upstreamError }) {
  if (!isFailure(outcome)) return "";
  return UPSTREAM_ERRORS[upstreamError] ?? REASONS[outcome] ?? STATUSES[status] ?? "";
}
