/**
 * Everything that a test can choose about the fake Ollama, in one table with defaults. Numbers in
 * brackets are sections of the contract, docs/ollama-api.md. Delays are milliseconds, durations in
 * answers are integer nanoseconds as Ollama sends them (2.3).
 */

import type { FakeConnection } from "./http.ts";
import type { RecordedRequest } from "./request.ts";

/** A model that the fake has on disk. */
export interface FakeModel {
  /** Canonical short name (8.4), for example "llama3.2:latest". */
  name: string;
  /** Bytes on disk (6.2). */
  size: number;
  /** Bytes in memory while loaded, all and the part on the GPU (6.1); default: `size`. */
  loadedSize?: number;
  loadedVram?: number;
  /** Hex without "sha256:"; default: made from the name. */
  digest?: string;
  family: string;
  parameterSize: string;
  quantization: string;
  /** Longest context in tokens (6.2), and the loaded one (6.1). */
  maxContext: number;
  loadedContext?: number;
  embeddingLength: number;
  /** "completion", "embedding", "tools", "thinking", "vision", ... (6.2). */
  capabilities: string[];
  /** Loaded from the start; otherwise the first request loads it. */
  loaded?: boolean;
  /** `expires_at` in /api/ps as it is to be sent (6.1); default: last use + keep_alive. */
  expiresAt?: string;
  /** RFC 3339, for /api/tags. */
  modifiedAt: string;
  /** Without `details` in ps and tags, as a damaged manifest gives. */
  withoutDetails?: boolean;
}

/** One tool call of the answer (2.3): arguments are an object, sent as a string on /v1. */
export interface FakeToolCall {
  name: string;
  arguments: Record<string, unknown>;
}

/**
 * How an answer goes wrong after it was accepted:
 * - "error": the runner fails. Native streams end with an error line (4.2); /v1 streams take the
 *   silent form of their API (4.3), with the odd chunk on chat and text completions;
 *   `stream:false` gets a 500.
 * - "silent_eof": the stream ends politely without its terminal marker (2.3).
 * - "reset": the connection breaks between two chunks, or in the middle of a `stream:false` body.
 * - "half_chunk": the same inside a chunk: fewer bytes than its size line says.
 * - "half_headers": the connection breaks inside the response head.
 * - "no_answer": the connection is closed without a byte.
 * - "stall": the stream goes silent and stays open until the client leaves.
 * - "malformed": one message that is no JSON is sent in between, then the answer goes on.
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

/** A fault and where in the stream it comes. */
export interface Fault {
  kind: FaultKind;
  /** Messages that are sent before it; default 2. With 0, "error" is a real 500 (4.2). */
  afterMessages?: number;
  /** Text of the error; default: the runner's. */
  message?: string;
}

/**
 * How a streamed body is cut. "message": one write and one HTTP chunk per message, as Ollama does (2.2).
 * "all": one chunk. `messages`: that many messages a chunk. `bytes`: chunks of that many bytes, whatever
 * they cut through. `seed`: random chunks of 1 to `max` (default 48) bytes, the same for each seed.
 */
export type Split =
  | "message"
  | "all"
  | { messages: number }
  | { bytes: number }
  | { seed: number; max?: number };

/** How a state endpoint answers (6): as it should, never, with a broken body, or as given. */
export type Probe =
  | "normal"
  | "hang"
  | "invalid_json"
  | { status?: number; body?: string; contentType?: string; delayMs?: number };

/** A layer of a transfer (2.5): its digest without "sha256:" and its size in bytes. */
export interface FakeLayer {
  digest: string;
  bytes: number;
}

/**
 * Takes over a request: may write raw bytes to the connection, read the body, close. The head of the
 * request is parsed. The answer is taken as given when it returns true or has written or closed;
 * otherwise the fake answers as usual. Throwing ConnectionGone (as write does) is fine.
 */
export type Script = (
  request: RecordedRequest,
  connection: FakeConnection,
) => Promise<boolean | void>;

/** What the fake does. Assign fields between requests; a request uses what was set when it came. */
export interface FakeBehaviour {
  /** Models on disk. Pull, copy, create and delete assign it. Default: DEFAULT_MODELS. */
  models: FakeModel[];
  /** Any model name is known; for cardinality tests. Default false. */
  acceptAnyModel: boolean;
  /** "0.40" adds the fields of later releases (10). Default "0.33". */
  release: "0.33" | "0.40";
  /** What /api/version says; default: made from `release`. */
  version: string | undefined;

  /** Silence before the response head: queue, load and prefill (8.2). Default 0. */
  headersDelayMs: number;
  /** Silence between head and first message; Ollama itself has none. Default 0. */
  firstTokenDelayMs: number;
  /** Before each further token. Default 0. */
  tokenDelayMs: number;

  /** Requests that a model answers at a time; the others wait (8.1). Default: no limit. */
  slots: number | undefined;
  /** `created_at` of native messages is the moment of their writing, to the microsecond (split "message" only). */
  freshTimestamps: boolean;

  /** Output messages with text; default: one per word, or 5. */
  tokens: number | undefined;
  /** Their texts, repeated as needed. Default: DEFAULT_WORDS. */
  words: readonly string[];
  /** Thinking messages before the text; default: 3 for thinking models unless `think` is false. */
  thinking: number | undefined;
  /** Tool calls after the text, in one message. Default: none. */
  toolCalls: readonly FakeToolCall[];
  /** The tool calls come in the final message instead (2.3). Default false. */
  toolCallsInFinal: boolean;
  /** Text in the final message (2.2). Default "". */
  finalText: string;
  /** `done_reason`; /v1 uses its own words. Default "stop". */
  finishReason: "stop" | "length";

  /** Prompt tokens, cached ones included (2.3). 0 is omitted as Ollama does. Default 26. */
  promptTokens: number;
  /** `prompt_eval_count` part from the cache (10): undefined is not sent, 0 is. Default undefined. */
  cachedTokens: number | undefined;
  /** Output tokens that are reported; default: as many as messages were sent. */
  outputTokens: number | undefined;
  /** First guess of /v1/messages (3.6), different from the truth. Default 21. */
  estimatedTokens: number;
  /** Final answers without token counts and durations. Default false. */
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

  /** Unix milliseconds of the first message, for `created` and `created_at`; default: the request's arrival. */
  startMs: number | undefined;
  /** Integers in `context` of the final /api/generate message (2.2). Default 3. */
  contextLength: number;
  /** Unknown fields at the end of every message and object. Default {}. */
  extraFields: Record<string, unknown>;
  /** Numbers in an embedding. Default 4. */
  dimensions: number;

  /** How streamed bodies are cut. Default "message". */
  split: Split;
  /** Each write to the socket has at most so many bytes, heads included. Default undefined. */
  writeBytes: number | undefined;
  /** The last message of a stream lacks its newline(s). Default false. */
  missingFinalNewline: boolean;

  /** What goes wrong. Default undefined. */
  fault: Fault | undefined;
  /** Answer inference, transfer and model routes with this error status (4.1, 4.3). */
  status: number | undefined;
  /** Its message; default: the usual one for the status. */
  statusMessage: string | undefined;
  /** Never answer those routes. Default false. */
  hang: boolean;

  /** 403 for unknown Host headers (5.1), as on a loopback listener. Default true. */
  hostCheck: boolean;
  /** 403 for unknown Origin headers (5.2). Default true. */
  originCheck: boolean;
  /** Further allowed origins, as OLLAMA_ORIGINS; "*" allows all. Default []. */
  origins: readonly string[];
  /** Headers added to every answer, in this order and case. Default []. */
  extraHeaders: readonly (readonly [string, string])[];

  versionProbe: Probe;
  psProbe: Probe;
  tagsProbe: Probe;

  /** Layers of pull, push and create, and progress messages for each. */
  layers: readonly FakeLayer[];
  progressPerLayer: number;

  /** Takes over requests. Default undefined. */
  script: Script | undefined;
  /** Changes to the behaviour for one request. Default undefined. */
  choose: ((request: RecordedRequest) => Partial<FakeBehaviour> | undefined) | undefined;
}

/** Pieces of the default answer: markup that Go escapes, and characters of 2, 3 and 4 bytes. */
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

/** The behaviour of a healthy Ollama. */
export function defaultBehaviour(): FakeBehaviour {
  return {
    models: [...DEFAULT_MODELS],
    acceptAnyModel: false,
    release: "0.33",
    version: undefined,
    headersDelayMs: 0,
    firstTokenDelayMs: 0,
    tokenDelayMs: 0,
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
