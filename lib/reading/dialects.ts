/**
 * Where each fact stands in each API: Ollama's routes, and one declarative table per dialect.
 *
 * A dialect knows neither HTTP nor Prometheus. It reads messages (JSON values) and fills a {@linkcode Report}. Sections
 * in the comments are those of Ollama's API as its server implements it; both the fields of release 0.33 and those that
 * later releases added are read, and all of them are optional.
 *
 * @module
 */

import { ByteSearch } from "../bytes/byte_search.ts";
import type { FinishReason, Report } from "../observation.ts";
import {
  any,
  at,
  count,
  equals,
  type FieldReader,
  filled,
  items,
  milliseconds,
  nanoseconds,
  present,
  sum,
  text,
  where,
} from "./field_readers.ts";

/**
 * Which messages need not be parsed once output has begun. Ollama writes all messages of a stream in one fixed form;
 * where the first message with output does not contain `form`, the form is another one and everything is parsed.
 */
export interface SkipRule {
  /** Part of every message that carries output and nothing else of interest. */
  readonly form: string;
  /** A message with any of these is parsed all the same. */
  readonly unless: ByteSearch;
}

/** Where the facts of a {@linkcode Report} stand in one API's messages. */
export interface Dialect extends FieldReaders {
  /** The message carries generated output: text, thinking or tool calls; not an empty delta or a bare role. */
  readonly output?: FieldReader<boolean>;
  /** The message ends its stream as it should end. */
  readonly terminal: FieldReader<boolean>;
  /** The message tells of a failure after the status line had said 200. */
  readonly failed: FieldReader<boolean>;
  /** A body that is one JSON message says that the answer was cut short. Absent: such a body is complete by its end. */
  readonly unfinished?: FieldReader<boolean>;
  /** The answer has no token counts and should have none, such as that to a request that only loads a model. */
  readonly hasNoUsage?: FieldReader<boolean>;
  /** Progress of a transfer. */
  readonly progress?: FieldReader<Progress>;
  /** Absent: every message is parsed. */
  readonly skip?: SkipRule;
  /** The answer consists of vectors, of which nothing is read. */
  readonly hasVectors?: boolean;
}

type FieldReaders = { readonly [Field in keyof Omit<Report, "transferBytes">]?: FieldReader<Report[Field]> };

/** Bytes of one layer that have been moved so far. */
export interface Progress {
  readonly digest: string;
  readonly completedBytes: number;
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

function finishReason(...paths: string[]): FieldReader<FinishReason> {
  const read = text(...paths);
  return (message) => {
    const reason = read(message);
    if (reason === undefined) return undefined;
    return Object.hasOwn(FINISH_REASON, reason) ? FINISH_REASON[reason] : "other";
  };
}

// Dialects.

/** `/api/chat` and `/api/generate` (section 2). All figures stand in the last frame, all of them left out where 0. */
export const NATIVE: Dialect = {
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
  hasNoUsage: any(equals("done_reason", "load", "unload"), present("_debug_info")),
  skip: { form: '"done":false', unless: new ByteSearch('"done":true', '"error"', '"tool_calls"') },
};

/** `/api/embed` and the older `/api/embeddings`, which says nothing but the vector (section 2.4). */
export const NATIVE_EMBED: Dialect = {
  hasVectors: true,
  model: text("model"),
  promptTokens: count("prompt_eval_count"),
  totalSeconds: nanoseconds("total_duration"),
  loadSeconds: nanoseconds("load_duration"),
  terminal: () => false,
  failed: present("error"),
  hasNoUsage: (message) => {
    const vectors = at(message, ["embeddings"]);
    return Array.isArray(vectors) && vectors.length === 0;
  },
};

/** The `timings` object of release 0.35.1 and later (section 10), in the dialects that have it. */
const TIMINGS = {
  promptEvalSeconds: milliseconds("timings.prompt_ms"),
  evalSeconds: milliseconds("timings.predicted_ms"),
} satisfies FieldReaders;

/** `/v1/chat/completions` (section 3.1). Usage stands in the last chunk, whose `choices` is empty. */
export const OPENAI_CHAT: Dialect = {
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
  skip: {
    form: '"finish_reason":null',
    unless: new ByteSearch('"finish_reason":"', '"tool_calls"', '"usage"', '"error"', "[DONE]"),
  },
};

/** `/v1/completions` (section 3.2): while streaming, every chunk but the last carries a usage of zeros. */
const COUNTED = (message: unknown): boolean => count("usage.total_tokens")(message) !== 0;
export const OPENAI_COMPLETIONS: Dialect = {
  ...OPENAI_CHAT,
  promptTokens: where(COUNTED, count("usage.prompt_tokens")),
  cachedTokens: where(COUNTED, count("usage.prompt_tokens_details.cached_tokens")),
  outputTokens: where(COUNTED, count("usage.completion_tokens")),
};

/** `/v1/embeddings` (section 3.3). */
export const OPENAI_EMBEDDINGS: Dialect = {
  hasVectors: true,
  model: text("model"),
  promptTokens: count("usage.prompt_tokens"),
  terminal: () => false,
  failed: present("error"),
};

/** `/v1/responses` (section 3.5): the facts stand in `response` of the last event, or at the top of a single body. */
export const OPENAI_RESPONSES: Dialect = {
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
  skip: {
    form: '"type":"response.',
    unless: new ByteSearch('"response.completed"', '"response.incomplete"', '"response.failed"', '"error"'),
  },
};

/**
 * `/v1/messages` (section 3.6). The usage of `message_start` is an estimate and stands under `message`, where it is not
 * read; that of `message_delta` is the truth. `input_tokens` leave out what came from the cache (section 10).
 */
export const ANTHROPIC: Dialect = {
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
  skip: {
    form: '"type":"content_block_delta"',
    unless: new ByteSearch('"message_delta"', '"message_stop"', '"tool_use"', '"error"'),
  },
};

/** `pull`, `push` and `create` (section 2.5). */
export const TRANSFER: Dialect = {
  terminal: equals("status", "success"),
  failed: present("error"),
  progress: (message) => {
    const digest = text("digest")(message);
    const completedBytes = count("completed")(message);
    return digest === undefined || completedBytes === undefined ? undefined : { digest, completedBytes };
  },
};

/** Routes under `/v1/` that we do not know: their tokens are counted where they say them. */
export const USAGE_ONLY: Dialect = {
  model: text("model"),
  promptTokens: count("usage.prompt_tokens", "usage.input_tokens"),
  outputTokens: count("usage.completion_tokens", "usage.output_tokens"),
  terminal: () => false,
  failed: present("error"),
};
