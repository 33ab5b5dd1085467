/**
 * Responses of the bench's upstream, in Ollama's format: encoded once, sent often.
 *
 * @module
 */

import { type Bulk, bulkOf, patternOf } from "./bulk.ts";

/** APIs that are measured. */
export type Dialect = "native" | "openai" | "anthropic";

/** Response that a request wants from the bench's upstream, in `options` of its body, whatever the API. */
export interface Wanted {
  /** Tokens of the stream. Default: 1. */
  readonly num_predict?: number;
  /** Delay between tokens in ms. Default: none. */
  readonly pace_ms?: number;
  /** Whether paced tokens lack time stamps: the body is that of {@linkcode bodyOf}. */
  readonly plain?: boolean;
  /** Bytes of each token. Default: the length of its time stamp. */
  readonly token_bytes?: number;
  /** Whether the stream ends with an error. Native API only. */
  readonly fails?: boolean;
  /** Status of an error response. Default: no error. */
  readonly status?: number;
}

/** Shape of a stream. */
export interface StreamShape {
  readonly dialect: Dialect;
  readonly model: string;
  readonly tokens: number;
  /** OpenAI: whether the request asks for usage. */
  readonly usage: boolean;
  /** See {@linkcode Wanted}. */
  readonly fails?: boolean | undefined;
}

/** Body of an error response. */
export const ERROR_BODY = '{"error":"model runner has unexpectedly stopped"}';

/** Encoded stream, including the chunks of `Transfer-Encoding: chunked`. */
export interface EncodedStream {
  /** Response head, and what precedes the first token. */
  readonly head: Uint8Array;
  /** Token, with {@linkcode STAMP_MARK} and {@linkcode STAMP_DIGITS} digits. */
  readonly token: Uint8Array;
  /** Index of the first digit in `token`; `undefined` if no time is written. */
  readonly stampAt: number | undefined;
  /** What follows the last token, including the last chunk. */
  readonly tail: Uint8Array;
}

/** Start of a token's time stamp, which occurs nowhere else in a response. */
export const STAMP_MARK = "@";
/** Digits of a time stamp: microseconds of the Unix epoch. */
export const STAMP_DIGITS = 16;

const NO_STAMP = STAMP_MARK + "0".repeat(STAMP_DIGITS);
const CREATED_AT = "2026-08-21T10:00:00.123456789Z";
const CONTENT_TYPE: Readonly<Record<Dialect, string>> = {
  native: "application/x-ndjson",
  openai: "text/event-stream",
  anthropic: "text/event-stream",
};

const encoder = new TextEncoder();

/** Encodes a stream. */
export function encodeStream(shape: StreamShape): EncodedStream {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const tokenChunk = chunk(token);
  return {
    head: encoder.encode(streamHead(shape.dialect) + first.map(chunk).join("")),
    token: encoder.encode(tokenChunk),
    stampAt: tokenChunk.indexOf(STAMP_MARK) + 1,
    tail: encoder.encode(last.map(chunk).join("") + "0\r\n\r\n"),
  };
}

/** Returns the number of line feeds in the body of a stream. */
export function lineFeedsOf(shape: StreamShape): number {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const count = (texts: readonly string[]): number => texts.join("").split("\n").length - 1;
  return count(first) + shape.tokens * count([token]) + count(last);
}

/** Returns the head of a streamed response. */
export function streamHead(dialect: Dialect): string {
  return [
    "HTTP/1.1 200 OK",
    `Content-Type: ${CONTENT_TYPE[dialect]}`,
    "Date: Sun, 22 Nov 2026 18:00:00 GMT",
    "Transfer-Encoding: chunked",
    "\r\n",
  ].join("\r\n");
}

/**
 * Returns the body of a stream, without time stamps.
 *
 * @param tokenBytes See {@linkcode Wanted}.
 */
export function bodyOf(shape: StreamShape, tokenBytes?: number): Bulk {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const [before = "", after = ""] = token.split(NO_STAMP);
  const tokens = tokenBytes === undefined
    ? bulkOf(token, shape.tokens)
    : Array.from({ length: shape.tokens }, () => [...bulkOf(before), ...patternOf(tokenBytes), ...bulkOf(after)])
      .flat();
  return [...bulkOf(first.join("")), ...tokens, ...bulkOf(last.join(""))];
}

/** Returns the body of a response that is not streamed. */
export function wholeBody({ dialect, model, tokens }: StreamShape): string {
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

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

interface Messages {
  readonly first: readonly string[];
  readonly token: string;
  readonly last: readonly string[];
}

const MESSAGES: Readonly<Record<Dialect, (shape: StreamShape) => Messages>> = {
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
    return {
      first: [
        event("message_start", `,${start}`),
        event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
      ],
      token: event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"${NO_STAMP}"}`),
      last: [
        event("content_block_stop", `,"index":0`),
        event(
          "message_delta",
          `,"delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":26,"output_tokens":${tokens}}`,
        ),
        event("message_stop", ""),
      ],
    };
  },
};

/** Writes a time on the shared clock, in milliseconds, into a token. */
export function stamp(token: Uint8Array, at: number, milliseconds: number): void {
  let rest = Math.round(milliseconds * 1000);
  for (let index = at + STAMP_DIGITS - 1; index >= at; index--) {
    const tens = Math.floor(rest / 10);
    token[index] = 48 + rest - tens * 10;
    rest = tens;
  }
}

/** Returns a complete JSON response with its head. */
export function jsonResponse(body: string, status = 200): Uint8Array {
  const type = "application/json; charset=utf-8";
  const length = encoder.encode(body).length;
  return encoder.encode(
    `HTTP/1.1 ${status} Whatever\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n${body}`,
  );
}

/** Response to `GET /api/version`, padded to 93 bytes. */
export const VERSION_BODY = `{"version":"0.33.0","filler":"${"x".repeat(61)}"}`;

/** Returns the response to a checked upload. */
export function checkedBody(lostBytes: number): string {
  return `{"lost_bytes":${lostBytes}}`;
}

/** Returns the response to `GET /api/ps` and `GET /api/tags` with that many models. */
export function modelsBody(path: "/api/ps" | "/api/tags", count: number): string {
  const models = Array.from({ length: count }, (_, index) => {
    const name = modelName(index);
    return {
      name,
      model: name,
      size: 3338801804 + index,
      digest: index.toString(16).padStart(64, "a"),
      details: {
        parent_model: "",
        format: "gguf",
        family: "llama",
        families: ["llama"],
        parameter_size: "3.2B",
        quantization_level: "Q4_K_M",
      },
      ...(path === "/api/ps"
        ? { expires_at: "2026-12-21T12:05:00.123456789+02:00", size_vram: 3338801804, context_length: 4096 }
        : { modified_at: "2026-08-01T09:00:00.5+02:00", capabilities: ["completion", "tools"] }),
    };
  });
  return JSON.stringify({ models });
}

/** Returns the name of one of the bench's models. */
export function modelName(index: number): string {
  return `bench${index}:latest`;
}
