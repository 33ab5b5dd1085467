/** The fake Ollama answers recorded requests as Ollama 0.33 did: status, headers, framing, errors and JSON members. */

import { assertEquals } from "@std/assert";
import { ask, type RawResponse } from "../support/raw_client.ts";
import type { FakeBehaviour, FakeModel } from "./behaviour.ts";
import { startFakeOllama } from "./mod.ts";
import { bodyOf, readRecordings, type Recording } from "./recordings.ts";
import { anyModel } from "./state.ts";
import { latin1, latin1Bytes } from "./wire.ts";

const BLOB = "sha256:c457053846301c53e57aacd1142a4f52db8fcd919027625d74a56ac2cf09043c";

/** Returns a model of the recordings. */
function model(name: string, capabilities: string[], changes: Partial<FakeModel> = {}): FakeModel {
  return { ...anyModel(`${name}:latest`), capabilities, ...changes };
}

const MODELS = [
  model("tiny", ["completion"], { loaded: true }),
  model("tinyctx", ["completion"], { loadedContext: 256 }),
  model("chatter", ["completion"]),
  model("thinker", ["completion", "thinking"]),
  model("toolcaller", ["completion", "tools"]),
  model("tinybert", ["embedding"]),
];

const TOOL_CALL = { toolCalls: [{ name: "get_time", arguments: { tz: "UTC" } }], tokens: 0 };
const CRASH = { fault: { kind: "error", afterMessages: 20 }, tokens: 60 } as const;
const CUT = { finishReason: "length" } as const;
const UNREACHABLE = 'pull model manifest: Get "http://127.0.0.1:9/v2/library/x/manifests/latest": ' +
  "dial tcp 127.0.0.1:9: connect: connection refused";
const CANCELLED = "error reading llama-server response: context canceled";

/** Behaviour of the fake for recordings whose names begin so; the first that fits counts. */
const BEHAVIOURS: Record<string, Partial<FakeBehaviour>> = {
  busy: { status: 503 },
  crash: CRASH,
  tools_stream: TOOL_CALL,
  tools_json: TOOL_CALL,
  v1_chat_tools: TOOL_CALL,
  v1_resp_tools: TOOL_CALL,
  v1_msg_tools: TOOL_CALL,
  embed: { dimensions: 200 },
  chat_length1: CUT,
  chat_schema: CUT,
  chat_logprobs: CUT,
  think_format: CUT,
  v1_msg_json: CUT,
  v1_msg_stream: CUT,
  chat_overflow: { promptTokens: 559 },
  cancel: { fault: { kind: "error", message: CANCELLED } },
  pull_fail: { fault: { kind: "error", afterMessages: 1, message: UNREACHABLE } },
};

/** Recordings whose bodies the fake does not follow, and why. */
const OTHER_BODIES: Record<string, string> = {
  chat_logprobs: "no log probabilities",
  think_format: "no second run",
  show: "fewer members",
  create: "other layers",
  tags: "other models",
  v1_resp_json: "no members of the request",
  v1_resp_stream: "no members of the request",
  v1_resp_tools_stream: "no members of the request",
  crash_resp: "no members of the request",
};

const RECORDINGS = readRecordings().filter(({ name }) => !name.startsWith("v0_24"));

Deno.test("startFakeOllama() answers recorded requests as Ollama did", async (t) => {
  await using fake = await startFakeOllama({ models: MODELS });
  for (const recording of RECORDINGS) {
    const { name, method, target, requestHeaders, requestBody } = recording;
    await t.step(name, async () => {
      fake.reset();
      if (name !== "blob_head_404") fake.state.blobs.add(BLOB);
      const key = Object.keys(BEHAVIOURS).find((start) => name.startsWith(start));
      Object.assign(fake.behaviour, BEHAVIOURS[key ?? ""]);
      const headers = requestHeaders.filter(([name]) => name !== "Content-Length").map((header) => header.join(": "));
      const response = await ask(fake.port, `${method} ${target}`, headers, requestBody === "" ? null : requestBody);
      const [got, recorded] = [outlineOf(response), outlineOf(responseOf(recording))];
      assertEquals(name in OTHER_BODIES ? { ...got, body: recorded.body } : got, recorded, name);
    });
  }
});

function responseOf(recording: Recording): RawResponse {
  const { status, statusLine, headers, framing, chunks } = recording;
  const texts = chunks.map(({ bytes }) => latin1(bytes));
  return {
    status,
    statusLine,
    headers,
    body: latin1(bodyOf(recording)),
    chunks: framing === "chunked" ? texts : [],
    end: "complete",
  };
}

/** What answers to the same request have in common, whatever was generated. */
interface Outline {
  readonly statusLine: string;
  /** In order; values except those of `Date` and `Content-Length`. */
  readonly headers: readonly string[];
  /** Forms of HTTP chunks, or of the body; one for neighbours that are the same. */
  readonly body: readonly string[];
}

function outlineOf({ statusLine, status, headers, body, chunks }: RawResponse): Outline {
  const parts = chunks.length > 0 ? chunks : [body];
  const forms = parts.map((part) => status >= 400 ? errorForm(part) : formOf(part));
  return {
    statusLine,
    headers: headers.map(([name, value]) => /^(Date|Content-Length)$/.test(name) ? name : `${name}: ${value}`),
    body: forms.filter((form, index) => form !== forms[index - 1]),
  };
}

/** Errors must be the same, but for the random digits of request IDs. */
function errorForm(text: string): string {
  return text.replace(/req_[0-9a-f]{24}/, "req_");
}

/** Returns a text with each JSON value in it replaced by its form. */
function formOf(text: string): string {
  const decoded = new TextDecoder().decode(latin1Bytes(text));
  return decoded.replace(/\{.*\}/g, (json) => JSON.stringify(shapeOf(JSON.parse(json))));
}

/** Members and constants that tell what a message is; of all other values only the type is kept. */
const KEPT = ["object", "type", "role", "done", "done_reason", "finish_reason", "stop_reason", "status", "index"];

function shapeOf(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (typeof value !== "object" || value === null) {
    return value === null || KEPT.includes(key) || value === "" ? value : typeof value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member, key)]));
}
