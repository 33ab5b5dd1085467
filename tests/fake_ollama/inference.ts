/**
 * Inference routes of the fake Ollama: read the request and select the payload (docs/ollama-api.md 2, 3). Generations
 * are keyed: equal requests are encoded once.
 */

import { zstdDecompressSync } from "node:zlib";
import { messagesAnswer } from "./anthropic.ts";
import type { FakeBehaviour, FakeModel } from "./behaviour.ts";
import { checkFields, checkRun, needs, needsNamed } from "./checks.ts";
import { fittedTokens } from "./context.ts";
import { type Exchange, readObject, RouteError } from "./exchange.ts";
import { booleanField, decodeObject, field, goJson, isObject, type JsonObject, textField } from "./json.ts";
import {
  chatAnswer,
  debugAnswer,
  embedAnswer,
  embeddingsAnswer,
  generateAnswer,
  type Generation,
  generation,
  joined,
  JSON_UTF8,
  loadAnswer,
  NDJSON,
} from "./native.ts";
import { openaiChatAnswer, openaiCompletionAnswer, openaiEmbeddingsAnswer, type OpenaiOptions } from "./openai.ts";
import { type Answer, bodyAnswer, type KeyedAnswer } from "./plan.ts";
import { latin1 } from "./wire.ts";
import { RESPONSES_STREAM_HEADERS, responsesAnswer } from "./responses.ts";
import { findModel, keepAliveMs } from "./state.ts";

const MAX_UNZIPPED_BYTES = 20 * 1024 * 1024;

/** `POST /api/chat`. */
export async function chat(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readObject(exchange);
  const stream = booleanField(body, "stream", true);
  const name = textField(body, "model");
  checkFields(body);
  if (name === "") throw new RouteError(400, "model is required");
  const model = known(exchange, name);
  const loading = loadOnly(exchange, body, model, "chat", isEmptyList(field(body, "messages")));
  if (loading !== undefined) return loading;
  const thinks = thinking(model, name, body);
  needs(model, name, "completion", "chat");
  if (!isEmptyList(field(body, "tools"))) needsNamed(model, "tools");
  checkRun(model, body);
  const promptTokens = fittedTokens(exchange, model, body);
  return keyed(exchange, ["chat", name, stream, thinks], (made) => chatAnswer(made, stream), {
    name,
    thinks,
    promptTokens,
  });
}

/** `POST /api/generate`. */
export async function generate(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readObject(exchange);
  const stream = booleanField(body, "stream", true);
  const name = textField(body, "model");
  checkFields(body);
  const model = known(exchange, name);
  const raw = booleanField(body, "raw", false);
  const empty = textField(body, "prompt") === "";
  const loading = loadOnly(exchange, body, model, "generate", empty);
  if (loading !== undefined) return loading;
  if (raw && ["template", "system", "context"].some((key) => field(body, key) !== undefined)) {
    throw new RouteError(400, "raw mode does not support template, system, or context");
  }
  const thinks = thinking(model, name, body);
  needs(model, name, "completion", "generate");
  if (textField(body, "suffix") !== "") needsNamed(model, "insert");
  checkRun(model, body);
  const promptTokens = fittedTokens(exchange, model, body);
  if (booleanField(body, "_debug_render_only", false)) return debugAnswer(name, textField(body, "prompt"));
  const context = raw ? undefined : exchange.behaviour.contextLength;
  const make = (made: Generation) => generateAnswer(made, stream, context);
  return keyed(exchange, ["generate", name, stream, thinks, raw], make, { name, thinks, promptTokens });
}

/** `POST /api/embed`. */
export async function embed(exchange: Exchange): Promise<Answer> {
  const body = await readObject(exchange);
  const name = textField(body, "model");
  const model = findModel(exchange.behaviour, name);
  if (model === undefined) {
    throw new RouteError(404, `model "${name}" not found, try pulling it first`);
  }
  touch(exchange, model, field(body, "keep_alive"));
  const input = field(body, "input");
  if (input !== undefined && typeof input !== "string" && !Array.isArray(input)) {
    throw new RouteError(400, "invalid input type");
  }
  embeds(model);
  return embedAnswer(exchange.behaviour, name, countInputs(input));
}

/** `POST /api/embeddings`. */
export async function embeddings(exchange: Exchange): Promise<Answer> {
  const body = await readObject(exchange);
  const model = known(exchange, textField(body, "model"));
  touch(exchange, model, field(body, "keep_alive"));
  embeds(model);
  return embeddingsAnswer(exchange.behaviour, textField(body, "prompt") === "");
}

/** `POST /v1/chat/completions`. */
export async function openaiChat(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readCompatible(exchange);
  const options = openaiOptions(exchange.behaviour, body);
  if (isEmptyList(field(body, "messages"))) {
    throw new RouteError(400, "[] is too short - 'messages'", "middleware");
  }
  const name = textField(body, "model");
  const { thinks, promptTokens } = compatibleModel(exchange, name, "chat");
  const key = ["openai_chat", name, options.stream, options.includeUsage, thinks];
  return keyed(exchange, key, (made) => openaiChatAnswer(made, options), { name, thinks, promptTokens });
}

/** `POST /v1/completions`. */
export async function openaiCompletions(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readCompatible(exchange);
  const options = { ...openaiOptions(exchange.behaviour, body), timings: false };
  textField(body, "prompt");
  const name = textField(body, "model");
  const { promptTokens } = compatibleModel(exchange, name, "generate");
  const key = ["openai_completions", name, options.stream, options.includeUsage];
  const make = (made: Generation) => openaiCompletionAnswer(made, options);
  return keyed(exchange, key, make, { name, thinks: false, promptTokens });
}

/** `POST /v1/embeddings`. */
export async function openaiEmbeddings(exchange: Exchange): Promise<Answer> {
  const body = await readCompatible(exchange);
  const input = field(body, "input");
  if (input === undefined || (Array.isArray(input) && input.length === 0)) {
    throw new RouteError(400, "invalid input", "middleware");
  }
  const name = textField(body, "model");
  const model = findModel(exchange.behaviour, name);
  if (model === undefined) {
    throw new RouteError(404, `model "${name}" not found, try pulling it first`);
  }
  touch(exchange, model, undefined);
  embeds(model);
  const base64 = textField(body, "encoding_format") === "base64";
  const inputs = Array.isArray(input) ? input.length : 1;
  return openaiEmbeddingsAnswer(exchange.behaviour, name, inputs, base64);
}

/** `POST /v1/responses`. */
export async function responses(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readCompatible(exchange);
  const stream = booleanField(body, "stream", false);
  const name = textField(body, "model");
  const errorHeaders = stream ? RESPONSES_STREAM_HEADERS : [];
  const { thinks, promptTokens } = compatibleModel(exchange, name, "chat", errorHeaders);
  const make = (made: Generation) => responsesAnswer(made, stream);
  return keyed(exchange, ["responses", name, stream, thinks], make, { name, thinks, promptTokens });
}

/** `POST /v1/messages`. */
export async function messages(exchange: Exchange): Promise<Answer | KeyedAnswer> {
  const body = await readCompatible(exchange);
  const stream = booleanField(body, "stream", false);
  const name = textField(body, "model");
  if (name === "") throw new RouteError(400, "model is required");
  if (!(Number(field(body, "max_tokens")) > 0)) {
    throw new RouteError(400, "max_tokens is required and must be positive", "middleware");
  }
  if (isEmptyList(field(body, "messages"))) throw new RouteError(400, "messages is required", "middleware");
  const { thinks, promptTokens } = compatibleModel(exchange, name, "chat");
  const estimate = exchange.behaviour.estimatedTokens;
  const make = (made: Generation) => messagesAnswer(made, stream, estimate);
  return keyed(exchange, ["messages", name, stream, thinks], make, { name, thinks, promptTokens });
}

/** `POST /v1/audio/transcriptions` (3.7): a single body with the content type of a stream. */
export async function transcriptions(exchange: Exchange): Promise<Answer> {
  const form = latin1(await exchange.connection.readBody());
  const part = (name: string) =>
    new RegExp(`name="${name}"[^\\n]*\\r\\n(?:[^\\r\\n]+\\r\\n)*\\r\\n([^\\r\\n]*)`).exec(form)
      ?.[1];
  const name = part("model") ?? "";
  if (name === "") throw new RouteError(400, "model is required");
  const { promptTokens } = compatibleModel(exchange, name, "chat");
  const made = generated(exchange.behaviour, { name, thinks: false, promptTokens });
  const text = joined(made).text;
  const body = part("response_format") === "text" ? text : goJson({ text });
  return { ...bodyAnswer(200, NDJSON, body), streamed: true, paced: true };
}

/** `POST /v1/systemone` of 0.35 and later (10). */
export async function systemOne(exchange: Exchange): Promise<Answer> {
  const body = await readCompatible(exchange);
  const model = textField(body, "model");
  const { promptTokens } = compatibleModel(exchange, model, "chat");
  const { outputTokens } = generated(exchange.behaviour, { name: model, thinks: false, promptTokens });
  const usage = { input_tokens: promptTokens, output_tokens: outputTokens };
  const answer = goJson({ model, answers: ["yes"], usage });
  return { ...bodyAnswer(200, JSON_UTF8, answer), paced: true };
}

/** Returns the answer of a generation, shared by equal requests. */
function keyed(
  exchange: Exchange,
  key: readonly unknown[],
  make: (made: Generation) => Answer,
  request: GeneratedRequest,
): KeyedAnswer {
  const { behaviour } = exchange;
  return {
    key: [...key, request.promptTokens].join("|"),
    model: request.name,
    make: () => make(generated(behaviour, request)),
  };
}

/** A request that is answered with a generation. */
interface GeneratedRequest {
  name: string;
  thinks: boolean;
  /** Tokens of the prompt that are evaluated. */
  promptTokens: number;
}

function generated(behaviour: FakeBehaviour, { name, thinks, promptTokens }: GeneratedRequest): Generation {
  return generation({ ...behaviour, promptTokens }, { model: name, thinks, startMs: behaviour.startMs ?? Date.now() });
}

/** Returns the load or unload object of a request without a prompt (2.3), or `undefined` if it has one. */
function loadOnly(
  exchange: Exchange,
  body: JsonObject,
  model: FakeModel,
  api: "chat" | "generate",
  empty: boolean,
): Answer | undefined {
  const keepMs = touch(exchange, model, field(body, "keep_alive"));
  if (!empty) return undefined;
  const reason = keepMs === 0 ? "unload" : "load";
  const startMs = exchange.behaviour.startMs ?? Date.now();
  return loadAnswer(api, textField(body, "model"), reason, startMs);
}

/** Marks the model as used; returns its `keep_alive` in milliseconds. */
function touch(exchange: Exchange, model: FakeModel, keepAlive: unknown): number | undefined {
  let keepMs: number | undefined;
  try {
    keepMs = keepAliveMs(keepAlive);
  } catch (error) {
    throw new RouteError(400, (error as Error).message);
  }
  exchange.state.touch(model.name, keepMs);
  return keepMs;
}

function known(
  exchange: Exchange,
  name: string,
  errorHeaders: readonly (readonly [string, string])[] = [],
): FakeModel {
  const model = findModel(exchange.behaviour, name);
  if (model === undefined) throw new RouteError(404, `model '${name}' not found`, "handler", errorHeaders);
  return model;
}

/** Throws if a model cannot embed; the words are those of the runner (2.4). */
function embeds(model: FakeModel): void {
  if (model.capabilities.includes("embedding")) return;
  throw new RouteError(501, "This server does not support embeddings. Start it with `--embeddings`");
}

/** Checks that the model of a /v1 request exists and has the capability. Returns what depends on it. */
function compatibleModel(
  exchange: Exchange,
  name: string,
  verb: string,
  errorHeaders: readonly (readonly [string, string])[] = [],
): Omit<GeneratedRequest, "name"> {
  if (name === "") throw new RouteError(400, "model is required", "handler", errorHeaders);
  const model = known(exchange, name, errorHeaders);
  needs(model, name, "completion", verb);
  touch(exchange, model, undefined);
  return { thinks: model.capabilities.includes("thinking"), promptTokens: fittedTokens(exchange, model) };
}

/** Returns whether the response starts with thinking: the model can, and `think` is not false. */
function thinking(model: FakeModel, name: string, body: JsonObject): boolean {
  const think = field(body, "think");
  if (think !== undefined && think !== false) needs(model, name, "thinking", "thinking");
  return think !== false && model.capabilities.includes("thinking");
}

function openaiOptions(behaviour: FakeBehaviour, body: JsonObject): OpenaiOptions {
  const streamOptions = field(body, "stream_options");
  return {
    stream: booleanField(body, "stream", false),
    includeUsage: isObject(streamOptions) && booleanField(streamOptions, "include_usage", false),
    timings: behaviour.timings ?? behaviour.release === "0.40",
  };
}

/** Reads the JSON object of a /v1 request, which may be compressed with zstd (3). */
async function readCompatible(exchange: Exchange): Promise<JsonObject> {
  const bytes = await exchange.connection.readBody();
  const encoding = exchange.request.header("content-encoding")?.toLowerCase();
  if (encoding !== "zstd") return decodeObject(bytes, "EOF");
  let plain: Uint8Array;
  try {
    plain = zstdDecompressSync(bytes, { maxOutputLength: MAX_UNZIPPED_BYTES });
  } catch {
    throw new RouteError(400, "failed to read zstd request body", "middleware");
  }
  return decodeObject(plain, "EOF");
}

function isEmptyList(value: unknown): boolean {
  return !Array.isArray(value) || value.length === 0;
}

function countInputs(input: string | unknown[] | undefined): number {
  if (input === undefined || input === "") return 0;
  return typeof input === "string" ? 1 : input.length;
}
