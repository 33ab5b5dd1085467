/**
 * Traffic of the demo: clients of all APIs that send a request, read the response, pause and repeat.
 *
 * @module
 */

import type { FakeBehaviour, RecordedRequest } from "../../tests/fake_ollama/mod.ts";
import { type Character, type CharacterName, CHARACTERS, draw, drawAnswer } from "./models.ts";

/** Request header with the behaviour, as JSON, of the response that a demo client wants. */
const ANSWER_HEADER = "x-demo-answer";

/** Percentage of requests whose client disconnects early, and of those for an unknown model. */
const DISCONNECT_PERCENT = 3;
const UNKNOWN_PERCENT = 1.5;
const DISCONNECT_AFTER_MS: readonly [number, number] = [300, 2500];
const PULL_EVERY_MS = 45_000;

/** Time by which the fake Ollama has received a request and marked its model as loaded. */
const LOAD_STARTED_MS = 50;

const PROMPT = "Why is the sky blue?";
const MESSAGES = [{ role: "user", content: PROMPT }];

/** Returns the path and body of a request for a model. */
export type Ask = (model: string, stream: boolean) => [path: string, body: BodyInit];

/** Requests for language models. */
export const CHATS: readonly Ask[] = [
  (model, stream) => ["/api/chat", json({ model, messages: MESSAGES, stream })],
  (model, stream) => ["/api/generate", json({ model, prompt: PROMPT, stream })],
  (model, stream) => ["/v1/chat/completions", json({ model, messages: MESSAGES, stream })],
  (model, stream) => ["/v1/completions", json({ model, prompt: PROMPT, stream })],
  (model, stream) => ["/v1/responses", json({ model, input: PROMPT, stream })],
  (model, stream) => ["/v1/messages", json({ model, messages: MESSAGES, max_tokens: 1000, stream })],
  (model) => ["/v1/audio/transcriptions", form({ model, file: new Blob(["sound"]) })],
];
/** Relative frequency of each of {@linkcode CHATS}. */
const CHAT_WEIGHTS = [8, 4, 6, 1, 2, 3, 0.5];

/** Requests for embedding models. */
export const EMBEDDINGS: readonly Ask[] = [
  (model) => ["/api/embed", json({ model, input: [PROMPT, "And why is it red at night?"] })],
  (model) => ["/api/embeddings", json({ model, prompt: PROMPT })],
  (model) => ["/v1/embeddings", json({ model, input: PROMPT })],
];

/** Share of chats that are streamed. */
const STREAMED_SHARE = 0.85;

/** Returns the behaviour that a demo client wants for its request; `undefined` for other clients. */
export function answerOf(request: RecordedRequest): Partial<FakeBehaviour> | undefined {
  const answer = request.header(ANSWER_HEADER);
  return answer === undefined ? undefined : JSON.parse(answer);
}

/** Options of {@linkcode runTraffic}. */
export interface TrafficOptions {
  /** Base URL of the exporter, without a trailing slash. */
  readonly url: string;
  /** Stops the traffic. */
  readonly signal: AbortSignal;
  /** Called when a model starts loading. */
  readonly onLoad: (model: string) => void;
  /** Called when a model responds, with the time in ms for which it stays loaded. */
  readonly onUse: (model: string, staysMs: number | undefined) => void;
}

/** Runs all clients. Resolves when the signal has stopped them. */
export async function runTraffic(options: TrafficOptions): Promise<void> {
  const clients = Object.keys(CHARACTERS).flatMap((name) => {
    const character: Character = CHARACTERS[name as CharacterName];
    return Array.from({ length: character.clients }, () => runClient(character, options));
  });
  await Promise.all([...clients, runPuller(options)]);
}

async function runClient(character: Character, options: TrafficOptions): Promise<void> {
  const isEmbedding = character.model.capabilities.includes("embedding");
  let usedAt = character.model.loaded === true ? performance.now() : -Infinity;
  await pause(draw([0, 800]), options.signal);
  while (!options.signal.aborted) {
    const isCold = performance.now() - usedAt > (character.staysMs ?? Infinity);
    const ask = isEmbedding ? drawOne(EMBEDDINGS) : drawOne(CHATS, CHAT_WEIGHTS);
    const isUnknown = Math.random() * 100 < UNKNOWN_PERCENT;
    const model = isUnknown ? "llama33:70b" : character.model.name;
    const [path, body] = ask(model, Math.random() < STREAMED_SHARE);
    const answer = isUnknown ? {} : drawAnswer(character, isCold);
    const sent = send(path, body, answer, options, () => isUnknown || options.onUse(model, character.staysMs));
    if (isCold && !isUnknown) await pause(LOAD_STARTED_MS, options.signal).then(() => options.onLoad(model));
    await sent;
    usedAt = performance.now();
    await pause(draw(character.pauseMs), options.signal);
  }
}

/** Pulls a model from time to time. */
async function runPuller(options: TrafficOptions): Promise<void> {
  while (!options.signal.aborted) {
    await pause(PULL_EVERY_MS, options.signal);
    await send("/api/pull", json({ model: "phi4-mini:latest" }), { tokenDelayMs: 300 }, options, () => {});
  }
}

async function send(
  path: string,
  body: BodyInit,
  answer: Partial<FakeBehaviour>,
  { url, signal }: TrafficOptions,
  onAnswer: () => void,
): Promise<void> {
  const disconnect = new AbortController();
  const isEarly = Math.random() * 100 < DISCONNECT_PERCENT;
  const timer = isEarly ? setTimeout(() => disconnect.abort(), draw(DISCONNECT_AFTER_MS)) : undefined;
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { [ANSWER_HEADER]: JSON.stringify(answer) },
      body,
      signal: AbortSignal.any([signal, disconnect.signal]),
    });
    onAnswer();
    for await (const _ of response.body ?? []);
  } catch {
    // Disconnected early, demo stopped, or a simulated failure.
  } finally {
    clearTimeout(timer);
  }
}

function json(body: unknown): string {
  return JSON.stringify(body);
}

function form(fields: Record<string, string | Blob>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

function drawOne<T>(items: readonly T[], weights: readonly number[] = items.map(() => 1)): T {
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight, 0);
  const drawn = items.findIndex((_, index) => (left -= weights[index] ?? 0) < 0);
  return items.at(Math.max(0, drawn)) as T;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
    function end(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}
