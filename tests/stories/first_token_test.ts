/** Time to first token in each API: thinking, reasoning and tool calls are output, empty deltas are not. */

import { assertEquals, assertGreaterOrEqual, assertLess } from "@std/assert";
import type { Api } from "../../lib/observation.ts";
import { ENDPOINTS } from "../../lib/reading/endpoints.ts";
import { apiRequest } from "../support/api_requests.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { startExporter } from "../support/helpers.ts";

/** Silence between the tested messages and the rest of the response, which always has output. */
const SILENCE_MS = 600;
/**
 * Lower limit for the measured silence: a busy machine may read the first message late. Without silence it is close to
 * 0.
 */
const SILENCE_SECONDS = SILENCE_MS / 3 / 1000;

/** Stream of an API: first messages with output or without, and what follows them. */
interface Stream {
  readonly api: Api;
  /** First messages without output, by name. */
  readonly silent: Record<string, readonly unknown[]>;
  /** First messages of which the last has output, by name. */
  readonly spoken: Record<string, readonly unknown[]>;
  /** Output and the regular end of the stream. */
  readonly rest: readonly unknown[];
}

const delta = (delta: unknown, finish: string | null = null) => ({
  model: "llama3.2",
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const chat = (message: unknown, rest: unknown = { done: false }) => ({ model: "llama3.2", message, ...rest as object });
const generated = (fields: unknown) => ({ model: "llama3.2", ...fields as object, done: false });
const text = (text: string, finish: string | null = null) => ({
  model: "llama3.2",
  choices: [{ text, index: 0, finish_reason: finish }],
});
const event = (type: string, fields: unknown = {}) => ({ ...fields as object, type });
const block = (fields: unknown) => event("content_block_delta", { index: 0, delta: fields });
const CALL = { id: "call_1", function: { name: "f", arguments: {} } };
const STARTED = event("message_start", { message: { model: "llama3.2", content: [], usage: { input_tokens: 21 } } });
const CREATED = event("response.created", { response: { model: "llama3.2", status: "in_progress", output: [] } });

const STREAMS: Stream[] = [
  {
    api: "chat",
    silent: {
      "an empty message": [chat({ role: "assistant", content: "" })],
      "an empty list of tool calls": [chat({ role: "assistant", content: "", tool_calls: [] })],
      "no message": [chat(undefined)],
    },
    spoken: {
      "text": [chat({ role: "assistant", content: "Hi" })],
      "thinking": [chat({ role: "assistant", content: "", thinking: "Hm" })],
      "tool calls": [chat({ role: "assistant", content: "", tool_calls: [CALL] })],
    },
    rest: [chat({ content: "Hi" }), chat({ content: "" }, { done: true, done_reason: "stop" })],
  },
  {
    api: "generate",
    silent: { "an empty response": [generated({ response: "" })] },
    spoken: {
      "text": [generated({ response: "Hi" })],
      "thinking": [generated({ response: "", thinking: "Hm" })],
      "tool calls": [generated({ response: "", tool_calls: [CALL] })],
    },
    rest: [generated({ response: "Hi" }), { model: "llama3.2", response: "", done: true, done_reason: "stop" }],
  },
  {
    api: "openai_chat",
    silent: {
      "a role only": [delta({ role: "assistant" })],
      "a role and empty text": [delta({ role: "assistant", content: "" })],
      "an empty delta": [delta({})],
      "no choice": [{ model: "llama3.2", choices: [] }],
      "nulls": [delta({ role: "assistant", content: null, reasoning: null, tool_calls: null })],
    },
    spoken: {
      "text": [delta({ role: "assistant", content: "Hi" })],
      "reasoning": [delta({ role: "assistant", content: "", reasoning: "Hm" })],
      "reasoning by its other name": [delta({ content: "", reasoning_content: "Hm" })],
      "tool calls": [delta({ role: "assistant", content: "", tool_calls: [CALL] })],
    },
    rest: [delta({ content: "Hi" }), delta({}, "stop"), "[DONE]"],
  },
  {
    api: "openai_completions",
    silent: { "empty text": [text("")] },
    spoken: { "text": [text("Hi")] },
    rest: [text("Hi"), text("", "stop"), "[DONE]"],
  },
  {
    api: "openai_responses",
    silent: {
      "the beginning of a message": [
        CREATED,
        event("response.in_progress", { response: { status: "in_progress", output: [] } }),
        event("response.output_item.added", { item: { type: "message", content: [] } }),
        event("response.content_part.added", { part: { type: "output_text", text: "" } }),
        event("response.output_text.delta", { delta: "" }),
      ],
    },
    spoken: {
      "text": [CREATED, event("response.output_text.delta", { delta: "Hi" })],
      "reasoning": [CREATED, event("response.reasoning_summary_text.delta", { delta: "Hm" })],
      "a tool call": [CREATED, event("response.function_call_arguments.delta", { delta: "{}" })],
    },
    rest: [
      event("response.output_text.delta", { delta: "Hi" }),
      event("response.completed", { response: { model: "llama3.2", status: "completed", output: [] } }),
    ],
  },
  {
    api: "anthropic_messages",
    silent: {
      "the beginning of a message": [
        STARTED,
        event("ping"),
        event("content_block_start", { content_block: { type: "text", text: "" } }),
        block({ type: "text_delta", text: "" }),
      ],
    },
    spoken: {
      "text": [STARTED, block({ type: "text_delta", text: "Hi" })],
      "thinking": [STARTED, block({ type: "thinking_delta", thinking: "Hm" })],
      "a tool call": [STARTED, block({ type: "input_json_delta", partial_json: "{}" })],
    },
    rest: [
      block({ type: "text_delta", text: "Hi" }),
      event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { input_tokens: 1, output_tokens: 1 } }),
      event("message_stop"),
    ],
  },
];

/** Returns the seconds from the request to the first output, and from that to the end. */
async function times(api: Api, first: readonly unknown[], rest: readonly unknown[]): Promise<[number, number]> {
  const endpoint = ENDPOINTS.find((endpoint) => endpoint.api === api);
  if (endpoint === undefined) throw new Error(api);
  const isNative = endpoint.route.startsWith("/api/");
  const write = (messages: readonly unknown[]) =>
    messages.map((message) => {
      const data = typeof message === "string" ? message : JSON.stringify(message);
      return isNative ? `${data}\n` : `data: ${data}\n\n`;
    }).join("");
  await using fake = await startFakeOllama({
    script: async ({ method }, connection) => {
      if (method !== "POST") return;
      const type = isNative ? "application/x-ndjson" : "text/event-stream";
      await connection.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: ${type}\r\n\r\n${write(first)}`);
      await connection.sleep(SILENCE_MS);
      await connection.write(write(rest));
      connection.close();
    },
  });
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  const response = await fetch(exporter.url + endpoint.route, apiRequest(endpoint, true).init);
  await response.text();
  const { outcome, firstOutputSeconds = NaN, durationSeconds } = await exporter.observation();
  assertEquals(outcome, "ok");
  const scrape = await exporter.scrape();
  const labels = { model: "llama3.2:latest", api };
  assertEquals(scrape.value("ollama_time_to_first_token_seconds_count", labels), 1);
  assertEquals(scrape.value("ollama_time_to_first_token_seconds_sum", labels), firstOutputSeconds);
  return [firstOutputSeconds, durationSeconds - firstOutputSeconds];
}

for (const { api, silent, spoken, rest } of STREAMS) {
  Deno.test(`createExporter() does not count as first token of ${api}: ${Object.keys(silent).join(", ")}`, async () => {
    await Promise.all(
      Object.entries(silent).map(async ([name, messages]) => {
        const [before] = await times(api, messages, rest);
        assertGreaterOrEqual(before, SILENCE_SECONDS, name);
      }),
    );
  });

  Deno.test(`createExporter() counts as first token of ${api}: ${Object.keys(spoken).join(", ")}`, async () => {
    await Promise.all(
      Object.entries(spoken).map(async ([name, messages]) => {
        const [, after] = await times(api, messages, rest);
        assertGreaterOrEqual(after, SILENCE_SECONDS, name);
      }),
    );
  });
}

Deno.test("createExporter() measures the time per token from first to last output if the API reports no durations", async () => {
  await using fake = await startFakeOllama({ tokens: 6, tokenDelayMs: 150 });
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  for (const endpoint of ENDPOINTS.filter(({ route }) => route.startsWith("/v1/"))) {
    const { api } = endpoint;
    if (api === undefined || !STREAMS.some((stream) => stream.api === api)) continue;
    const response = await fetch(exporter.url + endpoint.route, apiRequest(endpoint, true).init);
    await response.text();
    const observation = await exporter.observation(exporter.proxied);
    const { firstOutputSeconds = NaN, lastOutputSeconds = NaN, durationSeconds, report } = observation;
    // Five of the six tokens arrive after the first.
    assertEquals(report.outputTokens, 6);
    const perToken = (lastOutputSeconds - firstOutputSeconds) / 5;
    assertGreaterOrEqual(perToken, 0.08, api);
    assertLess(lastOutputSeconds, durationSeconds, api);
    const scrape = await exporter.scrape();
    const sum = scrape.value("ollama_time_per_output_token_seconds_sum", { model: "llama3.2:latest", api });
    assertLess(Math.abs((sum ?? NaN) - perToken), 1e-9);
  }
});
