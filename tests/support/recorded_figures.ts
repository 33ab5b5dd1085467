/**
 * What a recording of Ollama says of itself, read in the simplest way: its whole body is there.
 *
 * @module
 */

import { canonicalModelName } from "../../lib/model_name.ts";
import { bodyOf, type Recording } from "../fake_ollama/recordings.ts";

/** Figures of a recording's final record, as metrics must show them. Absent: Ollama did not report it. */
export interface RecordedFigures {
  readonly outcome: "ok" | "client_error" | "server_error" | "stream_error" | "incomplete";
  /** Model of the answer, or else of the request, as `/api/tags` spells it. */
  readonly model?: string;
  readonly promptTokens?: number;
  readonly outputTokens?: number;
  readonly totalSeconds?: number;
  readonly loadSeconds?: number;
  readonly promptEvalSeconds?: number;
  readonly evalSeconds?: number;
  /** Total minus the other durations, of one run of a model. */
  readonly waitSeconds?: number;
  /** Generated tokens per second, of at least two tokens. */
  readonly tokensPerSecond?: number;
  /** Reason in the vocabulary of the `reason` label. */
  readonly finishReason?: string;
  readonly toolCalls?: number;
}

type Json = Record<string, unknown>;

const NANOSECONDS_PER_SECOND = 1e9;
/** Names of finish reasons on `/v1/messages`, and theirs in the `reason` label. */
const REASONS: Record<string, string> = {
  end_turn: "stop",
  max_tokens: "length",
  tool_use: "tool_calls",
  completed: "stop",
};

/** The messages of a recording's answer; `[DONE]` is that string. */
function messagesOf(recording: Recording): unknown[] {
  const type = new Map(recording.headers).get("Content-Type") ?? "";
  const text = new TextDecoder().decode(bodyOf(recording));
  if (text === "" || type.startsWith("text/plain")) return [];
  if (type === "text/event-stream") {
    return [...text.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => data === "[DONE]" ? data : JSON.parse(data));
  }
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Returns the figures of a recorded answer to one of the measured inference APIs. */
export function figuresOf(recording: Recording): RecordedFigures {
  const messages = messagesOf(recording);
  const outcome = outcomeOf(recording, messages);
  const request: Json = isJson(recording.requestBody) ? JSON.parse(recording.requestBody) : {};
  const objects = messages.filter((message): message is Json => typeof message === "object" && message !== null);
  const final = finalOf(objects);
  const named = nameOf(objects) ?? (outcome === "ok" ? request["model"] : undefined);
  const model = typeof named === "string" ? canonicalModelName(named) : undefined;
  if (recording.status !== 200 || final === undefined) return { outcome, ...(model !== undefined && { model }) };
  return defined({ outcome, model, ...tokensOf(final), ...durationsOf(final, request), ...endOf(objects, final) });
}

function isJson(text: string): boolean {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

/** The object that has the figures, or would have them. */
function finalOf(messages: readonly Json[]): Json | undefined {
  const last = messages.at(-1);
  if (last === undefined) return undefined;
  if (isObject(last["response"])) return isObject(last["response"]["usage"]) ? last["response"] : undefined;
  if (last["type"] === "message_stop") return messages.findLast(({ type }) => type === "message_delta");
  return last["done"] === false || typeof last["error"] === "string" ? undefined : last;
}

function nameOf(messages: readonly Json[]): string | undefined {
  for (const { model, message, response } of messages) {
    const holder = [response, message].find((value) => isObject(value) && "model" in value);
    const name = typeof model === "string" ? model : isObject(holder) ? holder["model"] : undefined;
    if (typeof name === "string" && name !== "") return name;
  }
  return undefined;
}

function outcomeOf({ status, headers }: Recording, messages: readonly unknown[]): RecordedFigures["outcome"] {
  if (status >= 500) return "server_error";
  if (status >= 400) return "client_error";
  const last = messages.at(-1);
  if (isObject(last) && typeof last["error"] === "string") return "stream_error";
  const type = new Map(headers).get("Content-Type") ?? "";
  if (type !== "text/event-stream" && type !== "application/x-ndjson") return "ok";
  if (last === "[DONE]") return "ok";
  const isEnd = isObject(last) &&
    (last["done"] === true || last["status"] === "success" || last["type"] === "message_stop" ||
      last["type"] === "response.completed");
  return isEnd ? "ok" : "incomplete";
}

function tokensOf(final: Json): Json {
  const usage = isObject(final["usage"]) ? final["usage"] : final;
  return {
    promptTokens: usage["prompt_eval_count"] ?? usage["prompt_tokens"] ?? usage["input_tokens"],
    outputTokens: usage["eval_count"] ?? usage["completion_tokens"] ?? usage["output_tokens"],
  };
}

/** Durations of a native answer. Ollama omits those that are 0 (docs/ollama-api.md 2.3). */
function durationsOf(final: Json, request: Json): Json {
  const seconds = (name: string) => typeof final[name] === "number" ? final[name] / NANOSECONDS_PER_SECOND : undefined;
  const [total, load, prompt] = ["total_duration", "load_duration", "prompt_eval_duration"].map(seconds);
  const durations = { totalSeconds: total, loadSeconds: load, promptEvalSeconds: prompt };
  if (total === undefined || load === undefined || final["done"] !== true) return durations;
  const output = seconds("eval_duration") ?? 0;
  const tokens = Number(final["eval_count"] ?? 0);
  // Thinking with a format is two runs, and the durations are those of the second (2.3).
  const isOneRun = request["think"] !== true || request["format"] === undefined;
  return {
    ...durations,
    evalSeconds: output,
    waitSeconds: isOneRun ? Math.max(0, total - load - (prompt ?? 0) - output) : undefined,
    tokensPerSecond: tokens >= 2 && output > 0 ? tokens / output : undefined,
  };
}

/** Finish reason and tool calls. */
function endOf(messages: readonly Json[], final: Json): Json {
  const calls = messages.map((message) => JSON.stringify(message)).filter(isToolCall).length;
  const reasons = messages.map((message) =>
    /"(?:done_reason|finish_reason|stop_reason)":"(\w+)"/.exec(JSON.stringify(message))?.[1]
  );
  const status = final["object"] === "response" ? String(final["status"]) : undefined;
  const reason = reasons.findLast((reason) => reason !== undefined) ?? status;
  if (reason === undefined) return {};
  const name = REASONS[reason] ?? reason;
  return { finishReason: calls > 0 && name === "stop" ? "tool_calls" : name, toolCalls: calls > 0 ? calls : undefined };
}

/** Whether a message has a tool call; each recording's tool calls come one in a message. */
function isToolCall(message: string): boolean {
  if (message.includes('"type":"response.')) return message.includes('"response.function_call_arguments.done"');
  return /"tool_calls":\[|"type":"tool_use"/.test(message);
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function defined(figures: Json): RecordedFigures {
  return Object.fromEntries(
    Object.entries(figures).filter(([, value]) => value !== undefined),
  ) as unknown as RecordedFigures;
}
