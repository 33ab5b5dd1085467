/**
 * Requests of the bench and responses of its upstream, in Ollama's format.
 *
 * @module
 */

import { type Bulk, bulkOf, patternOf } from "./bulk.ts";

/** APIs that are measured. */
export type Dialect = "native" | "openai" | "anthropic";

/** Paths of the APIs. */
export const PATHS: Readonly<Record<Dialect, string>> = {
  native: "/api/chat",
  openai: "/v1/chat/completions",
  anthropic: "/v1/messages",
};

/** Response that a request wants from the bench's upstream, in `options` of its body, whatever the API. */
export interface Wanted {
  /** Tokens of the stream. Default: 1. */
  readonly num_predict?: number;
  /** Delay between tokens in ms. Default: none. */
  readonly pace_ms?: number;
  /** Whether paced tokens have the time of their sending in them. */
  readonly stamped?: boolean;
  /** Bytes of each token. Default: the length of a time stamp. */
  readonly token_bytes?: number;
  /** Whether the stream ends with an error. Native API only. */
  readonly fails?: boolean;
  /** Status of an error response. Default: no error. */
  readonly status?: number;
}

/** Shape of a response. */
export interface Shape {
  readonly dialect: Dialect;
  readonly model: string;
  readonly tokens: number;
  /** OpenAI: whether the request asks for usage. */
  readonly usage: boolean;
  /** See {@linkcode Wanted}. */
  readonly fails?: boolean | undefined;
}

/** Start of a token's time stamp, which occurs nowhere else in a response. */
export const STAMP_MARK = "@";
/** Digits of a time stamp: microseconds of the Unix epoch. */
export const STAMP_DIGITS = 16;
const NO_STAMP = STAMP_MARK + "0".repeat(STAMP_DIGITS);

/** Body of an error response. */
export const ERROR_BODY = '{"error":"model runner has unexpectedly stopped"}';

/** Response to `GET /api/version`, padded to 93 bytes. */
export const VERSION_BODY = `{"version":"0.33.0","filler":"${"x".repeat(61)}"}`;

const CREATED_AT = "2026-08-21T10:00:00.123456789Z";

interface Messages {
  readonly first: readonly string[];
  readonly token: string;
  readonly last: readonly string[];
}

const MESSAGES: Readonly<Record<Dialect, (shape: Shape) => Messages>> = {
  native({ model, tokens, fails }): Messages {
    const start = `{"model":"${model}","created_at":"${CREATED_AT}","message":{"role":"assistant","content":`;
    const end = `"done":true,"done_reason":"stop","total_duration":1250000000,"load_duration":52000000,` +
      `"prompt_eval_count":26,"prompt_eval_duration":130000000,"eval_count":${tokens},"eval_duration":41000000}\n`;
    const last = fails ? `${ERROR_BODY}\n` : `${start}""},${end}`;
    return { first: [], token: `${start}"${NO_STAMP}"},"done":false}\n`, last: [last] };
  },
  openai({ model, tokens, usage }): Messages {
    const start = `data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1787306400,` +
      `"model":"${model}","system_fingerprint":"fp_ollama","choices":[`;
    const usageText = `"prompt_tokens":26,"completion_tokens":${tokens},"total_tokens":${tokens + 26}`;
    return {
      first: [],
      token: `${start}{"index":0,"delta":{"content":"${NO_STAMP}"},"finish_reason":null}]}\n\n`,
      last: [
        `${start}{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n`,
        ...(usage ? [`${start}],"usage":{${usageText}}}\n\n`] : []),
        "data: [DONE]\n\n",
      ],
    };
  },
  anthropic({ model, tokens }): Messages {
    const event = (type: string, rest: string): string => `event: ${type}\ndata: {"type":"${type}"${rest}}\n\n`;
    const start = `"message":{"id":"msg_ab12","type":"message","role":"assistant","model":"${model}","content":[],` +
      `"usage":{"input_tokens":21,"output_tokens":0}}`;
    const delta = `,"delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":26,"output_tokens":${tokens}}`;
    return {
      first: [
        event("message_start", `,${start}`),
        event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
      ],
      token: event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"${NO_STAMP}"}`),
      last: [event("content_block_stop", `,"index":0`), event("message_delta", delta), event("message_stop", "")],
    };
  },
};

/** Returns the body of a response that is not streamed. */
export function wholeBody({ dialect, model, tokens }: Shape): string {
  switch (dialect) {
    case "native":
      return MESSAGES.native({ dialect, model, tokens, usage: false }).last.join("").trim();
    case "openai":
      return `{"id":"chatcmpl-123","object":"chat.completion","created":1787306400,"model":"${model}",` +
        `"choices":[{"index":0,"message":{"role":"assistant","content":"."},"finish_reason":"stop"}],` +
        `"usage":{"prompt_tokens":26,"completion_tokens":${tokens},"total_tokens":${tokens + 26}}}`;
    case "anthropic":
      return `{"id":"msg_ab12","type":"message","role":"assistant","model":"${model}",` +
        `"content":[{"type":"text","text":"."}],"stop_reason":"end_turn",` +
        `"usage":{"input_tokens":26,"output_tokens":${tokens}}}`;
  }
}

/**
 * Returns the body of a stream, without time stamps.
 *
 * @param tokenBytes See {@linkcode Wanted}.
 */
export function streamBody(shape: Shape, tokenBytes?: number): Bulk {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const [before = "", after = ""] = token.split(NO_STAMP);
  const tokens = tokenBytes === undefined
    ? bulkOf(token, shape.tokens)
    : Array.from({ length: shape.tokens }, () => [...bulkOf(before), ...patternOf(tokenBytes), ...bulkOf(after)])
      .flat();
  return [...bulkOf(first.join("")), ...tokens, ...bulkOf(last.join(""))];
}

/** Returns a stream as it is sent, each message in a chunk of its own: what precedes the tokens, a token, the rest. */
export function streamChunks(shape: Shape): { readonly head: string; readonly token: string; readonly tail: string } {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  return {
    head: streamHead(shape.dialect) + first.map(chunk).join(""),
    token: chunk(token),
    tail: `${last.map(chunk).join("")}0\r\n\r\n`,
  };
}

/** Returns the head of a streamed response. */
export function streamHead(dialect: Dialect): string {
  const type = dialect === "native" ? "application/x-ndjson" : "text/event-stream";
  const date = "Date: Sun, 22 Nov 2026 18:00:00 GMT";
  return `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${date}\r\nTransfer-Encoding: chunked\r\n\r\n`;
}

/** Returns text as a chunk of HTTP/1.1. It must be ASCII. */
export function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

/** Returns a complete response with its head. */
export function responseOf(body: string, status = 200): string {
  return `${responseHead("application/json; charset=utf-8", body.length, status)}${body}`;
}

/** Returns the head of a response with a length. */
export function responseHead(type: string, length: number, status = 200): string {
  return `HTTP/1.1 ${status} Whatever\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`;
}

/** Returns the response to a checked upload. */
export function checkedBody(lostBytes: number): string {
  return `{"lost_bytes":${lostBytes}}`;
}

/** Returns the response to `GET /api/ps` and `GET /api/tags` with that many models. */
export function modelsBody(path: "/api/ps" | "/api/tags", count: number): string {
  const [families, context] = [["llama"], path === "/api/ps" ? { size_vram: 3338801804, context_length: 4096 } : {}];
  const details = { format: "gguf", family: "llama", families, parameter_size: "3.2B", quantization_level: "Q4_K_M" };
  const times = path === "/api/ps"
    ? { expires_at: "2026-12-21T12:05:00.123456789+02:00" }
    : { modified_at: "2026-08-01T09:00:00.5+02:00", capabilities: ["completion", "tools"] };
  const models = Array.from({ length: count }, (_, index) => {
    const [name, digest] = [modelName(index), index.toString(16).padStart(64, "a")];
    return { name, model: name, size: 3338801804 + index, digest, details, ...times, ...context };
  });
  return JSON.stringify({ models });
}

/** Returns the name of one of the bench's models. */
export function modelName(index: number): string {
  return `bench${index}:latest`;
}

/** Returns a request without a body. */
export function get(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
}

/** Returns the head of a blob upload. */
export function uploadHead(query: string, bytes: number, chunked: boolean): string {
  const framing = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${bytes}`;
  return `POST /api/blobs/sha256:${"0".repeat(64)}${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n${framing}\r\n\r\n`;
}

/** Returns a request for a response of this shape, streamed or not. */
export function generationRequest({ dialect, model, usage }: Shape, options: Wanted, stream = true): string {
  // The bench's upstream reads `options`, whatever the API.
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "Why is the sky blue?" }],
    stream,
    ...(usage ? { stream_options: { include_usage: true } } : {}),
    ...(dialect === "anthropic" ? { max_tokens: 1024 } : {}),
    options,
  });
  const type = "Content-Type: application/json";
  return `POST ${
    PATHS[dialect]
  } HTTP/1.1\r\nHost: 127.0.0.1\r\n${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}
