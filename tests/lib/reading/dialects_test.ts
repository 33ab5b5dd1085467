/** What each dialect makes of Ollama's answers. */

import { assertEquals } from "@std/assert";
import type { Report } from "../../../lib/observation.ts";
import { dialectOf, readAll, type Said, saidOf } from "../../support/dialect_reading.ts";
import { feed } from "../../support/framing_feed.ts";
import { readFixtures, reportOf } from "../../support/fixtures.ts";

/** The figures of all native answers, unless their name says otherwise. */
const NATIVE: Partial<Report> = {
  model: "llama3.2",
  finishReason: "stop",
  promptTokens: 26,
  outputTokens: 5,
  totalSeconds: 0.25,
  loadSeconds: 0.052,
  promptEvalSeconds: 0.13,
  evalSeconds: 0.041,
};
const MODEL: Partial<Report> = { model: "llama3.2" };
const OPENAI: Partial<Report> = { ...MODEL, finishReason: "stop", promptTokens: 26, outputTokens: 5 };
const TIMINGS: Partial<Report> = { promptEvalSeconds: 0.13, evalSeconds: 0.041 };
const RESPONSES: Partial<Report> = { ...OPENAI, cachedTokens: 0 };
const TOOLS: Partial<Report> = { finishReason: "tool_calls", toolCalls: 2 };
const PULLED_BYTES = 1321082688 + 7711;

const END: Said = { terminal: true };
const STREAM: Said = { terminal: true, outputs: 5 };

/** The report of each fixture, and what else it says. A new fixture needs its row; recordings say themselves. */
const EXPECTED: Record<string, readonly [Partial<Report>, Said]> = {
  "chat_cached.json": [{ ...NATIVE, cachedTokens: 20 }, { ...END, outputs: 1 }],
  "chat_incomplete.json": [MODEL, { unfinished: true, outputs: 1 }],
  "chat_stream_cached.ndjson": [{ ...NATIVE, cachedTokens: 20 }, STREAM],
  "chat_stream_cached_zero.ndjson": [{ ...NATIVE, cachedTokens: 0 }, STREAM],
  "chat_stream_final_text.ndjson": [{ ...NATIVE, outputTokens: 6 }, { ...END, outputs: 6 }],
  "chat_stream_incomplete.ndjson": [MODEL, { unfinished: true, outputs: 3 }],
  "chat_stream_malformed.ndjson": [NATIVE, { ...STREAM, parseErrors: { invalid_json: 1 } }],
  "chat_stream_no_final_newline.ndjson": [NATIVE, STREAM],
  "chat_stream_no_usage.ndjson": [{ ...MODEL, finishReason: "stop" }, STREAM],
  "chat_stream_remote.ndjson": [{ ...NATIVE, totalSeconds: 0.198, loadSeconds: undefined }, STREAM],
  "chat_stream_tools_in_final.ndjson": [{ ...NATIVE, ...TOOLS, outputTokens: 6 }, { ...END, outputs: 6 }],
  "chat_stream_unknown_fields.ndjson": [NATIVE, STREAM],
  "chat_stream_zero_fields.ndjson": [
    { ...NATIVE, totalSeconds: 0.12, promptEvalSeconds: undefined, outputTokens: undefined },
    STREAM,
  ],
  "error_401.json": [{}, { failed: true }],

  "generate_incomplete.json": [MODEL, { unfinished: true, outputs: 1 }],
  "generate_stream_big_context.ndjson": [NATIVE, STREAM],
  "generate_stream_error.ndjson": [MODEL, { failed: true, outputs: 2 }],
  "generate_stream_error_at_end.ndjson": [MODEL, { failed: true, outputs: 5 }],
  "generate_stream_incomplete.ndjson": [MODEL, { unfinished: true, outputs: 3 }],

  "openai_chat_cached.json": [{ ...OPENAI, ...TIMINGS, cachedTokens: 20 }, {}],
  "openai_chat_tools.json": [{ ...OPENAI, ...TOOLS, outputTokens: 6 }, {}],
  "openai_chat_stream_incomplete.sse": [MODEL, { outputs: 3, unfinished: true }],
  "openai_chat_stream_usage_cached.sse": [{ ...OPENAI, ...TIMINGS, cachedTokens: 20 }, STREAM],
  "openai_chat_stream_usage_length.sse": [{ ...OPENAI, finishReason: "length" }, STREAM],
  "openai_chat_stream_usage_thinking.sse": [{ ...OPENAI, outputTokens: 7 }, { ...END, outputs: 7 }],
  "openai_chat_stream_usage_tools.sse": [{ ...OPENAI, ...TOOLS, outputTokens: 6 }, { ...END, outputs: 6 }],
  "openai_error_401.json": [{}, { failed: true }],
  "openai_error_500.json": [{}, { failed: true }],

  "responses_tools.json": [{ ...RESPONSES, ...TOOLS, outputTokens: 8 }, {}],
  "responses_stream_cached.sse": [{ ...RESPONSES, cachedTokens: 20 }, STREAM],
  "responses_stream_thinking_tools.sse": [{ ...RESPONSES, ...TOOLS, outputTokens: 8 }, { ...END, outputs: 9 }],

  "messages_cached.json": [{ ...OPENAI, cachedTokens: 20 }, {}],
  "messages_tools.json": [{ ...OPENAI, ...TOOLS, outputTokens: 8 }, {}],
  "messages_error_401.json": [{}, { failed: true }],
  "messages_error_500.json": [{}, { failed: true }],
  "messages_stream_cached.sse": [{ ...OPENAI, cachedTokens: 20 }, STREAM],
  "messages_stream_thinking_tools.sse": [{ ...OPENAI, ...TOOLS, outputTokens: 8 }, { ...END, outputs: 9 }],

  "pull.json": [{}, END],
  "pull_stream.ndjson": [{ transferBytes: PULLED_BYTES }, END],
  "pull_stream_error.ndjson": [{ transferBytes: 880721792 }, { failed: true }],
  "push_stream.ndjson": [{ transferBytes: PULLED_BYTES }, END],
};

Deno.test("Dialects read the figures of every fixture", async () => {
  const fixtures = readFixtures().filter(({ isRecorded }) => !isRecorded);
  assertEquals(Object.keys(EXPECTED).sort(), fixtures.map(({ name }) => name).sort(), "the table has a row for each");
  for (const { name, kind, endpoint, bytes } of fixtures) {
    const { skip: _, ...dialect } = dialectOf(endpoint.route);
    const collected = await feed([bytes], { kind, dialect });
    const outputs = collected.messages.filter((message) => dialect.output?.(message)).length;
    const [fields, said] = EXPECTED[name] ?? [];
    assertEquals(collected.report, reportOf(fields ?? {}), name);
    assertEquals(saidOf(collected, outputs), said, name);
  }
});

/** The start of a message of Anthropic's, with all members of usage that are of the prompt. */
const ESTIMATE = {
  type: "message_start",
  message: { usage: { input_tokens: 9, cache_creation_input_tokens: 4, cache_read_input_tokens: 2 } },
};

/** Messages that the fixtures do not have, and what comes of them: the path, what it is, the messages. */
const MORE: [path: string, what: string, messages: unknown[], fields: Partial<Report>, said: Said][] = [
  ["/api/chat", "a render for debugging", [{ model: "m", done: false, _debug_info: {} }], { model: "m" }, {
    noUsage: true,
  }],
  ["/api/chat", "a reason that nobody knows", [{ done: true, done_reason: "moon" }], { finishReason: "other" }, END],
  ["/api/chat", "a reason called constructor", [{ done_reason: "constructor" }], { finishReason: "other" }, {}],
  [
    "/api/chat",
    "tool calls in two messages",
    [
      { message: { tool_calls: [{ function: {} }] }, done: false },
      { message: { tool_calls: [{ function: {} }, { function: {} }] }, done: false },
      { done: true, done_reason: "stop" },
    ],
    { finishReason: "tool_calls", toolCalls: 3 },
    { ...END, outputs: 2 },
  ],
  [
    "/api/chat",
    "a tool call in an answer that is too long",
    [
      { message: { tool_calls: [{ function: {} }] }, done: true, done_reason: "length" },
    ],
    { finishReason: "length", toolCalls: 1 },
    { ...END, outputs: 1 },
  ],
  ["/api/chat", "a duration of 0, omitted by a local model", [{ done: true, load_duration: 1e9, eval_count: 1 }], {
    loadSeconds: 1,
    outputTokens: 1,
    evalSeconds: 0,
  }, END],
  ["/api/chat", "the load of a message that is not the last", [{ done: false, load_duration: 1e9 }], {
    loadSeconds: 1,
  }, { unfinished: true }],
  ["/api/generate", "fields of 0", [{ done: true, eval_count: 0, eval_duration: 0 }], {
    outputTokens: 0,
    evalSeconds: 0,
  }, END],
  ["/api/generate", "an empty error is one", [{ error: "" }], {}, { failed: true }],
  ["/api/generate", "no error is none", [{ error: null, done: true }], {}, END],
  [
    "/v1/chat/completions",
    "usage: null on every chunk",
    [
      { choices: [{ delta: { content: "a" }, finish_reason: null }], usage: null },
      { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2 } },
      "[DONE]",
    ],
    { promptTokens: 1, outputTokens: 2 },
    { ...END, outputs: 1 },
  ],
  [
    "/v1/chat/completions",
    "an answer that repeated itself",
    [{
      choices: [{ message: { content: "a a a" }, finish_reason: null }],
      usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    }],
    {},
    { unfinished: true },
  ],
  [
    "/v1/completions",
    "an answer that repeated itself",
    [{
      choices: [{ text: "a a a", finish_reason: null }],
      usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    }],
    {},
    { outputs: 1, unfinished: true },
  ],
  ["/v1/chat/completions", "a role only", [{ choices: [{ delta: { role: "assistant", content: "" } }] }], {}, {}],
  [
    "/v1/chat/completions",
    "a tool call in fragments",
    [
      { choices: [{ delta: { tool_calls: [{ index: 0, function: { name: "f", arguments: "" } }] } }] },
      { choices: [{ delta: { tool_calls: [{ index: 0, function: { arguments: "{}" } }] } }] },
    ],
    { toolCalls: 1 },
    { outputs: 2 },
  ],
  ["/v1/chat/completions", "another name of thinking", [{ choices: [{ delta: { reasoning_content: "a" } }] }], {}, {
    outputs: 1,
  }],
  ["/v1/completions", "an answer of no tokens", [{
    usage: { prompt_tokens: 4, completion_tokens: 0, total_tokens: 4 },
  }], {
    promptTokens: 4,
    outputTokens: 0,
  }, {}],
  [
    "/v1/responses",
    "an answer that is too long",
    [
      { response: { status: "incomplete", usage: { output_tokens: 3 } }, type: "response.incomplete" },
    ],
    { finishReason: "length", outputTokens: 3 },
    END,
  ],
  [
    "/v1/responses",
    "an answer that repeated itself",
    [{
      object: "response",
      status: "completed",
      usage: { input_tokens: 0, output_tokens: 0, total_tokens: 0 },
    }],
    { finishReason: "stop" },
    {},
  ],
  ["/v1/responses", "a failure", [{ response: { status: "failed" }, type: "response.failed" }], {
    finishReason: "other",
  }, { terminal: true, failed: true }],
  ["/v1/responses", "a failure that is no stream", [{ object: "response", status: "failed" }], {
    finishReason: "other",
  }, { failed: true }],
  [
    "/v1/responses",
    "a status in the middle",
    [{ response: { status: "completed" }, type: "response.in_progress" }],
    {},
    {},
  ],
  ["/v1/messages", "an estimate without an end", [ESTIMATE], {}, {}],
  ["/v1/messages", "an estimate, and an end without prompt tokens", [ESTIMATE, { usage: { output_tokens: 2 } }], {
    promptTokens: 15,
    outputTokens: 2,
  }, { estimated: true }],
  [
    "/v1/messages",
    "an estimate, and an end with prompt tokens",
    [ESTIMATE, { usage: { input_tokens: 0, output_tokens: 2 } }],
    { promptTokens: 0, outputTokens: 2 },
    {},
  ],
  [
    "/v1/messages",
    "cached tokens are added",
    [{ usage: { input_tokens: 3, cache_read_input_tokens: 4, cache_creation_input_tokens: 5 } }],
    { promptTokens: 12, cachedTokens: 4 },
    {},
  ],
  ["/v1/messages", "only cached tokens", [{ usage: { cache_read_input_tokens: 4 } }], { cachedTokens: 4 }, {}],
  ["/v1/messages", "an error", [{ type: "error", error: { type: "overloaded_error" } }], {}, { failed: true }],
  ["/v1/systemone", "usage as Anthropic names it", [{ model: "m", usage: { input_tokens: 1, output_tokens: 2 } }], {
    model: "m",
    promptTokens: 1,
    outputTokens: 2,
  }, {}],
  ["/v1/systemone", "usage as OpenAI names it", [{ usage: { prompt_tokens: 1, completion_tokens: 2 } }], {
    promptTokens: 1,
    outputTokens: 2,
  }, {}],
];

Deno.test("Dialects read the figures of messages that no fixture has", async () => {
  for (const [path, what, messages, fields, said] of MORE) {
    assertEquals(await readAll(dialectOf(path), messages), [reportOf(fields), said], `${path}: ${what}`);
  }
});
