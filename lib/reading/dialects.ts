/**
 * The position of each fact in the messages of each API, as one declarative table per dialect.
 *
 * A dialect knows neither HTTP nor Prometheus. It reads messages (JSON values) and fills a {@linkcode Report}. The
 * fields of release 0.33 and of later ones are read; all of them are optional. Sections are those of
 * docs/ollama-api.md.
 *
 * @module
 */

import { ByteSearch } from "../bytes/byte_search.ts";
import { valueAt } from "../json.ts";
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
import type { SkipRule } from "./framing.ts";

/** Readers of the fields of a {@linkcode Report}, and of what else one API's messages say. */
export interface Dialect extends FieldReaders {
  /** Whether the message has generated output: text, thinking or tool calls, but not an empty delta or a bare role. */
  readonly output?: FieldReader<boolean>;
  /** Whether the message is the terminal one of its stream. */
  readonly terminal: FieldReader<boolean>;
  /** Whether the message reports a failure, after status 200. */
  readonly failed: FieldReader<boolean>;
  /** Whether a body of one JSON message reports that generation was cut short. Absent: such a body is complete. */
  readonly unfinished?: FieldReader<boolean>;
  /** Whether the message has thinking, where a request for a format makes that a run of its own. */
  readonly thinking?: FieldReader<boolean>;
  /** Whether the response rightly has no token counts, such as that to a request that only loads a model. */
  readonly hasNoUsage?: FieldReader<boolean>;
  /** Progress of a transfer. */
  readonly progress?: FieldReader<Progress>;
  /** Prompt tokens as estimated before the prompt is evaluated. They count where the end of a response has none. */
  readonly estimatedPromptTokens?: FieldReader<number>;
  /** Which messages are not parsed once output has begun. Absent: all are parsed. */
  readonly skip?: SkipRule;
}

type FieldReaders = { readonly [Field in keyof Omit<Report, "transferBytes">]?: FieldReader<Report[Field]> };

/** Progress of one layer of a transfer. */
export interface Progress {
  readonly digest: string;
  /** Bytes that are in place, including those that were before the transfer. */
  readonly completedBytes: number;
  /** Size of the layer. */
  readonly totalBytes: number | undefined;
}

/** Finish reasons of the APIs in one vocabulary. Any other is `other`. */
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

/** Whether a message is the last one of the native API. */
function isDone(message: unknown): boolean {
  return at(message, ["done"]) === true;
}

/** Whether a usage is not all zeros, as that of a response without a final record is (12). */
function isCounted(usage: string): (message: unknown) => boolean {
  const total = count(`${usage}.total_tokens`);
  return (message) => total(message) !== 0;
}

/** `/api/chat` and `/api/generate` (2). All figures are in the last message, each omitted where it is 0. */
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
  // The figures of a local model include `load_duration`; a duration of 0 is omitted (2.3).
  evalSeconds: (message) =>
    nanoseconds("eval_duration")(message) ?? (isDone(message) && present("load_duration")(message) ? 0 : undefined),
  output: filled(
    "message.content",
    "response",
    "message.thinking",
    "thinking",
    "message.tool_calls",
    "tool_calls",
  ),
  terminal: isDone,
  failed: present("error"),
  // Of `/api/chat`; `/api/generate` has one run (2.3).
  thinking: filled("message.thinking"),
  // With `_debug_render_only` the response is the rendered prompt, and `done` stays false (2.3).
  unfinished: (message) => at(message, ["done"]) === false && !present("_debug_info")(message),
  hasNoUsage: any(equals("done_reason", "load", "unload"), present("_debug_info")),
  skip: { form: new ByteSearch('"done":false'), unless: new ByteSearch('"done":true', '"error"', '"tool_calls"') },
};

/** `/api/embed` and the older `/api/embeddings`, whose response is the vector alone (2.4). */
export const NATIVE_EMBED: Dialect = {
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

/** The `timings` object of releases since 0.35.1 (10), in the dialects that have it. */
const TIMINGS = {
  promptEvalSeconds: milliseconds("timings.prompt_ms"),
  evalSeconds: milliseconds("timings.predicted_ms"),
} satisfies FieldReaders;

/** `/v1/chat/completions` (3.1) and `/v1/completions` (3.2). Usage is in the last chunk, whose `choices` is empty. */
export const OPENAI_CHAT: Dialect = {
  ...TIMINGS,
  model: text("model"),
  finishReason: finishReason("choices.0.finish_reason"),
  // In a stream of `/v1/completions`, every chunk but the last has a usage of zeros (3.2).
  promptTokens: where(isCounted("usage"), count("usage.prompt_tokens")),
  cachedTokens: where(isCounted("usage"), count("usage.prompt_tokens_details.cached_tokens")),
  outputTokens: where(isCounted("usage"), count("usage.completion_tokens")),
  // A call may be split into fragments; only the first has the name.
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
  // Stopped for repeating itself: a body whose reason is `null` (12).
  unfinished: (message) => valueAt(message, "choices", "0", "finish_reason") === null,
  skip: {
    form: new ByteSearch('"finish_reason":null'),
    unless: new ByteSearch('"finish_reason":"', '"tool_calls"', '"usage"', '"error"', "[DONE]"),
  },
};

/** `/v1/embeddings` (3.3). */
export const OPENAI_EMBEDDINGS: Dialect = {
  model: text("model"),
  promptTokens: count("usage.prompt_tokens"),
  terminal: () => false,
  failed: present("error"),
};

const IS_COUNTED_RESPONSE = (message: unknown): boolean =>
  isCounted("response.usage")(message) && isCounted("usage")(message);

/** `/v1/responses` (3.5): the facts are in `response` of the last event, or at the top level of a single body. */
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
  promptTokens: where(IS_COUNTED_RESPONSE, count("response.usage.input_tokens", "usage.input_tokens")),
  cachedTokens: where(
    IS_COUNTED_RESPONSE,
    count("response.usage.input_tokens_details.cached_tokens", "usage.input_tokens_details.cached_tokens"),
  ),
  outputTokens: where(IS_COUNTED_RESPONSE, count("response.usage.output_tokens", "usage.output_tokens")),
  toolCalls: items("type", "function_call", "response.output", "output"),
  output: filled("delta"),
  terminal: equals("type", "response.completed", "response.incomplete", "response.failed"),
  failed: any(equals("type", "response.failed", "error"), equals("status", "failed")),
  skip: {
    form: new ByteSearch(
      '"type":"response.output_text.delta"',
      '"type":"response.reasoning_summary_text.delta"',
      '"type":"response.function_call_arguments.delta"',
    ),
    unless: new ByteSearch('"response.completed"', '"response.incomplete"', '"response.failed"', '"error"'),
  },
};

/** Prompt tokens of Anthropic's usage: `input_tokens` excludes those that are written to the cache or read from it. */
function anthropicPromptTokens(usage: string): FieldReader<number> {
  return where(
    present(`${usage}.input_tokens`),
    sum(
      count(`${usage}.input_tokens`),
      count(`${usage}.cache_creation_input_tokens`),
      count(`${usage}.cache_read_input_tokens`),
    ),
  );
}

/**
 * `/v1/messages` (3.6). The usage of `message_start`, under `message`, is an estimate; that of `message_delta` is
 * exact, but may lack the prompt's tokens.
 */
export const ANTHROPIC: Dialect = {
  model: text("message.model", "model"),
  finishReason: finishReason("delta.stop_reason", "stop_reason"),
  promptTokens: anthropicPromptTokens("usage"),
  estimatedPromptTokens: anthropicPromptTokens("message.usage"),
  cachedTokens: count("usage.cache_read_input_tokens"),
  outputTokens: count("usage.output_tokens"),
  toolCalls: (message) =>
    equals("content_block.type", "tool_use")(message) ? 1 : items("type", "tool_use", "content")(message),
  output: filled("delta.text", "delta.thinking", "delta.partial_json"),
  terminal: equals("type", "message_stop"),
  failed: equals("type", "error"),
  skip: {
    form: new ByteSearch('"type":"content_block_delta"'),
    unless: new ByteSearch('"message_delta"', '"message_stop"', '"tool_use"', '"error"'),
  },
};

/** `create` (2.5). Its progress is that of a validation: the bytes came by `/api/blobs`. */
export const CREATE: Dialect = {
  terminal: equals("status", "success"),
  failed: present("error"),
};

/** `pull` and `push` (2.5). */
export const TRANSFER: Dialect = {
  ...CREATE,
  progress: (message) => {
    const digest = text("digest")(message);
    const totalBytes = count("total")(message);
    // 0 is omitted.
    const completedBytes = count("completed")(message) ?? (totalBytes === undefined ? undefined : 0);
    return digest === undefined || completedBytes === undefined ? undefined : { digest, completedBytes, totalBytes };
  },
};

/** Unknown routes under `/v1/`: their tokens are counted where they report them. */
export const USAGE_ONLY: Dialect = {
  model: text("model"),
  promptTokens: count("usage.prompt_tokens", "usage.input_tokens"),
  outputTokens: count("usage.completion_tokens", "usage.output_tokens"),
  terminal: () => false,
  failed: present("error"),
};
