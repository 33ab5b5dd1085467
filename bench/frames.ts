/**
 * What the bench's upstream answers, in the form of Ollama's own bytes: encoded once, sent often.
 *
 * @module
 */

import { type Bulk, bulkOf, patternOf } from "./bulk.ts";

/** The APIs that are measured. */
export type Dialect = "native" | "openai" | "anthropic";

/** What a request wants of the bench's upstream: it stands in `options` of its body, whatever the API. */
export interface Wanted {
  /** Tokens of the stream. Default: 1. */
  readonly num_predict?: number;
  /** From one token to the next; absent: they come at once. */
  readonly pace_ms?: number;
  /** Paced tokens do not tell when they were sent: the body is {@linkcode bodyOf}'s. */
  readonly plain?: boolean;
  /** Bytes of each token; absent: it is as long as its time stamp. */
  readonly token_bytes?: number;
  /** The stream ends with an error. Only of the native API. */
  readonly fails?: boolean;
  /** Status of an answer that is an error. Absent: it is none. */
  readonly status?: number;
}

/** What a stream is made of. */
export interface StreamShape {
  readonly dialect: Dialect;
  readonly model: string;
  readonly tokens: number;
  /** OpenAI: the request asks for usage. */
  readonly usage: boolean;
  /** See {@linkcode Wanted}. */
  readonly fails?: boolean | undefined;
}

/** What an answer that is an error says. */
export const ERROR_BODY = '{"error":"model runner has unexpectedly stopped"}';

/** Frames of a stream, already in the chunks of `Transfer-Encoding: chunked`. */
export interface Frames {
  /** Response head, and what comes with the first token. */
  readonly head: Uint8Array;
  /** One token; it holds {@linkcode STAMP_MARK} and {@linkcode STAMP_DIGITS} digits. */
  readonly token: Uint8Array;
  /** Index of the first digit in `token`; `undefined`: it is not written. */
  readonly stampAt: number | undefined;
  /** What comes after the last token, the last chunk included. */
  readonly tail: Uint8Array;
}

/** Begins the time stamp of a token; stands nowhere else in a response. */
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
export function encodeStream(shape: StreamShape): Frames {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const tokenChunk = chunk(token);
  return {
    head: encoder.encode(streamHead(shape.dialect) + first.map(chunk).join("")),
    token: encoder.encode(tokenChunk),
    stampAt: tokenChunk.indexOf(STAMP_MARK) + 1,
    tail: encoder.encode(last.map(chunk).join("") + "0\r\n\r\n"),
  };
}

/** Line feeds in the body of a stream, as the client gets it. */
export function lineFeedsOf(shape: StreamShape): number {
  const { first, token, last } = MESSAGES[shape.dialect](shape);
  const count = (texts: readonly string[]): number => texts.join("").split("\n").length - 1;
  return count(first) + shape.tokens * count([token]) + count(last);
}

/** Head of the answer that is a stream. */
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
 * The body of a stream, as the client gets it. Tokens tell no time.
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

/** The body of an answer that is no stream. */
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

/** A complete JSON response with its head. */
export function jsonResponse(body: string, status = 200): Uint8Array {
  const type = "application/json; charset=utf-8";
  const length = encoder.encode(body).length;
  return encoder.encode(
    `HTTP/1.1 ${status} Whatever\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n${body}`,
  );
}

/** `GET /api/version`, filled up to 93 bytes. */
export const VERSION_BODY = `{"version":"0.33.0","filler":"${"x".repeat(61)}"}`;

/** Answer to an upload that was checked. */
export function checkedBody(lostBytes: number): string {
  return `{"lost_bytes":${lostBytes}}`;
}

/** `GET /api/ps` and `GET /api/tags` of a server with that many models. */
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

/** Name of the bench's models. */
export function modelName(index: number): string {
  return `bench${index}:latest`;
}
