/**
 * Types shared by all modules: one proxied request becomes one {@linkcode Observation}.
 *
 * Before an Observation nothing knows Prometheus, after it nothing knows HTTP. Absent is `undefined`, never 0 or -1.
 *
 * @module
 */

/** Values of the `api` label: the measured inference endpoints. */
export const APIS = [
  "chat",
  "generate",
  "embed",
  "embeddings",
  "openai_chat",
  "openai_completions",
  "openai_embeddings",
  "openai_responses",
  "openai_transcriptions",
  "anthropic_messages",
] as const;
/** A measured inference endpoint. */
export type Api = typeof APIS[number];

/** Operations that move model data between Ollama and a registry or the client. */
export const OPERATIONS = ["pull", "push", "create"] as const;
/** An operation that moves model data. */
export type Operation = typeof OPERATIONS[number];

/** How requests end; each in exactly one of these ways. */
export const OUTCOMES = [
  /** A complete response. */
  "ok",
  /** Status 4xx. */
  "client_error",
  /** Status 5xx from the upstream. */
  "server_error",
  /** An error message within a stream that began with status 200. */
  "stream_error",
  /** The stream ended cleanly but without its terminal message. */
  "incomplete",
  /** The client disconnected before the response was complete. */
  "client_closed",
  /** No connection to the upstream, or it broke before the response headers: the client got 502. */
  "upstream_unreachable",
  /** The connection to the upstream broke within the body: so did the client's response. */
  "upstream_broken",
] as const;
/** How a request ended. */
export type Outcome = typeof OUTCOMES[number];

/** Why a model stopped generating, in one vocabulary for all APIs. */
export const FINISH_REASONS = ["stop", "length", "tool_calls", "load", "unload", "other"] as const;
/** Why a model stopped generating. */
export type FinishReason = typeof FINISH_REASONS[number];

/** Why a response message could not be parsed. It was forwarded unchanged. */
export const PARSE_ERRORS = ["too_long", "invalid_json", "invalid_value"] as const;
/** Why a response message could not be parsed. */
export type ParseError = typeof PARSE_ERRORS[number];
/** Number of messages that could not be parsed, by reason; a reason that did not occur may be absent. */
export type ParseErrorCounts = Readonly<Partial<Record<ParseError, number>>>;

/** How a connection to the upstream failed. */
export const UPSTREAM_ERRORS = ["connect", "reset", "protocol", "other"] as const;
/** How a connection to the upstream failed. */
export type UpstreamError = typeof UPSTREAM_ERRORS[number];

/** The client where none is named, and of a failed request of one that no request has succeeded for. */
export const UNKNOWN_CLIENT = "unknown";
/** Clients beyond the limit of the label `client`. */
export const OTHER_CLIENT = "other";
/** Why a model was loaded: the values of the `cause` label. */
export const LOAD_CAUSES = [
  /** Nothing shows that the model was in memory before. */
  "cold",
  /** It was in memory with another context length. */
  "context_changed",
  /** It was in memory with the same context length, or one of the two is not known. */
  "other",
] as const;
/** Why a model was loaded. */
export type LoadCause = typeof LOAD_CAUSES[number];

/** What the upstream's messages report. A field is `undefined` where no message had it. */
export interface Report {
  /** The model's name as the response spells it. */
  model: string | undefined;
  finishReason: FinishReason | undefined;
  /** Prompt tokens, including cached ones. */
  promptTokens: number | undefined;
  /** Prompt tokens served from the cache. 0: none was; `undefined`: not reported. */
  cachedTokens: number | undefined;
  /** Generated tokens, including thinking and tool calls. */
  outputTokens: number | undefined;
  /** Number of tool calls. */
  toolCalls: number | undefined;
  /** Seconds from the upstream's receipt of the request to its last event. */
  totalSeconds: number | undefined;
  /** Seconds until a runner was ready: waiting in the queue and loading the model. */
  loadSeconds: number | undefined;
  /** Seconds of evaluating the part of the prompt that was not cached. */
  promptEvalSeconds: number | undefined;
  /** Seconds of generating the output. */
  evalSeconds: number | undefined;
  /** Bytes transferred by a pull, push or create, each digest counted once. */
  transferBytes: number | undefined;
}

/** Options of a request that decide how its model is loaded, and what is cut of its prompt. */
export interface RequestOptions {
  /** `num_ctx`: the context length to load the model with. */
  readonly contextTokens: number | undefined;
  /** `num_keep`: number of tokens at the beginning of the prompt that are never cut. */
  readonly keepTokens: number | undefined;
}

/** One request from its arrival to its end. Made once per request, when it ends. */
export interface Observation {
  /** When the request arrived, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** When the request arrived, in milliseconds of the monotonic clock `performance.now()`. */
  readonly arrivedAt: number;
  /** Path template from a closed list, or `other`. */
  readonly route: string;
  /** HTTP method as received: any token, so not yet fit for a label. */
  readonly method: string;
  /** Set for the measured inference endpoints only. */
  readonly api: Api | undefined;
  /** Set for transfers only. */
  readonly operation: Operation | undefined;
  /** The model that the request names, as it is spelled there; `undefined` where it was not read. */
  readonly requestedModel: string | undefined;
  /** The options that the request has; `undefined` where they were not read. */
  readonly options: RequestOptions | undefined;
  /** The client as the request names it, or `unknown`; `undefined` where clients are not told apart. */
  readonly client: string | undefined;
  /** Status that the client got; 499 where it disconnected before there was one. */
  readonly status: number;
  readonly outcome: Outcome;
  /**
   * Whether the response is a stream of messages; where its status is 4xx or 5xx, or there is none, whether the request
   * asks for one. `undefined`: the request was not read.
   */
  readonly isStream: boolean | undefined;
  /** From arrival to the last byte of the response, or to the failure. */
  readonly durationSeconds: number;
  /** From arrival to the first chunk with output. Streams only. */
  readonly firstOutputSeconds: number | undefined;
  /** From arrival to the last chunk with output. Streams only. */
  readonly lastOutputSeconds: number | undefined;
  /** Messages with output that were forwarded to the client. Streams only. */
  readonly outputMessages: number | undefined;
  /** Body bytes received from the client. */
  readonly requestBytes: number;
  /** Body bytes forwarded to the client. */
  readonly responseBytes: number;
  /** The response has token counts if it is complete. */
  readonly usageExpected: boolean;
  readonly report: Readonly<Report>;
  /** The reported counts and durations, but the total, are of the second of two runs: thinking and a format. */
  readonly hasTwoRuns: boolean;
  /** The reported prompt tokens are an estimate from before the prompt was evaluated. */
  readonly hasEstimatedPrompt: boolean;
  /** The request was rejected since its prompt does not fit into the context (docs/ollama-api.md 4.1). */
  readonly isContextExceeded: boolean;
  /** Messages that could not be parsed. */
  readonly parseErrors: ParseErrorCounts;
  readonly upstreamError: UpstreamError | undefined;
  /** Trace id of the request, 32 hexadecimal digits (W3C Trace Context, `traceparent`). */
  readonly traceId: string | undefined;
}

/** What became of prompts that did not fit into the context. */
export const OVERFLOWS = ["truncated", "rejected"] as const;
/** What became of a prompt that did not fit into the context. */
export type Overflow = typeof OVERFLOWS[number];

/** What is known of the context of one request. */
export interface ContextFinding {
  /** The model's name as the response spells it, or else the request; `undefined` where neither has one. */
  readonly model: string | undefined;
  readonly api: Api;
  /**
   * Prompt and generated tokens by the context length, 1 for a prompt that was cut. Above 1 if the model generated
   * beyond the context, which Ollama shifts then. `undefined` for a rejected prompt.
   */
  readonly usedRatio: number | undefined;
  /** `undefined` if the prompt fit, as far as one can see. */
  readonly overflow: Overflow | undefined;
}

/** A measured request that has not ended. Its owner updates it; gauges and the status page read it. */
export interface OpenRequest {
  readonly api: Api;
  /** The model that the request names, once that is known. */
  readonly model: string | undefined;
  /** As in {@linkcode Observation}. */
  readonly client: string | undefined;
  /** No byte of the response has been received. */
  waiting: boolean;
}

/** Streams past their first byte. */
export interface OpenStreams {
  /** The first byte of a stream was received. */
  add(open: OpenRequest): void;
  /** A request has ended. It need not have been added. */
  delete(open: OpenRequest): void;
}

/** A load of a model. */
export interface ModelLoad {
  /** The model's name, as the response or else the request spells it. */
  readonly model: string;
  readonly cause: LoadCause;
}

/** Consumes observations: called once per request. What it throws is logged and counted. */
export type Observe = (observation: Observation) => void;

/** A report in which nothing is reported. */
export function emptyReport(): Report {
  return {
    model: undefined,
    finishReason: undefined,
    promptTokens: undefined,
    cachedTokens: undefined,
    outputTokens: undefined,
    toolCalls: undefined,
    totalSeconds: undefined,
    loadSeconds: undefined,
    promptEvalSeconds: undefined,
    evalSeconds: undefined,
    transferBytes: undefined,
  };
}

/** Output tokens and the time that their generation took. Both quotients of the two are finite and positive. */
export interface Generation {
  readonly tokens: number;
  readonly seconds: number;
}

/** Minimum number of output tokens that have a speed. */
const MIN_SPEED_TOKENS = 2;

/**
 * Returns the generation of a response, as reported by the server. For a stream without reported durations it is
 * measured: the tokens after the first, and the time from the first output to the last.
 *
 * What the server reports is taken as it is, so that speeds equal those of `ollama run --verbose`, although Ollama 0.30
 * and later give n tokens the time of n - 1 (docs/ollama-api.md 8.3). For one token nothing is left of that time.
 *
 * @returns `undefined` if no speed follows from what is known.
 */
export function generationOf(observation: Observation): Generation | undefined {
  const { report, firstOutputSeconds, lastOutputSeconds } = observation;
  let tokens = report.outputTokens ?? 0;
  if (tokens < MIN_SPEED_TOKENS) return undefined;
  let seconds = report.evalSeconds;
  if (seconds === undefined) {
    if (firstOutputSeconds === undefined || lastOutputSeconds === undefined) return undefined;
    tokens -= 1;
    seconds = lastOutputSeconds - firstOutputSeconds;
  }
  const speed = tokens / seconds;
  return speed > 0 && Number.isFinite(speed) ? { tokens, seconds } : undefined;
}

/**
 * Returns the time that a request waited for a free slot of a loaded model: what the other reported durations leave of
 * the total, not less than 0.
 *
 * @returns `undefined` if the server did not report enough, as for embeddings, remote models and two runs.
 */
export function slotWaitSeconds({ report, hasTwoRuns }: Observation): number | undefined {
  if (hasTwoRuns) return undefined;
  // The prompt evaluation of a fully cached prompt takes no time and is not reported (docs/ollama-api.md 2.3).
  const { totalSeconds, loadSeconds, promptEvalSeconds = 0, evalSeconds } = report;
  if (totalSeconds === undefined || loadSeconds === undefined || evalSeconds === undefined) return undefined;
  return Math.max(0, totalSeconds - loadSeconds - promptEvalSeconds - evalSeconds);
}

/** A phase of a request, in chronological order. */
export type Phase =
  /** Until a runner was ready, including queueing and loading the model. */
  | "load"
  /** Waiting for a free slot of a loaded model. */
  | "wait"
  /** Prompt evaluation. */
  | "prompt"
  /** Up to the first output of a stream, if the API does not report the three phases above. */
  | "firstToken"
  /** Generation of the output. */
  | "output"
  /** Time that cannot be attributed. */
  | "other";

/** Returns the time that a request spent in each phase, in seconds. Phases that it did not have are absent. */
export function phasesOf(observation: Observation): Partial<Record<Phase, number>> {
  const { report, durationSeconds, firstOutputSeconds, lastOutputSeconds } = observation;
  const { totalSeconds, loadSeconds: load = 0, promptEvalSeconds: prompt = 0, evalSeconds: output } = report;
  if (totalSeconds !== undefined) {
    const reported = { load, prompt, ...output !== undefined && { output } };
    const wait = slotWaitSeconds(observation);
    if (wait !== undefined) return { ...reported, wait };
    return { ...reported, other: Math.max(0, totalSeconds - load - prompt - (output ?? 0)) };
  }
  if (output !== undefined) {
    const rest = Math.max(0, durationSeconds - prompt - output);
    return firstOutputSeconds === undefined ? { prompt, output, other: rest } : { prompt, output, firstToken: rest };
  }
  if (firstOutputSeconds === undefined || lastOutputSeconds === undefined) return { other: durationSeconds };
  return {
    firstToken: firstOutputSeconds,
    output: lastOutputSeconds - firstOutputSeconds,
    other: Math.max(0, durationSeconds - lastOutputSeconds),
  };
}
