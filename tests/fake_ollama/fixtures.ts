/**
 * The files of tests/fixtures: response bodies as Ollama sends them, for tests of framing and
 * dialects. They are made by the payload functions of the fake with a fixed clock; the test of the
 * fake compares them, and `UPDATE_GOLDEN=1 deno task test` writes them again.
 *
 * Names: `<api>.json` is the answer without a stream, `<api>_stream.ndjson` or `.sse` the streamed
 * one, then the variant. All answers of one API tell of the same generation unless the variant says
 * otherwise: 26 prompt tokens, 5 output tokens, and durations of 52 ms (load), 130 ms (prompt),
 * 41 ms (output), 250 ms (total).
 */

import { messagesAnswer } from "./anthropic.ts";
import { DEFAULT_MODELS, defaultBehaviour, type FakeBehaviour, type Fault } from "./behaviour.ts";
import { errorBody, RUNNER_STOPPED, usualMessage } from "./errors.ts";
import { goJson, type JsonObject } from "./json.ts";
import { psEntry, tagsEntry } from "./models.ts";
import {
  chatAnswer,
  embedAnswer,
  embeddingsAnswer,
  generateAnswer,
  type Generation,
  generation,
  joined,
  loadAnswer,
} from "./native.ts";
import { openaiChatAnswer, openaiCompletionAnswer, openaiEmbeddingsAnswer, openaiModelsAnswer } from "./openai.ts";
import { type Answer, messagesWithFault } from "./plan.ts";
import { concat } from "./request.ts";
import { responsesAnswer } from "./responses.ts";
import { createMessages, pullMessages, pushMessages, transferAnswer } from "./transfers.ts";

/** The folder of the fixtures. */
export const FIXTURES_URL = new URL("../fixtures/", import.meta.url);

const START_MS = Date.parse("2026-08-21T10:00:00.123Z");
const MODEL = "llama3.2";
const EMBEDDER = "nomic-embed-text";
const CALLS = [
  { name: "get_time", arguments: { tz: "Europe/Oslo" } },
  { name: "add", arguments: { a: 1, b: [2, "<3>"] } },
];
const THINKING = { thinking: 2 };
const TOOLS = { toolCalls: CALLS };
const CACHED = { cachedTokens: 20, release: "0.40" } as const;
const ERROR = { fault: { kind: "error" } } as const;
const CUT_OFF = { fault: { kind: "silent_eof", afterMessages: 3 } } as const;
/** Long enough to cross any read buffer of a test, short enough for git. */
const BIG_CONTEXT_TOKENS = 4000;

/** A body: messages of an answer with the fault of the behaviour. */
function bytes(answer: Answer, fault?: Fault): Uint8Array<ArrayBuffer> {
  return concat(messagesWithFault(answer, fault).map((message) => message.bytes));
}

/** The body that `make` gives for the default behaviour with changes. */
function made(
  make: (made: Generation, behaviour: FakeBehaviour) => Answer,
  changes: Partial<FakeBehaviour> = {},
): Uint8Array<ArrayBuffer> {
  const behaviour = { ...defaultBehaviour(), ...changes };
  const request = { model: MODEL, thinks: false, startMs: START_MS };
  const answer = make(generation(behaviour, request), behaviour);
  return bytes(answer, answer.streamed ? behaviour.fault : undefined);
}

type Files = Record<string, Uint8Array<ArrayBuffer> | string>;

/** All fixtures: file name and content. */
export function fixtures(): Files {
  return {
    ...chatFiles(),
    ...generateFiles(),
    ...embedFiles(),
    ...transferFiles(),
    ...openaiFiles(),
    ...responsesFiles(),
    ...messagesFiles(),
    ...errorFiles(),
    ...stateFiles(),
  };
}

/** `/api/chat` (docs/ollama-api.md 2.2, 2.3, 4.2, 10). */
function chatFiles(): Files {
  const stream = (changes: Partial<FakeBehaviour> = {}) => made((g) => chatAnswer(g, true), changes);
  const whole = (changes: Partial<FakeBehaviour> = {}) => made((g) => chatAnswer(g, false), changes);
  const plain = stream();
  return {
    "chat.json": whole(),
    "chat_thinking.json": whole(THINKING),
    "chat_tools.json": whole(TOOLS),
    "chat_cached.json": whole(CACHED),
    "chat_incomplete.json": whole(CUT_OFF),
    "chat_load.json": bytes(loadAnswer("chat", MODEL, "load", START_MS)),
    "chat_unload.json": bytes(loadAnswer("chat", MODEL, "unload", START_MS)),
    "chat_stream.ndjson": plain,
    "chat_stream_no_final_newline.ndjson": plain.slice(0, -1),
    "chat_stream_thinking.ndjson": stream(THINKING),
    "chat_stream_tools.ndjson": stream(TOOLS),
    "chat_stream_tools_in_final.ndjson": stream({ ...TOOLS, toolCallsInFinal: true }),
    "chat_stream_final_text.ndjson": stream({ finalText: " The end." }),
    "chat_stream_length.ndjson": stream({ finishReason: "length" }),
    "chat_stream_zero_fields.ndjson": stream({ outputTokens: 0, promptEvalNs: 0 }),
    "chat_stream_no_usage.ndjson": stream({ omitUsage: true }),
    "chat_stream_cached.ndjson": stream(CACHED),
    "chat_stream_cached_zero.ndjson": stream({ cachedTokens: 0 }),
    "chat_stream_unknown_fields.ndjson": stream({
      extraFields: { runner: "mlx", done_at: 12345678901234567890n.toString(), nested: { done: true } },
    }),
    "chat_stream_remote.ndjson": stream({
      extraFields: { remote_model: "gpt-oss:120b", remote_host: "https://ollama.com:443" },
      loadNs: 0,
    }),
    "chat_stream_error.ndjson": stream(ERROR),
    "chat_stream_incomplete.ndjson": stream(CUT_OFF),
    "chat_stream_malformed.ndjson": stream({ fault: { kind: "malformed" } }),
  };
}

/** `/api/generate` (2.2, 2.3). */
function generateFiles(): Files {
  const stream = (changes: Partial<FakeBehaviour> = {}) =>
    made((g, b) => generateAnswer(g, true, b.contextLength), changes);
  return {
    "generate.json": made((g, b) => generateAnswer(g, false, b.contextLength)),
    "generate_incomplete.json": made((g) => generateAnswer(g, false, 3), CUT_OFF),
    "generate_load.json": bytes(loadAnswer("generate", MODEL, "load", START_MS)),
    "generate_unload.json": bytes(loadAnswer("generate", MODEL, "unload", START_MS)),
    "generate_stream.ndjson": stream(),
    "generate_stream_raw.ndjson": made((g) => generateAnswer(g, true, undefined)),
    "generate_stream_thinking.ndjson": stream(THINKING),
    "generate_stream_big_context.ndjson": stream({ contextLength: BIG_CONTEXT_TOKENS }),
    "generate_stream_error.ndjson": stream(ERROR),
    "generate_stream_error_at_end.ndjson": stream({
      fault: { kind: "error", afterMessages: 5, message: "failed to tokenize" },
    }),
    "generate_stream_incomplete.ndjson": stream(CUT_OFF),
  };
}

/** Embeddings (2.4, 3.3). */
function embedFiles(): Files {
  const b = defaultBehaviour();
  return {
    "embed.json": bytes(embedAnswer(b, EMBEDDER, 2)),
    "embed_load.json": bytes(embedAnswer(b, EMBEDDER, 0)),
    "embeddings.json": bytes(embeddingsAnswer(b, false)),
    "embeddings_empty.json": bytes(embeddingsAnswer(b, true)),
    "openai_embeddings.json": bytes(openaiEmbeddingsAnswer(b, EMBEDDER, 2, false)),
    "openai_embeddings_base64.json": bytes(openaiEmbeddingsAnswer(b, EMBEDDER, 2, true)),
  };
}

/** Transfers (2.5, 4.2). */
function transferFiles(): Files {
  const b = defaultBehaviour();
  const fault = { kind: "error", afterMessages: 4 } as const;
  return {
    "pull.json": bytes(transferAnswer(pullMessages(b), false)),
    "pull_stream.ndjson": bytes(transferAnswer(pullMessages(b), true)),
    "pull_stream_error.ndjson": bytes(transferAnswer(pullMessages(b), true), fault),
    "push_stream.ndjson": bytes(transferAnswer(pushMessages(b), true)),
    "create_stream.ndjson": bytes(transferAnswer(createMessages(b), true)),
  };
}

/** OpenAI chat, completions, models, transcriptions (3.1 to 3.4, 3.7, 4.3, 10). */
function openaiFiles(): Files {
  const chat = (stream: boolean, includeUsage: boolean, changes: Partial<FakeBehaviour> = {}) =>
    made((g, b) => openaiChatAnswer(g, { stream, includeUsage, timings: b.release === "0.40" }), changes);
  const text = (stream: boolean, includeUsage: boolean, changes: Partial<FakeBehaviour> = {}) =>
    made((g) => openaiCompletionAnswer(g, { stream, includeUsage, timings: false }), changes);
  const spoken = joined(generation(defaultBehaviour(), { model: MODEL, thinks: false, startMs: START_MS })).text;
  return {
    "openai_chat.json": chat(false, false),
    "openai_chat_tools.json": chat(false, false, TOOLS),
    "openai_chat_cached.json": chat(false, false, CACHED),
    "openai_chat_stream.sse": chat(true, false),
    "openai_chat_stream_usage.sse": chat(true, true),
    "openai_chat_stream_usage_thinking.sse": chat(true, true, THINKING),
    "openai_chat_stream_usage_tools.sse": chat(true, true, TOOLS),
    "openai_chat_stream_usage_length.sse": chat(true, true, { finishReason: "length" }),
    "openai_chat_stream_usage_cached.sse": chat(true, true, CACHED),
    "openai_chat_stream_error.sse": chat(true, true, ERROR),
    "openai_chat_stream_incomplete.sse": chat(true, true, CUT_OFF),
    "openai_completions.json": text(false, false),
    "openai_completions_stream.sse": text(true, false),
    "openai_completions_stream_usage.sse": text(true, true),
    "openai_completions_stream_error.sse": text(true, true, ERROR),
    "openai_models.json": bytes(openaiModelsAnswer(DEFAULT_MODELS)),
    "openai_models_none.json": bytes(openaiModelsAnswer([])),
    "openai_transcription.json": goJson({ text: spoken }),
    "openai_transcription.txt": spoken,
  };
}

/** `/v1/responses` (3.5, 4.3). */
function responsesFiles(): Files {
  const files = (changes: Partial<FakeBehaviour> = {}) => made((g) => responsesAnswer(g, true), changes);
  return {
    "responses.json": made((g) => responsesAnswer(g, false)),
    "responses_tools.json": made((g) => responsesAnswer(g, false), { ...THINKING, ...TOOLS }),
    "responses_stream.sse": files(),
    "responses_stream_thinking_tools.sse": files({ ...THINKING, ...TOOLS }),
    "responses_stream_cached.sse": files(CACHED),
    "responses_stream_incomplete.sse": files({ fault: { kind: "error", afterMessages: 6 } }),
  };
}

/** `/v1/messages` (3.6, 4.3, 10). */
function messagesFiles(): Files {
  const make = (stream: boolean) => (g: Generation, b: FakeBehaviour) => messagesAnswer(g, stream, b.estimatedTokens);
  return {
    "messages.json": made(make(false)),
    "messages_tools.json": made(make(false), { ...THINKING, ...TOOLS }),
    "messages_cached.json": made(make(false), CACHED),
    "messages_stream.sse": made(make(true)),
    "messages_stream_thinking_tools.sse": made(make(true), { ...THINKING, ...TOOLS }),
    "messages_stream_length.sse": made(make(true), { finishReason: "length" }),
    "messages_stream_cached.sse": made(make(true), CACHED),
    "messages_stream_incomplete.sse": made(make(true), { fault: { kind: "error", afterMessages: 4 } }),
  };
}

/** Error bodies (4.1, 4.3). */
function errorFiles(): Files {
  const files: Files = { "router_404.txt": "404 page not found", "router_405.txt": "405 method not allowed" };
  for (const status of [400, 401, 404, 500, 503]) {
    const message = status === 500 ? RUNNER_STOPPED : usualMessage(status, MODEL);
    files[`error_${status}.json`] = errorBody("native", status, message);
    files[`openai_error_${status}.json`] = errorBody("openai", status, message);
    files[`messages_error_${status}.json`] = errorBody("anthropic", status, message);
  }
  return files;
}

/** State (6). */
function stateFiles(): Files {
  const b = defaultBehaviour();
  const later = { ...b, release: "0.40" } as const;
  const [llama, qwen, embedder] = DEFAULT_MODELS;
  if (llama === undefined || qwen === undefined || embedder === undefined) throw new Error("No models");
  const soon = "2026-08-21T12:05:00.123456789+02:00";
  const list = (...models: JsonObject[]) => goJson({ models });
  return {
    "version.json": goJson({ version: "0.33.0" }),
    "ps.json": list(psEntry(llama, soon, b), psEntry(qwen, "2026-08-21T12:02:00.5+02:00", b)),
    "ps_empty.json": list(),
    "ps_forever.json": list(psEntry(llama, "2318-12-01T10:11:12.345678901+01:00", b)),
    "ps_past.json": list(psEntry(llama, "2026-08-20T12:05:00.1Z", b)),
    "ps_duplicate.json": list(psEntry(llama, soon, later), { ...psEntry(llama, soon, later), runner: "mlx" }),
    "ps_no_details.json": list(psEntry({ ...llama, withoutDetails: true, loadedContext: 0 }, soon, b)),
    "ps_0_40.json": list(psEntry(llama, soon, later)),
    "ps_truncated.json": list(psEntry(llama, soon, b)).slice(0, 200),
    "tags.json": list(...DEFAULT_MODELS.map((model) => tagsEntry(model, b))),
    "tags_empty.json": list(),
    "tags_0_40.json": list(tagsEntry(llama, later), { ...tagsEntry(llama, later), runner: "mlx" }),
    "tags_remote.json": list({
      ...tagsEntry({ ...llama, name: "gpt-oss:120b-cloud", size: 384 }, b),
      remote_model: "gpt-oss:120b",
      remote_host: "https://ollama.com:443",
    }),
  };
}
