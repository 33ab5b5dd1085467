/**
 * Behaviour of the fake Ollama that a test can choose, with defaults. Numbers in parentheses are sections of
 * docs/ollama-api.md. Delays are in milliseconds, durations in responses in integer nanoseconds as Ollama sends them
 * (2.3).
 */

import type { FakeConnection } from "./http.ts";
import type { RecordedRequest } from "./request.ts";

/** Installed model. */
export interface FakeModel {
  /** Canonical short name (8.4), for example "llama3.2:latest". */
  name: string;
  /** Bytes on disk (6.2). */
  size: number;
  /** Bytes in memory while loaded, in total and on the GPU (6.1). Default: `size`. */
  loadedSize?: number;
  loadedVram?: number;
  /** Hex without "sha256:". Default: derived from the name. */
  digest?: string;
  family: string;
  parameterSize: string;
  quantization: string;
  /** Maximum context length in tokens (6.2), and the one that it is loaded with by default (6.1). */
  maxContext: number;
  loadedContext?: number;
  /** Whether each prompt begins with a token of the model's own, which is never cut (12). Default: false. */
  hasBos?: boolean;
  embeddingLength: number;
  /** "completion", "embedding", "tools", "thinking", "vision", ... (6.2). */
  capabilities: string[];
  /** Whether it is loaded initially; otherwise the first request loads it. */
  loaded?: boolean;
  /** `expires_at` in /api/ps (6.1). Default: last use + keep_alive. */
  expiresAt?: string;
  /** RFC 3339, for /api/tags. */
  modifiedAt: string;
  /** Whether ps and tags lack its `details`, as with a damaged manifest. */
  withoutDetails?: boolean;
}

/** Tool call in a response (2.3). Arguments are an object, sent as a string on /v1. */
export interface FakeToolCall {
  name: string;
  arguments: Record<string, unknown>;
}

/**
 * How a response fails after the request was accepted:
 * - "error": the runner fails. Native streams end with an error line (4.2), /v1 streams silently (4.3), with the odd
 *   chunk on chat and text completions. With `stream:false`: status 500.
 * - "silent_eof": the stream ends regularly, without its terminal marker (2.3).
 * - "reset": the connection is closed between two chunks, or within a `stream:false` body.
 * - "half_chunk": the connection is closed within a chunk, after fewer bytes than its size line announces.
 * - "half_headers": the connection is closed within the response head.
 * - "no_answer": the connection is closed without a byte.
 * - "stall": the stream stops and stays open until the client disconnects.
 * - "malformed": one message is invalid JSON, then the stream continues.
 */
export type FaultKind =
  | "error"
  | "silent_eof"
  | "reset"
  | "half_chunk"
  | "half_headers"
  | "no_answer"
  | "stall"
  | "malformed";

/** Fault, and its position in the stream. */
export interface Fault {
  kind: FaultKind;
  /** Number of messages sent before it. Default 2. With 0, "error" is status 500 (4.2). */
  afterMessages?: number;
  /** Text of the error. Default: the runner's. */
  message?: string;
}

/**
 * How a streamed body is split. "message": one write and one HTTP chunk per message, as Ollama does (2.2). "all": one
 * chunk. `messages`: that many messages per chunk. `bytes`: chunks of that many bytes, regardless of messages. `seed`:
 * random chunks of 1 to `max` (default 48) bytes, the same for each seed.
 */
export type Split =
  | "message"
  | "all"
  | { messages: number }
  | { bytes: number }
  | { seed: number; max?: number };

/** How a state endpoint responds (6): normally, never, with an invalid body, or as given. */
export type Probe =
  | "normal"
  | "hang"
  | "invalid_json"
  | { status?: number; body?: string; contentType?: string; delayMs?: number };

/** Layer of a transfer (2.5): digest without "sha256:", and size in bytes. */
export interface FakeLayer {
  digest: string;
  bytes: number;
}

/**
 * Handles a request in place of the fake, whose head is parsed: may write raw bytes to the connection, read the body,
 * or close. If it returns true, has written or has closed, the request counts as answered; otherwise the fake answers
 * as usual. It may throw ConnectionGone, as `write()` does.
 */
export type Script = (
  request: RecordedRequest,
  connection: FakeConnection,
) => Promise<boolean | void>;

/** Behaviour of the fake. Fields may be assigned between requests; a request uses those set at its arrival. */
export interface FakeBehaviour {
  /** Installed models. Pull, copy, create and delete assign it. Default: DEFAULT_MODELS. */
  models: FakeModel[];
  /** Whether every model name is known, for cardinality tests. Default false. */
  acceptAnyModel: boolean;
  /** "0.40" adds the fields of later releases (10). Default "0.33". */
  release: "0.33" | "0.40";
  /** What runs models: `ollama` before 0.30. It decides the error for a prompt that does not fit (4.1). */
  engine: "llama-server" | "ollama";
  /** Version in /api/version. Default: derived from `release`. */
  version: string | undefined;

  /** Delay before the response head: queue, load and prompt evaluation (8.2). Default 0. */
  headersDelayMs: number;
  /** Delay between head and first message; Ollama itself has none. Default 0. */
  firstTokenDelayMs: number;
  /** Delay before each further token. Default 0. */
  tokenDelayMs: number;

  /** What the second token of a stream waits for, and with it all that follows. Only with split "message". */
  hold: Promise<void> | undefined;

  /** Concurrent requests per model; further ones wait (8.1). Default: unlimited. */
  slots: number | undefined;
  /**
   * Whether `created_at` of native messages is the time at which they are written, in microseconds. Only with split
   * "message".
   */
  freshTimestamps: boolean;

  /** Output messages with text. Default: one per word. */
  tokens: number | undefined;
  /** Texts of these, repeated as needed. Default: DEFAULT_WORDS. */
  words: readonly string[];
  /** Thinking messages before the text. Default: 3 for thinking models unless `think` is false. */
  thinking: number | undefined;
  /** Tool calls after the text, in one message. Default: none. */
  toolCalls: readonly FakeToolCall[];
  /** Whether the tool calls are in the final message instead (2.3). Default false. */
  toolCallsInFinal: boolean;
  /** Text in the final message (2.2). Default "". */
  finalText: string;
  /** `done_reason`, translated on /v1. Default "stop". */
  finishReason: "stop" | "length";

  /**
   * Prompt tokens, including cached ones (2.3), before a prompt that does not fit is cut (12). 0 is omitted as by
   * Ollama. Default 26.
   */
  promptTokens: number;
  /** Cached part of the prompt tokens (10). 0 is sent, `undefined` is not. Default `undefined`. */
  cachedTokens: number | undefined;
  /** Reported output tokens. Default: the number of messages sent. */
  outputTokens: number | undefined;
  /** Estimated input tokens in `message_start` of /v1/messages (3.6), different from the real count. Default 21. */
  estimatedTokens: number;
  /** Whether responses lack token counts and durations. Default false. */
  omitUsage: boolean;

  /** ns; 0 is omitted. Default 52 ms. */
  loadNs: number;
  /** ns; default: `firstTokenDelayMs`, or 130 ms if that is 0. */
  promptEvalNs: number | undefined;
  /** ns; default: `tokenDelayMs` times the output tokens, or 41 ms if that is 0. */
  evalNs: number | undefined;
  /** ns; default: load + prompt eval + eval + 27 ms. */
  totalNs: number | undefined;
  /** `timings` of /v1/chat/completions (10); default: as `release` says. */
  timings: boolean | undefined;

  /** Unix milliseconds of the first message, for `created` and `created_at`. Default: the request's arrival. */
  startMs: number | undefined;
  /** Integers in `context` of the final /api/generate message (2.2). Default 3. */
  contextLength: number;
  /** Unknown fields, added at the end of every message and object. Default {}. */
  extraFields: Record<string, unknown>;
  /** Numbers in an embedding. Default 4. */
  dimensions: number;

  /** How streamed bodies are split. Default "message". */
  split: Split;
  /** Maximum bytes per write to the socket, including heads. Default: unlimited. */
  writeBytes: number | undefined;
  /** Whether the last message of a stream lacks its newlines. Default false. */
  missingFinalNewline: boolean;

  /** Fault of responses. Default: none. */
  fault: Fault | undefined;
  /** Error status of inference, transfer and model routes (4.1, 4.3). Default: none. */
  status: number | undefined;
  /** Message of that status. Default: Ollama's. */
  statusMessage: string | undefined;
  /** Whether these routes never respond. Default false. */
  hang: boolean;

  /** Whether unknown Host headers get 403 (5.1), as on a loopback listener. Default true. */
  hostCheck: boolean;
  /** Whether unknown Origin headers get 403 (5.2). Default true. */
  originCheck: boolean;
  /** Additional allowed origins, as in OLLAMA_ORIGINS; "*" allows all. Default []. */
  origins: readonly string[];
  /** Headers added to every response, in this order and case. Default []. */
  extraHeaders: readonly (readonly [string, string])[];

  versionProbe: Probe;
  psProbe: Probe;
  tagsProbe: Probe;

  /** Layers of pull, push and create, and the number of progress messages for each. */
  layers: readonly FakeLayer[];
  progressPerLayer: number;

  /** Handles requests in place of the fake. Default: none. */
  script: Script | undefined;
  /** Returns changes to the behaviour for one request. Default: none. */
  choose: ((request: RecordedRequest) => Partial<FakeBehaviour> | undefined) | undefined;
}

/** Texts of the default response: markup that Go escapes, and characters of 2, 3 and 4 bytes. */
export const DEFAULT_WORDS: readonly string[] = ["Hi", " there", " <b>café</b>", " 日本", " 🦙!"];

/** llama3.2 (loaded), qwen3 (thinks), nomic-embed-text (embeds). */
export const DEFAULT_MODELS: readonly FakeModel[] = [
  {
    name: "llama3.2:latest",
    size: 2019393189,
    loadedSize: 3338801804,
    digest: "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
    family: "llama",
    parameterSize: "3.2B",
    quantization: "Q4_K_M",
    maxContext: 131072,
    embeddingLength: 3072,
    capabilities: ["completion", "tools"],
    loaded: true,
    modifiedAt: "2026-08-01T09:00:00.5+02:00",
  },
  {
    name: "qwen3:latest",
    size: 5225388164,
    loadedSize: 6541868032,
    loadedVram: 4361245354,
    family: "qwen3",
    parameterSize: "8.2B",
    quantization: "Q4_K_M",
    maxContext: 40960,
    embeddingLength: 4096,
    capabilities: ["completion", "tools", "thinking"],
    modifiedAt: "2026-07-15T18:30:00+02:00",
  },
  {
    name: "nomic-embed-text:latest",
    size: 274302450,
    family: "nomic-bert",
    parameterSize: "137M",
    quantization: "F16",
    maxContext: 2048,
    embeddingLength: 768,
    capabilities: ["embedding"],
    modifiedAt: "2026-06-02T07:12:41.25+02:00",
  },
];

/** Returns the behaviour of a healthy Ollama server. */
export function defaultBehaviour(): FakeBehaviour {
  return {
    models: [...DEFAULT_MODELS],
    acceptAnyModel: false,
    release: "0.33",
    engine: "llama-server",
    version: undefined,
    headersDelayMs: 0,
    firstTokenDelayMs: 0,
    tokenDelayMs: 0,
    hold: undefined,
    slots: undefined,
    freshTimestamps: false,
    tokens: undefined,
    words: DEFAULT_WORDS,
    thinking: undefined,
    toolCalls: [],
    toolCallsInFinal: false,
    finalText: "",
    finishReason: "stop",
    promptTokens: 26,
    cachedTokens: undefined,
    outputTokens: undefined,
    estimatedTokens: 21,
    omitUsage: false,
    loadNs: 52_000_000,
    promptEvalNs: undefined,
    evalNs: undefined,
    totalNs: undefined,
    timings: undefined,
    startMs: undefined,
    contextLength: 3,
    extraFields: {},
    dimensions: 4,
    split: "message",
    writeBytes: undefined,
    missingFinalNewline: false,
    fault: undefined,
    status: undefined,
    statusMessage: undefined,
    hang: false,
    hostCheck: true,
    originCheck: true,
    origins: [],
    extraHeaders: [],
    versionProbe: "normal",
    psProbe: "normal",
    tagsProbe: "normal",
    layers: [
      {
        digest: "6a0746a1ec1aef3e7ec53868f220ff6e389f6f8ef87a01d77c96807de94ca2aa",
        bytes: 1321082688,
      },
      { digest: "fcc5a6bec9daf9b561a68827b67ab6088e1dba9d1fa2a50d7bbcc8384e0a265d", bytes: 7711 },
    ],
    progressPerLayer: 3,
    script: undefined,
    choose: undefined,
  };
}
