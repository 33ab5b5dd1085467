/**
 * Where each fact stands in each API: Ollama's routes, and one declarative table per dialect.
 *
 * A dialect knows neither HTTP nor Prometheus. It reads messages (JSON values) and fills a {@linkcode Report}. Sections
 * in the comments are those of Ollama's API as its server implements it; both the fields of release 0.33 and those that
 * later releases added are read, and all of them are optional.
 *
 * @module
 */

import { Needles } from "./needles.ts";
import type { Api, FinishReason, Operation, Report } from "./observation.ts";
import {
  any,
  at,
  count,
  equals,
  filled,
  items,
  milliseconds,
  nanoseconds,
  present,
  type Reader,
  sum,
  text,
  where,
} from "./readers.ts";

/**
 * Which messages need not be decoded once output has begun. Ollama writes all messages of a stream in one fixed form;
 * where the first message with output does not show `mark`, the form is another one and everything is parsed.
 */
export interface Quiet {
  /** Stands in a message that carries output and nothing else of interest. */
  readonly mark: string;
  /** A message with any of these is parsed all the same. */
  readonly alarms: Needles;
}

/** Where the facts of a {@linkcode Report} stand in one API's messages. */
export interface Dialect extends Readers {
  /** The message carries generated output: text, thinking or tool calls; not an empty delta or a bare role. */
  readonly output?: Reader<boolean>;
  /** The message ends its stream as it should end. */
  readonly terminal: Reader<boolean>;
  /** The message tells of a failure after the status line had said 200. */
  readonly failed: Reader<boolean>;
  /** A body that is one JSON message says that the answer was cut short. Absent: such a body is complete by its end. */
  readonly unfinished?: Reader<boolean>;
  /** The answer has no token counts and should have none, such as that to a request that only loads a model. */
  readonly countless?: Reader<boolean>;
  /** Progress of a transfer. */
  readonly progress?: Reader<Progress>;
  readonly quiet?: Quiet;
  /** The answer consists of vectors, of which nothing is read. */
  readonly hasVectors?: boolean;
}

type Readers = { readonly [Field in keyof Omit<Report, "transferBytes">]?: Reader<Report[Field]> };

/** Bytes of one layer that have been moved so far. */
export interface Progress {
  readonly digest: string;
  readonly completedBytes: number;
}

/** One of Ollama's routes, and how it is measured if it is. */
export interface Endpoint {
  /** Path template, the value of the `route` label. */
  readonly route: string;
  /** Set for the measured inference endpoints. */
  readonly api?: Api;
  /** Set for transfers. */
  readonly operation?: Operation;
  /** How to read its answers. Absent: bytes and times are all that is measured. */
  readonly dialect?: Dialect;
  /** A complete answer carries token counts. */
  readonly hasUsage?: boolean;
  /** The request's body is JSON and names the model. */
  readonly hasJsonRequest?: boolean;
  /** A stream carries token counts only if the request asks for them. */
  readonly asksForUsage?: boolean;
}

/** What the APIs call it, and what we call it. Whatever else an API says is `other`. */
const FINISH_REASON: Readonly<Record<string, FinishReason>> = {
  stop: "stop",
  end_turn: "stop",
  stop_sequence: "stop",
  completed: "stop",
  length: "length",
  max_tokens: "length",
  incomplete: "length",
  tool_calls: "tool_calls",
  tool_use: "tool_calls",
  load: "load",
  unload: "unload",
};

function finishReason(...paths: string[]): Reader<FinishReason> {
  const read = text(...paths);
  return (message) => {
    const reason = read(message);
    if (reason === undefined) return undefined;
    return Object.hasOwn(FINISH_REASON, reason) ? FINISH_REASON[reason] : "other";
  };
}

// Dialects.

/** `/api/chat` and `/api/generate` (section 2). All figures stand in the last frame, all of them left out where 0. */
const NATIVE: Dialect = {
  model: text("model"),
  finishReason: finishReason("done_reason"),
  promptTokens: count("prompt_eval_count"),
  cachedTokens: count("prompt_eval_cached_count"),
  outputTokens: count("eval_count"),
  toolCalls: items("function", undefined, "message.tool_calls", "tool_calls"),
  totalSeconds: nanoseconds("total_duration"),
  loadSeconds: nanoseconds("load_duration"),
  promptEvalSeconds: nanoseconds("prompt_eval_duration"),
  evalSeconds: nanoseconds("eval_duration"),
  output: filled(
    "message.content",
    "response",
    "message.thinking",
    "thinking",
    "message.tool_calls",
    "tool_calls",
  ),
  terminal: equals("done", true),
  failed: present("error"),
  // With `_debug_render_only` the answer is the rendered prompt, `done` stays false (section 2.3).
  unfinished: (message) => at(message, ["done"]) === false && !present("_debug_info")(message),
  countless: any(equals("done_reason", "load", "unload"), present("_debug_info")),
  quiet: { mark: '"done":false', alarms: new Needles('"done":true', '"error"', '"tool_calls"') },
};

/** `/api/embed` and the older `/api/embeddings`, which says nothing but the vector (section 2.4). */
const NATIVE_EMBED: Dialect = {
  hasVectors: true,
  model: text("model"),
  promptTokens: count("prompt_eval_count"),
  totalSeconds: nanoseconds("total_duration"),
  loadSeconds: nanoseconds("load_duration"),
  terminal: () => false,
  failed: present("error"),
  countless: (message) => {
    const vectors = at(message, ["embeddings"]);
    return Array.isArray(vectors) && vectors.length === 0;
  },
};

/** The `timings` object of release 0.35.1 and later (section 10), in the dialects that have it. */
const TIMINGS = {
  promptEvalSeconds: milliseconds("timings.prompt_ms"),
  evalSeconds: milliseconds("timings.predicted_ms"),
} satisfies Readers;

/** `/v1/chat/completions` (section 3.1). Usage stands in the last chunk, whose `choices` is empty. */
const OPENAI_CHAT: Dialect = {
  ...TIMINGS,
  model: text("model"),
  finishReason: finishReason("choices.0.finish_reason"),
  promptTokens: count("usage.prompt_tokens"),
  cachedTokens: count("usage.prompt_tokens_details.cached_tokens"),
  outputTokens: count("usage.completion_tokens"),
  // A call may come in fragments; only its first one has the name.
  toolCalls: items(
    "function.name",
    undefined,
    "choices.0.delta.tool_calls",
    "choices.0.message.tool_calls",
  ),
  output: filled(
    "choices.0.delta.content",
    "choices.0.delta.reasoning",
    "choices.0.delta.reasoning_content",
    "choices.0.delta.tool_calls",
    "choices.0.text",
  ),
  terminal: (message) => message === "[DONE]",
  failed: present("error"),
  quiet: {
    mark: '"finish_reason":null',
    alarms: new Needles('"finish_reason":"', '"tool_calls"', '"usage"', '"error"', "[DONE]"),
  },
};

/** `/v1/completions` (section 3.2): while streaming, every chunk but the last carries a usage of zeros. */
const COUNTED = (message: unknown): boolean => count("usage.total_tokens")(message) !== 0;
const OPENAI_COMPLETIONS: Dialect = {
  ...OPENAI_CHAT,
  promptTokens: where(COUNTED, count("usage.prompt_tokens")),
  cachedTokens: where(COUNTED, count("usage.prompt_tokens_details.cached_tokens")),
  outputTokens: where(COUNTED, count("usage.completion_tokens")),
};

/** `/v1/embeddings` (section 3.3). */
const OPENAI_EMBEDDINGS: Dialect = {
  hasVectors: true,
  model: text("model"),
  promptTokens: count("usage.prompt_tokens"),
  terminal: () => false,
  failed: present("error"),
};

/** `/v1/responses` (section 3.5): the facts stand in `response` of the last event, or at the top of a single body. */
const OPENAI_RESPONSES: Dialect = {
  ...TIMINGS,
  model: text("response.model", "model"),
  finishReason: where(
    any(
      equals("type", "response.completed", "response.incomplete", "response.failed"),
      equals("object", "response"),
    ),
    finishReason("response.status", "status"),
  ),
  promptTokens: count("response.usage.input_tokens", "usage.input_tokens"),
  cachedTokens: count(
    "response.usage.input_tokens_details.cached_tokens",
    "usage.input_tokens_details.cached_tokens",
  ),
  outputTokens: count("response.usage.output_tokens", "usage.output_tokens"),
  toolCalls: items("type", "function_call", "response.output", "output"),
  output: filled("delta"),
  terminal: equals("type", "response.completed", "response.incomplete", "response.failed"),
  failed: any(equals("type", "response.failed", "error"), equals("status", "failed")),
  quiet: {
    mark: '"type":"response.',
    alarms: new Needles('"response.completed"', '"response.incomplete"', '"response.failed"', '"error"'),
  },
};

/**
 * `/v1/messages` (section 3.6). The usage of `message_start` is an estimate and stands under `message`, where it is not
 * read; that of `message_delta` is the truth. `input_tokens` leave out what came from the cache (section 10).
 */
const ANTHROPIC: Dialect = {
  model: text("message.model", "model"),
  finishReason: finishReason("delta.stop_reason", "stop_reason"),
  promptTokens: sum(count("usage.input_tokens"), count("usage.cache_read_input_tokens")),
  cachedTokens: count("usage.cache_read_input_tokens"),
  outputTokens: count("usage.output_tokens"),
  toolCalls: (message) =>
    equals("content_block.type", "tool_use")(message) ? 1 : items("type", "tool_use", "content")(message),
  output: filled("delta.text", "delta.thinking", "delta.partial_json"),
  terminal: equals("type", "message_stop"),
  failed: equals("type", "error"),
  quiet: {
    mark: '"type":"content_block_delta"',
    alarms: new Needles('"message_delta"', '"message_stop"', '"tool_use"', '"error"'),
  },
};

/** `pull`, `push` and `create` (section 2.5). */
const TRANSFER: Dialect = {
  terminal: equals("status", "success"),
  failed: present("error"),
  progress: (message) => {
    const digest = text("digest")(message);
    const completedBytes = count("completed")(message);
    return digest === undefined || completedBytes === undefined ? undefined : { digest, completedBytes };
  },
};

/** Routes under `/v1/` that we do not know: their tokens are counted where they say them. */
const USAGE_ONLY: Dialect = {
  model: text("model"),
  promptTokens: count("usage.prompt_tokens", "usage.input_tokens"),
  outputTokens: count("usage.completion_tokens", "usage.output_tokens"),
  terminal: () => false,
  failed: present("error"),
};

// Endpoints.

/** Every route that is measured, in the order of the README's table. They are measured for POST only. */
export const ENDPOINTS: readonly Endpoint[] = [
  inference("/api/chat", "chat", NATIVE),
  inference("/api/generate", "generate", NATIVE),
  inference("/api/embed", "embed", NATIVE_EMBED),
  { ...inference("/api/embeddings", "embeddings", NATIVE_EMBED), hasUsage: false },
  { ...inference("/v1/chat/completions", "openai_chat", OPENAI_CHAT), asksForUsage: true },
  { ...inference("/v1/completions", "openai_completions", OPENAI_COMPLETIONS), asksForUsage: true },
  inference("/v1/embeddings", "openai_embeddings", OPENAI_EMBEDDINGS),
  inference("/v1/responses", "openai_responses", OPENAI_RESPONSES),
  // Text without usage, whatever its content type says (section 3.7): there is nothing to read.
  { route: "/v1/audio/transcriptions", api: "openai_transcriptions" },
  inference("/v1/messages", "anthropic_messages", ANTHROPIC),
  { route: "/api/pull", operation: "pull", dialect: TRANSFER },
  { route: "/api/push", operation: "push", dialect: TRANSFER },
  { route: "/api/create", operation: "create", dialect: TRANSFER },
];

function inference(route: string, api: Api, dialect: Dialect): Endpoint {
  return { route, api, dialect, hasUsage: true, hasJsonRequest: true };
}

/** Ollama's other routes (section 1). A segment that begins with a colon stands for any one segment. */
const OTHER_ROUTES = [
  "/",
  "/api/version",
  "/api/status",
  "/api/ps",
  "/api/tags",
  "/api/show",
  "/api/copy",
  "/api/delete",
  "/api/blobs/:digest",
  "/api/me",
  "/api/signout",
  "/api/user/keys/:encodedKey",
  "/api/experimental/web_search",
  "/api/experimental/web_fetch",
  "/api/experimental/model-recommendations",
  "/v1/models",
  "/v1/models/:model",
] as const;

/** The `route` of every path that is none of Ollama's. */
const OTHER: Endpoint = { route: "other" };
const OTHER_V1: Endpoint = { route: "other", dialect: USAGE_ONLY };

const MEASURED = new Map(ENDPOINTS.map((endpoint) => [endpoint.route, endpoint]));
const UNMEASURED = new Map<string, Endpoint>(
  [...MEASURED.keys(), ...OTHER_ROUTES].map((route) => [route, { route }]),
);

/**
 * The endpoint of a request.
 *
 * @param method HTTP method; only a POST is measured.
 * @param path Path as it is sent to the upstream, percent-decoded, without the upstream's own base path and the query.
 */
export function endpointOf(method: string, path: string): Endpoint {
  if (method === "POST") {
    const endpoint = MEASURED.get(path);
    if (endpoint !== undefined) return endpoint;
  }
  const known = UNMEASURED.get(path) ?? UNMEASURED.get(template(path));
  if (known !== undefined) return known;
  return path.startsWith("/v1/") ? OTHER_V1 : OTHER;
}

/** The path with its last segment taken for a parameter, as the templates of this list have it. */
function template(path: string): string {
  const cut = path.lastIndexOf("/") + 1;
  if (cut === path.length) return "";
  switch (path.slice(0, cut)) {
    case "/api/blobs/":
      return "/api/blobs/:digest";
    case "/v1/models/":
      return "/v1/models/:model";
    case "/api/user/keys/":
      return "/api/user/keys/:encodedKey";
    default:
      return "";
  }
}
