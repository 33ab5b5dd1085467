/**
 * Payloads of the OpenAI compatible routes: chat, completions, embeddings, models
 * (docs/ollama-api.md 3.1 to 3.4, 10). Pure functions.
 */

import type { FakeBehaviour, FakeModel, FakeToolCall } from "./behaviour.ts";
import { goJson, type JsonObject, utf8 } from "./json.ts";
import { embedding, type Generation, joined, type Piece, toolCallId } from "./native.ts";
import { type Answer, bodyAnswer, textMessages } from "./plan.ts";

const NS_PER_MS = 1_000_000;
const MS_PER_SECOND = 1000;
/** Ollama uses a random number from 0 to 998: ids are not unique (3.1). */
const ID_NUMBER = 123;
const FINGERPRINT = "fp_ollama";
const DONE = "data: [DONE]\n\n";
/** Content type of all SSE answers. */
export const EVENT_STREAM = "text/event-stream";

/** Optional parts of an OpenAI answer. */
export interface OpenaiOptions {
  stream: boolean;
  /** `stream_options.include_usage`. */
  includeUsage: boolean;
  /** `timings` in addition to usage (10). */
  timings: boolean;
}

/** `/v1/chat/completions` (3.1). */
export function openaiChatAnswer(made: Generation, options: OpenaiOptions): Answer {
  const created = Math.floor(made.startMs / MS_PER_SECOND);
  const envelope = (object: string, model: string, rest: JsonObject) => ({
    id: `chatcmpl-${ID_NUMBER}`,
    object,
    created,
    model,
    system_fingerprint: FINGERPRINT,
    ...rest,
    ...made.extraFields,
  });
  if (!options.stream) {
    const choice = {
      index: 0,
      message: { role: "assistant", ...openaiMessage(joined(made)) },
      finish_reason: made.cutOff ? null : finishReason(made),
    };
    const rest = { choices: [choice], ...usageFields(made, options) };
    const body = goJson(envelope("chat.completion", made.model, rest)) + "\n";
    return { ...bodyAnswer(200, "application/json", body), paced: true };
  }
  const chunk = (model: string, rest: JsonObject) => event(envelope("chat.completion.chunk", model, rest));
  const choices = (delta: JsonObject, reason: string | null) => ({
    choices: [{ index: 0, delta, finish_reason: reason }],
  });
  let role: JsonObject = { role: "assistant" };
  const texts: string[] = [];
  for (const piece of visiblePieces(made)) {
    texts.push(chunk(made.model, choices({ ...role, ...openaiMessage(piece) }, null)));
    role = {};
  }
  const tokens = texts.length;
  const usage = options.includeUsage && !made.omitUsage
    ? chunk(made.model, { choices: [], ...usageFields(made, options) })
    : "";
  // One flush (3.1).
  texts.push(chunk(made.model, choices(role, finishReason(made))) + usage + DONE);
  return sseAnswer(texts, tokens, () => [chunk("", choices({ content: "" }, null))]);
}

/** `/v1/completions` (3.2). */
export function openaiCompletionAnswer(made: Generation, options: OpenaiOptions): Answer {
  const created = Math.floor(made.startMs / MS_PER_SECOND);
  const id = `cmpl-${ID_NUMBER}`;
  const object = "text_completion";
  const reason = made.doneReason;
  if (!options.stream) {
    const choice = {
      text: joined(made).text,
      index: 0,
      finish_reason: made.cutOff ? null : reason,
    };
    const body = goJson({
      id,
      object,
      created,
      model: made.model,
      system_fingerprint: FINGERPRINT,
      choices: [choice],
      ...usageFields(made, options),
      ...made.extraFields,
    });
    return { ...bodyAnswer(200, "application/json", body + "\n"), paced: true };
  }
  const withUsage = options.includeUsage && !made.omitUsage;
  const zero = { usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } };
  const chunk = (model: string, choices: JsonObject[], rest: JsonObject) =>
    event({
      id,
      object,
      created,
      choices,
      model,
      system_fingerprint: FINGERPRINT,
      ...rest,
      ...made.extraFields,
    });
  const textChunk = (model: string, text: string, finish: string | null) =>
    chunk(model, [{ text, index: 0, finish_reason: finish }], withUsage ? zero : {});
  const pieces = made.pieces.filter((piece) => piece.text !== "");
  const texts = pieces.map((piece) => textChunk(made.model, piece.text, null));
  const usage = withUsage ? chunk(made.model, [], usageFields(made, options)) : "";
  // One flush (3.2).
  texts.push(textChunk(made.model, made.final.text, reason) + usage + DONE);
  return sseAnswer(texts, pieces.length, () => [textChunk("", "", null)]);
}

/** `/v1/embeddings` (3.3). */
export function openaiEmbeddingsAnswer(
  behaviour: FakeBehaviour,
  model: string,
  inputs: number,
  base64: boolean,
): Answer {
  const data = Array.from({ length: inputs }, (_, index) => {
    const vector = embedding(behaviour.dimensions, index);
    return { object: "embedding", embedding: base64 ? base64Floats(vector) : vector, index };
  });
  const count = behaviour.promptTokens;
  const usage = behaviour.omitUsage ? {} : { usage: { prompt_tokens: count, total_tokens: count } };
  const body = goJson({ object: "list", data, model, ...usage, ...behaviour.extraFields });
  return { ...bodyAnswer(200, "application/json", body + "\n"), paced: true };
}

/** `/v1/models` (3.4): `data` is null without models. */
export function openaiModelsAnswer(models: readonly FakeModel[]): Answer {
  const data = models.map((model) => openaiModel(model, model.name));
  const body = goJson({ object: "list", data: data.length === 0 ? null : data });
  return bodyAnswer(200, "application/json", body + "\n");
}

/** Returns an entry of `/v1/models`; the id is as requested. */
export function openaiModel(model: FakeModel, id: string): JsonObject {
  const created = Math.floor(Date.parse(model.modifiedAt) / MS_PER_SECOND);
  const namespace = model.name.includes("/") ? model.name.split("/").at(-2) : "library";
  return { id, object: "model", created, owned_by: namespace };
}

/** Returns an answer of SSE events. `tokens`: how many of them, from the first, are tokens, or which. */
export function sseAnswer(
  texts: readonly string[],
  tokens: number | ((index: number) => boolean),
  failure: () => string[],
  headers: readonly (readonly [string, string])[] = [],
): Answer {
  const isToken = typeof tokens === "number" ? (index: number) => index < tokens : tokens;
  return {
    status: 200,
    contentType: EVENT_STREAM,
    headers,
    messages: textMessages(texts, isToken),
    streamed: true,
    paced: true,
    failure: () => failure().map(utf8),
  };
}

function event(value: JsonObject): string {
  return `data: ${goJson(value)}\n\n`;
}

/** Returns the pieces that become chunks, including the final one unless it is empty. */
function visiblePieces(made: Generation): Piece[] {
  const { final } = made;
  return final.text === "" && final.toolCalls.length === 0 ? [...made.pieces] : [
    ...made.pieces,
    final,
  ];
}

function openaiMessage(piece: Piece): JsonObject {
  return {
    content: piece.text,
    ...(piece.thinking === "" ? {} : { reasoning: piece.thinking }),
    ...(piece.toolCalls.length === 0 ? {} : { tool_calls: openaiToolCalls(piece.toolCalls) }),
  };
}

function openaiToolCalls(calls: readonly FakeToolCall[]): JsonObject[] {
  return calls.map((call, index) => ({
    id: toolCallId(index),
    index,
    type: "function",
    function: { name: call.name, arguments: goJson(call.arguments) },
  }));
}

/** Returns the finish reason; `tool_calls` replaces `stop` only (3.1). */
function finishReason(made: Generation): string {
  const called = [...made.pieces, made.final].some((piece) => piece.toolCalls.length > 0);
  return called && made.doneReason === "stop" ? "tool_calls" : made.doneReason;
}

/** Returns `usage`, with cached tokens and `timings` if known (10). */
function usageFields(made: Generation, options: OpenaiOptions): JsonObject {
  if (made.omitUsage) return {};
  const details = made.cachedTokens === undefined
    ? {}
    : { prompt_tokens_details: { cached_tokens: made.cachedTokens } };
  const prompt = made.cutOff ? 0 : made.promptTokens;
  const output = made.cutOff ? 0 : made.outputTokens;
  const usage = {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    ...details,
  };
  return options.timings ? { usage, timings: timings(made) } : { usage };
}

/** Returns `timings`, in ms as floats; `prompt_n` excludes cached tokens (10). */
function timings(made: Generation): JsonObject {
  const promptN = made.promptTokens - (made.cachedTokens ?? 0);
  const promptMs = made.promptEvalNs / NS_PER_MS;
  const predictedMs = made.evalNs / NS_PER_MS;
  return {
    prompt_n: promptN,
    prompt_ms: promptMs,
    prompt_per_second: promptMs === 0 ? 0 : promptN / promptMs * MS_PER_SECOND,
    predicted_n: made.outputTokens,
    predicted_ms: predictedMs,
    predicted_per_second: predictedMs === 0 ? 0 : made.outputTokens / predictedMs * MS_PER_SECOND,
  };
}

function base64Floats(vector: readonly number[]): string {
  const bytes = new Uint8Array(Float32Array.from(vector).buffer);
  return btoa(String.fromCharCode(...bytes));
}
