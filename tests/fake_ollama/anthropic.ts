/**
 * Payloads of `POST /v1/messages`, streamed and not (docs/ollama-api.md 3.6, 10). Pure functions.
 */

import { goJson, type JsonObject } from "./json.ts";
import { type Generation, joined, type Piece, toolCallId } from "./native.ts";
import { sseAnswer } from "./openai.ts";
import { type Answer, bodyAnswer } from "./plan.ts";

const MESSAGE_ID = "msg_ab12cd34ef56ab12cd34ef56";
/** Headers of streamed responses, as on /v1/responses. */
const STREAM_HEADERS: readonly (readonly [string, string])[] = [
  ["Cache-Control", "no-cache"],
  ["Connection", "keep-alive"],
];

/** Returns the answer of `/v1/messages`; `estimate` is the input token count of `message_start`. */
export function messagesAnswer(made: Generation, stream: boolean, estimate: number): Answer {
  const message = (content: JsonObject[], rest: JsonObject) => ({
    id: MESSAGE_ID,
    type: "message",
    role: "assistant",
    model: made.model,
    content,
    ...rest,
  });
  const usage = made.omitUsage ? {} : { usage: usageOf(made) };
  if (!stream) {
    const rest = { stop_reason: stopReason(made), ...usage, ...made.extraFields };
    const body = goJson(message(blocks(joined(made)), rest));
    return { ...bodyAnswer(200, "application/json", body + "\n"), paced: true };
  }
  const texts: string[] = [];
  const tokens = new Set<number>();
  const add = (type: string, data: JsonObject, token = false) => {
    if (token) tokens.add(texts.length);
    texts.push(`event: ${type}\ndata: ${goJson({ type, ...data, ...made.extraFields })}\n\n`);
  };
  const first = { usage: { input_tokens: estimate, output_tokens: 0 } };
  add("message_start", { message: message([], first) });
  let index = 0;
  let open: string | undefined;
  const turn = (kind: string | undefined, block?: JsonObject) => {
    if (open !== undefined) add("content_block_stop", { index: index++ });
    open = kind;
    if (block !== undefined) add("content_block_start", { index, content_block: block });
  };
  for (const piece of [...made.pieces, made.final]) {
    for (const block of deltas(piece)) {
      if (open !== block.kind || block.kind === "tool_use") turn(block.kind, block.start);
      add("content_block_delta", { index, delta: block.delta }, true);
    }
  }
  turn(undefined);
  add("message_delta", { delta: { stop_reason: stopReason(made) }, ...usage });
  add("message_stop", {});
  return sseAnswer(texts, (i) => tokens.has(i), () => [], STREAM_HEADERS);
}

interface Block {
  kind: "thinking" | "text" | "tool_use";
  start: JsonObject;
  delta: JsonObject;
}

/** Returns the blocks of a piece: thinking, text and tool calls, in this order. */
function deltas(piece: Piece): Block[] {
  const made: Block[] = [];
  if (piece.thinking !== "") {
    const delta = { type: "thinking_delta", thinking: piece.thinking };
    made.push({ kind: "thinking", start: { type: "thinking", thinking: "" }, delta });
  }
  if (piece.text !== "") {
    const delta = { type: "text_delta", text: piece.text };
    made.push({ kind: "text", start: { type: "text", text: "" }, delta });
  }
  for (const [index, call] of piece.toolCalls.entries()) {
    const start = { type: "tool_use", id: toolCallId(index), name: call.name, input: {} };
    const delta = { type: "input_json_delta", partial_json: goJson(call.arguments) };
    made.push({ kind: "tool_use", start, delta });
  }
  return made;
}

function blocks(whole: Piece): JsonObject[] {
  return [
    ...(whole.thinking === "" ? [] : [{ type: "thinking", thinking: whole.thinking }]),
    ...(whole.text === "" ? [] : [{ type: "text", text: whole.text }]),
    ...whole.toolCalls.map((call, index) => ({
      type: "tool_use",
      id: toolCallId(index),
      name: call.name,
      input: call.arguments,
    })),
  ];
}

function stopReason(made: Generation): string {
  if (made.doneReason === "length") return "max_tokens";
  return joined(made).toolCalls.length > 0 ? "tool_use" : "end_turn";
}

/** Returns the usage. Unlike in other APIs, input tokens exclude cached ones (10). */
function usageOf(made: Generation): JsonObject {
  const cached = made.cachedTokens;
  return {
    input_tokens: made.promptTokens - (cached ?? 0),
    output_tokens: made.outputTokens,
    ...(cached === undefined ? {} : { cache_read_input_tokens: cached }),
  };
}
