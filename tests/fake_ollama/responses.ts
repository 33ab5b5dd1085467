/**
 * Payloads of `POST /v1/responses`, streamed and not (docs/ollama-api.md 3.5). Pure functions.
 */

import { goJson, type JsonObject, sortKeys } from "./json.ts";
import { type Generation, joined, toolCallId } from "./native.ts";
import { sseAnswer } from "./openai.ts";
import { type Answer, bodyAnswer } from "./plan.ts";

const RESPONSE_ID = "resp_123";
const MS_PER_SECOND = 1000;
/** Headers of streamed responses, including errors (3.5). */
export const RESPONSES_STREAM_HEADERS: readonly (readonly [string, string])[] = [
  ["Cache-Control", "no-cache"],
  ["Connection", "keep-alive"],
];

/** Returns the answer of `/v1/responses`. */
export function responsesAnswer(made: Generation, stream: boolean): Answer {
  if (!stream) {
    const body = goJson({ ...response(made, "completed", outputs(made)), ...made.extraFields });
    return { ...bodyAnswer(200, "application/json", body + "\n"), paced: true };
  }
  const writer = new EventWriter(made.extraFields);
  const started = response(made, "in_progress", []);
  writer.add("response.created", { response: started });
  writer.add("response.in_progress", { response: started });
  reasoningEvents(made, writer);
  textEvents(made, writer);
  callEvents(made, writer);
  writer.add("response.completed", { response: response(made, "completed", outputs(made)) });
  return sseAnswer(writer.texts, (i) => writer.tokens.has(i), () => [], RESPONSES_STREAM_HEADERS);
}

/** Collects events, numbered and with sorted keys. */
class EventWriter {
  readonly texts: string[] = [];
  /** Indexes of the events that are tokens. */
  readonly tokens = new Set<number>();
  /** Index of the current output item. */
  outputIndex = 0;
  #extra: JsonObject;

  constructor(extra: JsonObject) {
    this.#extra = extra;
  }

  add(type: string, data: JsonObject, token = false): void {
    if (token) this.tokens.add(this.texts.length);
    const whole = { ...data, ...this.#extra, type, sequence_number: this.texts.length };
    this.texts.push(`event: ${type}\ndata: ${goJson(sortKeys(whole))}\n\n`);
  }
}

function reasoningEvents(made: Generation, writer: EventWriter): void {
  const thinking = joined(made).thinking;
  if (thinking === "") return;
  const at = { output_index: writer.outputIndex, item_id: "rs_123" };
  const index = { output_index: writer.outputIndex };
  const empty = { id: "rs_123", type: "reasoning", summary: [] };
  writer.add("response.output_item.added", { ...index, item: empty });
  for (const piece of made.pieces) {
    if (piece.thinking === "") continue;
    const delta = { ...at, summary_index: 0, delta: piece.thinking };
    writer.add("response.reasoning_summary_text.delta", delta, true);
  }
  writer.add("response.reasoning_summary_text.done", { ...at, summary_index: 0, text: thinking });
  writer.add("response.output_item.done", { ...index, item: reasoningItem(thinking) });
  writer.outputIndex++;
}

function textEvents(made: Generation, writer: EventWriter): void {
  const text = joined(made).text;
  if (text === "") return;
  const index = { output_index: writer.outputIndex };
  const at = { ...index, item_id: "msg_123", content_index: 0 };
  const begun = { id: "msg_123", type: "message", status: "in_progress", role: "assistant" };
  writer.add("response.output_item.added", { ...index, item: { ...begun, content: [] } });
  writer.add("response.content_part.added", { ...at, part: textPart("") });
  for (const piece of [...made.pieces, made.final]) {
    if (piece.text === "") continue;
    writer.add("response.output_text.delta", { ...at, delta: piece.text, logprobs: [] }, true);
  }
  writer.add("response.output_text.done", { ...at, text, logprobs: [] });
  writer.add("response.content_part.done", { ...at, part: textPart(text) });
  writer.add("response.output_item.done", { ...index, item: messageItem(text) });
  writer.outputIndex++;
}

function callEvents(made: Generation, writer: EventWriter): void {
  for (const item of callItems(made)) {
    const index = { output_index: writer.outputIndex };
    const at = { ...index, item_id: item["id"] };
    const begun = { ...item, status: "in_progress", arguments: "" };
    const whole = item["arguments"];
    writer.add("response.output_item.added", { ...index, item: begun }, true);
    writer.add("response.function_call_arguments.delta", { ...at, delta: whole });
    writer.add("response.function_call_arguments.done", { ...at, arguments: whole });
    writer.add("response.output_item.done", { ...index, item });
    writer.outputIndex++;
  }
}

function outputs(made: Generation): JsonObject[] {
  const whole = joined(made);
  return [
    ...(whole.thinking === "" ? [] : [reasoningItem(whole.thinking)]),
    ...(whole.text === "" ? [] : [messageItem(whole.text)]),
    ...callItems(made),
  ];
}

function textPart(text: string): JsonObject {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function reasoningItem(text: string): JsonObject {
  return { id: "rs_123", type: "reasoning", summary: [{ type: "summary_text", text }] };
}

function messageItem(text: string): JsonObject {
  const content = [textPart(text)];
  return { id: "msg_123", type: "message", status: "completed", role: "assistant", content };
}

function callItems(made: Generation): JsonObject[] {
  return joined(made).toolCalls.map((call, index) => ({
    id: `fc_${toolCallId(index)}`,
    type: "function_call",
    status: "completed",
    call_id: toolCallId(index),
    name: call.name,
    arguments: goJson(call.arguments),
  }));
}

/** Returns the response object; usage is null until completion (3.5). */
function response(
  made: Generation,
  status: "in_progress" | "completed",
  output: JsonObject[],
): JsonObject {
  const created = Math.floor(made.startMs / MS_PER_SECOND);
  const completed = status === "completed";
  return {
    id: RESPONSE_ID,
    object: "response",
    created_at: created,
    completed_at: completed ? created + 1 : null,
    status,
    incomplete_details: null,
    model: made.model,
    previous_response_id: null,
    instructions: null,
    output,
    error: null,
    tools: [],
    tool_choice: "auto",
    truncation: "disabled",
    parallel_tool_calls: true,
    text: { format: { type: "text" } },
    top_p: 1,
    presence_penalty: 0,
    frequency_penalty: 0,
    top_logprobs: 0,
    temperature: 1,
    reasoning: null,
    usage: completed && !made.omitUsage ? usage(made) : null,
    max_output_tokens: null,
    max_tool_calls: null,
    store: false,
    background: false,
    service_tier: "default",
    metadata: {},
    safety_identifier: null,
    prompt_cache_key: null,
  };
}

function usage(made: Generation): JsonObject {
  return {
    input_tokens: made.promptTokens,
    output_tokens: made.outputTokens,
    total_tokens: made.promptTokens + made.outputTokens,
    input_tokens_details: { cached_tokens: made.cachedTokens ?? 0 },
    output_tokens_details: { reasoning_tokens: 0 },
  };
}
