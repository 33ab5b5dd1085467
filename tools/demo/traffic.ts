/**
 * Traffic of the demo: clients of all APIs that send a request, read the response, pause and repeat, and one that sends
 * the events in turn.
 *
 * @module
 */

import type { FakeBehaviour, RecordedRequest } from "../../tests/fake_ollama/mod.ts";
import { type DemoEvent, EVENTS } from "./events.ts";
import { type Character, type CharacterName, CHARACTERS, draw, drawAnswer } from "./models.ts";

/** Request header with the behaviour, as JSON, of the response that a demo client wants. */
const ANSWER_HEADER = "x-demo-answer";

/** `User-Agent` of the clients, in turn; they are told apart by their products. */
const USER_AGENTS = [
  "ollama-python/0.6.1",
  "OpenAI/Python 2.9.0",
  "open-webui/0.6.40",
  "Cline/3.38.1",
  "ollama-js/0.6.3",
];
const EVENT_USER_AGENT = "curl/8.14.1";

const EVENT_PAUSE_MS = 2500;

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
  /** Pause between two events in milliseconds. Default: 2500. */
  readonly eventPauseMs?: number;
}

/** Request of a client. */
interface Outgoing {
  readonly path: string;
  readonly body: BodyInit;
  readonly answer: Partial<FakeBehaviour>;
  readonly headers: Readonly<Record<string, string>>;
  readonly leavesAfterMs?: number | undefined;
  /** Default: that of `fetch()`. */
  readonly client?: Deno.HttpClient;
}

/** Runs all clients. Resolves when the signal has stopped them. */
export async function runTraffic(options: TrafficOptions): Promise<void> {
  const clients = Object.keys(CHARACTERS).flatMap((name) => {
    const character: Character = CHARACTERS[name as CharacterName];
    return Array.from({ length: character.clients }, () => character);
  });
  const running = clients.map((character, index) => {
    const userAgent = USER_AGENTS[index % USER_AGENTS.length] ?? "";
    return runClient(character, { "user-agent": userAgent }, options);
  });
  await Promise.all([...running, runEvents(options)]);
}

async function runClient(
  character: Character,
  headers: Readonly<Record<string, string>>,
  options: TrafficOptions,
): Promise<void> {
  const { model: { name: model, capabilities, loaded }, staysMs = Infinity } = character;
  const isEmbedding = capabilities.includes("embedding");
  let usedAt = loaded === true ? performance.now() : -Infinity;
  await pause(draw([0, 800]), options.signal);
  while (!options.signal.aborted) {
    const isCold = performance.now() - usedAt > staysMs;
    const ask = isEmbedding ? drawOne(EMBEDDINGS) : drawOne(CHATS, CHAT_WEIGHTS);
    const [path, body] = ask(model, Math.random() < STREAMED_SHARE);
    const outgoing = { path, body, answer: drawAnswer(character, isCold), headers };
    const sent = send(outgoing, options, () => options.onUse(model, character.staysMs));
    if (isCold) await pause(LOAD_STARTED_MS, options.signal).then(() => options.onLoad(model));
    await sent;
    usedAt = performance.now();
    await pause(draw(character.pauseMs), options.signal);
  }
}

async function runEvents(options: TrafficOptions): Promise<void> {
  // One of the events has another host name.
  using client = Deno.createHttpClient({ allowHost: true });
  for (let index = 0; !options.signal.aborted; index++) {
    const { path, body, answer, headers = {}, leavesAfterMs } = EVENTS[index % EVENTS.length] as DemoEvent;
    const all = { "user-agent": EVENT_USER_AGENT, ...headers };
    await send({ path, body: json(body), answer, headers: all, leavesAfterMs, client }, options, () => {});
    await pause(options.eventPauseMs ?? EVENT_PAUSE_MS, options.signal);
  }
}

async function send(outgoing: Outgoing, { url, signal }: TrafficOptions, onAnswer: () => void): Promise<void> {
  const { path, body, answer, headers, leavesAfterMs, client } = outgoing;
  const leave = new AbortController();
  const timer = leavesAfterMs === undefined ? undefined : setTimeout(() => leave.abort(), leavesAfterMs);
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { ...headers, [ANSWER_HEADER]: JSON.stringify(answer) },
      body,
      signal: AbortSignal.any([signal, leave.signal]),
      ...client && { client },
    });
    onAnswer();
    for await (const _ of response.body ?? []);
  } catch {
    // Disconnected, demo stopped, or a simulated failure.
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
