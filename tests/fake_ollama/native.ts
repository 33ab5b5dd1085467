/**
 * Payloads of the native inference API: the generation, and its form on /api/chat, /api/generate and the embedding
 * routes (docs/ollama-api.md 2). Pure functions.
 */

import type { FakeBehaviour, FakeToolCall } from "./behaviour.ts";
import { RUNNER_STOPPED } from "./errors.ts";
import { goJson, type JsonObject, utf8 } from "./json.ts";
import { type Answer, bodyAnswer, textMessages } from "./plan.ts";

const DEFAULT_PROMPT_EVAL_NS = 130_000_000;
const DEFAULT_EVAL_NS = 41_000_000;
const SLOT_WAIT_NS = 27_000_000;
/** Duration of embedding, without the load. */
const EMBED_NS = 13_124_417;
const NS_PER_MS = 1_000_000;
const FRAME_INTERVAL_MS = 20;
const DEFAULT_THINKING_FRAMES = 3;
const DEFAULT_ANSWER_FRAMES = 5;
/** Content type of native streams (2.2). */
export const NDJSON = "application/x-ndjson";
/** Content type of native objects (2.2). */
export const JSON_UTF8 = "application/json; charset=utf-8";

/** Event of the runner; at most one of the three is not empty. */
export interface Piece {
  text: string;
  thinking: string;
  toolCalls: readonly FakeToolCall[];
}

/** Generated response, independent of the API. */
export interface Generation {
  /** Model name as requested, echoed (0). */
  model: string;
  /** Unix milliseconds of the first message. */
  startMs: number;
  pieces: readonly Piece[];
  /** Content of the final message, in addition to metrics. */
  final: Piece;
  doneReason: "stop" | "length";
  promptTokens: number;
  cachedTokens: number | undefined;
  outputTokens: number;
  loadNs: number;
  promptEvalNs: number;
  evalNs: number;
  totalNs: number;
  /** Whether final messages lack all metric fields. */
  omitUsage: boolean;
  /** Whether generation stopped silently: with `stream:false`, `done:false` and no metrics (2.3). */
  cutOff: boolean;
  extraFields: JsonObject;
}

/** Properties of a request that affect its response. */
export interface GenerationRequest {
  model: string;
  /** Whether the model can think, and the request does not disable it. */
  thinks: boolean;
  startMs: number;
}

/** Returns the generation that the behaviour describes. */
export function generation(behaviour: FakeBehaviour, request: GenerationRequest): Generation {
  const b = behaviour;
  const none = { text: "", thinking: "", toolCalls: [] };
  const thinking = b.thinking ?? (request.thinks ? DEFAULT_THINKING_FRAMES : 0);
  const pieces: Piece[] = [];
  for (let i = 0; i < thinking; i++) pieces.push({ ...none, thinking: `Thought ${i + 1}. ` });
  const words = b.words.length > 0 ? b.words : [" word"];
  const tokens = b.tokens ?? (b.words.length > 0 ? b.words.length : DEFAULT_ANSWER_FRAMES);
  for (let i = 0; i < tokens; i++) pieces.push({ ...none, text: words[i % words.length] ?? "" });
  const called = b.toolCalls.length > 0;
  if (called && !b.toolCallsInFinal) pieces.push({ ...none, toolCalls: b.toolCalls });
  const inFinal = called && b.toolCallsInFinal ? b.toolCalls : [];
  const messages = pieces.length + (b.finalText !== "" || inFinal.length > 0 ? 1 : 0);
  const outputTokens = b.outputTokens ?? messages;
  const promptEvalNs = b.promptEvalNs ??
    (b.firstTokenDelayMs * NS_PER_MS || DEFAULT_PROMPT_EVAL_NS);
  const evalNs = b.evalNs ?? (b.tokenDelayMs * outputTokens * NS_PER_MS || DEFAULT_EVAL_NS);
  return {
    model: request.model,
    startMs: request.startMs,
    pieces,
    final: { ...none, text: b.finalText, toolCalls: inFinal },
    doneReason: b.finishReason,
    promptTokens: b.promptTokens,
    cachedTokens: b.cachedTokens,
    outputTokens,
    loadNs: b.loadNs,
    promptEvalNs,
    evalNs,
    totalNs: b.totalNs ?? b.loadNs + promptEvalNs + evalNs + SLOT_WAIT_NS,
    omitUsage: b.omitUsage,
    cutOff: b.fault?.kind === "silent_eof",
    extraFields: b.extraFields,
  };
}

/** `/api/chat` (2.2). */
export function chatAnswer(made: Generation, stream: boolean): Answer {
  const message = (piece: Piece) => ({
    role: "assistant",
    content: piece.text,
    ...(piece.thinking === "" ? {} : { thinking: piece.thinking }),
    ...(piece.toolCalls.length === 0 ? {} : { tool_calls: nativeToolCalls(piece.toolCalls) }),
  });
  return nativeAnswer(made, stream, (piece) => ({ message: message(piece) }), {});
}

/** `/api/generate` (2.2); no `context` with `raw`. */
export function generateAnswer(
  made: Generation,
  stream: boolean,
  contextLength: number | undefined,
): Answer {
  const fields = (piece: Piece) => ({
    response: piece.text,
    ...(piece.thinking === "" ? {} : { thinking: piece.thinking }),
    ...(piece.toolCalls.length === 0 ? {} : { tool_calls: nativeToolCalls(piece.toolCalls) }),
  });
  const context = contextLength === undefined ? {} : { context: contextOf(contextLength) };
  return nativeAnswer({ ...made, pieces: withTags(made.pieces) }, stream, fields, context);
}

/** Adds a message without text where thinking begins and where it ends: the tags, which are not shown (2.2). */
function withTags(pieces: readonly Piece[]): Piece[] {
  const tag = { text: "", thinking: "", toolCalls: [] };
  return pieces.flatMap((piece, index) => {
    const hasThought = (pieces[index - 1]?.thinking ?? "") !== "";
    return hasThought === (piece.thinking !== "") ? [piece] : [tag, piece];
  });
}

function nativeAnswer(
  made: Generation,
  stream: boolean,
  fields: (piece: Piece) => JsonObject,
  context: JsonObject,
): Answer {
  const message = (piece: Piece, index: number, rest: JsonObject) =>
    goJson({
      model: made.model,
      created_at: timestamp(made.startMs + index * FRAME_INTERVAL_MS),
      ...fields(piece),
      ...rest,
      ...made.extraFields,
    });
  const done = { done: true, done_reason: made.doneReason, ...context, ...metrics(made) };
  const failure = (message = RUNNER_STOPPED) => [utf8(goJson({ error: message }) + "\n")];
  if (!stream) {
    const whole = joined(made);
    const body = message(whole, made.pieces.length, made.cutOff ? { done: false } : done);
    return { ...bodyAnswer(200, JSON_UTF8, body), paced: true, failure };
  }
  const lines = made.pieces.map((piece, index) => message(piece, index, { done: false }));
  lines.push(message(made.final, made.pieces.length, done));
  return {
    status: 200,
    contentType: NDJSON,
    messages: textMessages(
      lines.map((line) => line + "\n"),
      (i) => made.pieces[i] !== undefined && !isEmpty(made.pieces[i]),
    ),
    streamed: true,
    paced: true,
    failure,
  };
}

function isEmpty({ text, thinking, toolCalls }: Piece): boolean {
  return text === "" && thinking === "" && toolCalls.length === 0;
}

/** Returns the metric fields of a final message in order, without zeros (2.3, 10). */
export function metrics(made: Generation): JsonObject {
  if (made.omitUsage) return {};
  const all: JsonObject = {
    total_duration: made.totalNs,
    load_duration: made.loadNs,
    prompt_eval_count: made.promptTokens,
    prompt_eval_cached_count: made.cachedTokens,
    prompt_eval_duration: made.promptEvalNs,
    eval_count: made.outputTokens,
    eval_duration: made.evalNs,
  };
  for (const key of Object.keys(all)) {
    const keep = key === "prompt_eval_cached_count" ? all[key] !== undefined : all[key] !== 0;
    if (!keep) delete all[key];
  }
  return all;
}

/** Joins the generation into one piece, as with `stream:false`. */
export function joined(made: Generation): Piece {
  const all = [...made.pieces, made.final];
  return {
    text: all.map((piece) => piece.text).join(""),
    thinking: all.map((piece) => piece.thinking).join(""),
    toolCalls: all.flatMap((piece) => piece.toolCalls),
  };
}

/** Returns the id of the n-th tool call in Ollama's format. */
export function toolCallId(index: number): string {
  return `call_${(0xab12cd34 + index).toString(16)}`;
}

function nativeToolCalls(calls: readonly FakeToolCall[]): JsonObject[] {
  return calls.map((call, index) => ({
    id: toolCallId(index),
    function: { index, name: call.name, arguments: call.arguments },
  }));
}

/** Returns the answer to a request without a prompt, which loads or unloads the model (2.3). */
export function loadAnswer(
  api: "chat" | "generate",
  model: string,
  reason: "load" | "unload",
  startMs: number,
): Answer {
  const output = api === "chat" ? { message: { role: "assistant", content: "" } } : { response: "" };
  const body = goJson({
    model,
    created_at: timestamp(startMs),
    ...output,
    done: true,
    done_reason: reason,
  });
  return { ...bodyAnswer(200, JSON_UTF8, body), paced: true };
}

/** `/api/generate` with `_debug_render_only` (2.3): the prompt as the runner would get it, and no figures. */
export function debugAnswer(model: string, prompt: string): Answer {
  const rendered = `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
  const body = goJson({
    model,
    created_at: timestamp(Date.now()),
    response: "",
    done: false,
    _debug_info: { rendered_template: rendered },
  });
  return { ...bodyAnswer(200, JSON_UTF8, body), paced: true };
}

/** `/api/embed` (2.4) for a number of inputs; with none, the load answer without metrics. */
export function embedAnswer(behaviour: FakeBehaviour, model: string, inputs: number): Answer {
  const b = behaviour;
  const embeddings = Array.from({ length: inputs }, (_, i) => embedding(b.dimensions, i));
  const counted = inputs === 0 || b.omitUsage ? {} : {
    total_duration: b.totalNs ?? b.loadNs + EMBED_NS,
    load_duration: b.loadNs,
    ...(b.promptTokens === 0 ? {} : { prompt_eval_count: b.promptTokens }),
  };
  const body = goJson({ model, embeddings, ...counted, ...b.extraFields });
  return { ...bodyAnswer(200, JSON_UTF8, body), paced: true };
}

/** `/api/embeddings`, the old route (2.4). */
export function embeddingsAnswer(behaviour: FakeBehaviour, empty: boolean): Answer {
  const body = goJson({ embedding: empty ? [] : embedding(behaviour.dimensions, 0) });
  return { ...bodyAnswer(200, JSON_UTF8, body), paced: true };
}

/** Returns a vector of the given length, the same for each input number. */
export function embedding(dimensions: number, input: number): number[] {
  return Array.from({ length: dimensions }, (_, i) => {
    const size = ((i * 37 + input * 11) % 97 + 1) / 100;
    return i % 2 === 0 ? size : -size;
  });
}

/** Formats a time as RFC 3339 in UTC with microseconds, as in `created_at` (2.2). */
export function timestamp(unixMs: number): string {
  return new Date(unixMs).toISOString().replace("Z", "456Z");
}

function contextOf(length: number): number[] {
  return Array.from({ length }, (_, i) => i === 0 ? 128006 : (i * 7919) % 128256);
}
