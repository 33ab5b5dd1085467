/**
 * Events of the demo: requests that are rare among the traffic, one of each kind, so that every figure moves.
 *
 * @module
 */

import type { FakeBehaviour } from "../../tests/fake_ollama/mod.ts";
import { CHARACTERS } from "./models.ts";

/** Request, and what becomes of it. */
export interface DemoEvent {
  /** What it shows. */
  readonly name: string;
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  /** Behaviour of the response that differs from the default of the fake. */
  readonly answer: Partial<FakeBehaviour>;
  /** Headers besides those of all clients. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds after which the client disconnects. Default: it stays. */
  readonly leavesAfterMs?: number;
}

const [CHAT, THINKER, LOADER, FAILING] = [
  CHARACTERS.fast.model.name,
  CHARACTERS.thinking.model.name,
  CHARACTERS.loading.model.name,
  CHARACTERS.failing.model.name,
];
const PULLED = "phi4-mini:latest";
const MESSAGES = [{ role: "user", content: "What time is it in Lisbon?" }];
const TOOLS = [{ type: "function", function: { name: "get_time", parameters: { type: "object" } } }];

const LOAD_NS = 1_800_000_000;

/** Context of the demo's models, and tokens of a prompt that Ollama has cut to it (docs/ollama-api.md 12). */
const CONTEXT = 8192;
const KEPT_TOKENS = 4;
const CUT_TOKENS = CONTEXT - Math.floor((CONTEXT - KEPT_TOKENS) / 2);
/** A prompt of more bytes than the context has tokens. */
const LONG_PROMPT = "All work and no play makes Jack a dull boy. ".repeat(CONTEXT / 40);

/** The events, in the order in which they happen. */
export const EVENTS: readonly DemoEvent[] = [
  {
    name: "tool call",
    path: "/api/chat",
    body: { model: CHAT, messages: MESSAGES, tools: TOOLS },
    answer: { tokens: 3, toolCalls: [{ name: "get_time", arguments: { tz: "Europe/Lisbon" } }] },
  },
  {
    name: "response cut off by the token limit",
    path: "/v1/chat/completions",
    body: { model: CHAT, messages: MESSAGES, max_tokens: 32, stream: true },
    answer: { tokens: 32, finishReason: "length" },
  },
  {
    name: "prompt cut to the context",
    path: "/api/generate",
    body: { model: CHAT, prompt: LONG_PROMPT },
    answer: { tokens: 60, promptTokens: CUT_TOKENS },
  },
  {
    name: "prompt refused because of its length",
    path: "/v1/chat/completions",
    body: { model: CHAT, messages: [{ role: "user", content: LONG_PROMPT }] },
    answer: {
      status: 400,
      statusMessage: `request (${LONG_PROMPT.length} tokens) exceeds the available context size (${CONTEXT} tokens), ` +
        "try increasing it",
    },
  },
  {
    name: "abandoned stream",
    path: "/api/chat",
    body: { model: CHAT, messages: MESSAGES },
    answer: { tokens: 2000, tokenDelayMs: 20 },
    leavesAfterMs: 1500,
  },
  {
    name: "load with a smaller context",
    path: "/api/chat",
    body: { model: THINKER, messages: MESSAGES, options: { num_ctx: CONTEXT / 4 } },
    answer: { tokens: 20, headersDelayMs: LOAD_NS / 1e6, loadNs: LOAD_NS },
  },
  {
    name: "load with the usual context",
    path: "/api/chat",
    body: { model: THINKER, messages: MESSAGES, options: { num_ctx: CONTEXT } },
    answer: { tokens: 20, headersDelayMs: LOAD_NS / 1e6, loadNs: LOAD_NS },
  },
  {
    name: "load without a prompt",
    path: "/api/generate",
    body: { model: CHAT, keep_alive: "10m" },
    answer: {},
  },
  {
    name: "unload",
    path: "/api/generate",
    body: { model: LOADER, keep_alive: 0 },
    answer: {},
  },
  {
    name: "model that is not installed",
    path: "/api/chat",
    body: { model: "llama33:70b", messages: MESSAGES },
    answer: {},
  },
  {
    name: "full queue",
    path: "/api/chat",
    body: { model: FAILING, messages: MESSAGES },
    answer: { status: 503 },
  },
  {
    name: "runner that fails within a stream",
    path: "/api/chat",
    body: { model: FAILING, messages: MESSAGES },
    answer: { fault: { kind: "error", afterMessages: 4 } },
  },
  {
    name: "stream that ends early",
    path: "/api/generate",
    body: { model: FAILING, prompt: "Hi" },
    answer: { fault: { kind: "silent_eof", afterMessages: 4 } },
  },
  {
    name: "connection that is closed before a response",
    path: "/api/generate",
    body: { model: FAILING, prompt: "Hi" },
    answer: { fault: { kind: "no_answer" } },
  },
  {
    name: "connection that breaks",
    path: "/api/generate",
    body: { model: FAILING, prompt: "Hi" },
    answer: { fault: { kind: "reset", afterMessages: 4 } },
  },
  {
    name: "response without token counts",
    path: "/api/generate",
    body: { model: FAILING, prompt: "Hi" },
    answer: { omitUsage: true },
  },
  {
    name: "host name of a web page",
    path: "/api/tags",
    body: {},
    answer: {},
    headers: { host: "rebind.example.com" },
  },
  {
    name: "pull",
    path: "/api/pull",
    body: { model: PULLED },
    answer: { tokenDelayMs: 300 },
  },
  {
    name: "load of a model that was not in memory",
    path: "/api/chat",
    body: { model: PULLED, messages: MESSAGES, keep_alive: 0 },
    answer: { tokens: 20, headersDelayMs: LOAD_NS / 1e6, loadNs: LOAD_NS },
  },
];
