/**
 * Models of the demo, each with its own behaviour.
 *
 * @module
 */

import type { FakeBehaviour, FakeModel, Fault } from "../../tests/fake_ollama/mod.ts";

const GIGABYTE = 1e9;
const NANOSECONDS_PER_MS = 1e6;

/** Range from which a number is drawn for each response. */
export type Range = readonly [min: number, max: number];

/** Behaviour of a model. Durations are in milliseconds. */
export interface Character {
  readonly model: FakeModel;
  /** Number of concurrent clients. */
  readonly clients: number;
  /** Pause between two requests of a client. */
  readonly pauseMs: Range;
  /** Time to first token of a loaded model with a free slot. */
  readonly promptMs: Range;
  readonly perTokenMs: Range;
  readonly promptTokens: Range;
  readonly outputTokens: Range;
  /** Thinking tokens. Default: none. */
  readonly thoughts?: Range;
  /** Load time, after `staysMs` without a request. Default: always loaded. */
  readonly loadMs?: number;
  readonly staysMs?: number;
  /** Wait for a free slot. Default: almost none. */
  readonly waitMs?: Range;
  /** Failures, and the percentage of responses with each. Default: none. */
  readonly faults?: readonly { readonly percent: number; readonly answer: { fault?: Fault; status?: number } }[];
}

/** Models by behaviour. */
export const CHARACTERS = {
  fast: {
    model: model("llama3.2:latest", "llama", "3.2B", 2.0, { loadedSize: 3.3, loaded: true }),
    clients: 3,
    pauseMs: [200, 2500],
    promptMs: [60, 260],
    perTokenMs: [9, 14],
    promptTokens: [20, 900],
    outputTokens: [40, 260],
  },
  slow: {
    model: model("llama3.3:70b", "llama", "70.6B", 42.5, { loadedSize: 46.4, loadedVram: 30.1, loaded: true }),
    clients: 2,
    pauseMs: [1000, 5000],
    promptMs: [900, 3800],
    perTokenMs: [85, 120],
    promptTokens: [200, 4200],
    outputTokens: [30, 110],
    waitMs: [0, 2500],
  },
  thinking: {
    model: model("qwen3:8b", "qwen3", "8.2B", 5.2, { loadedSize: 6.5, loaded: true, thinks: true }),
    clients: 2,
    pauseMs: [500, 4000],
    promptMs: [150, 500],
    perTokenMs: [18, 26],
    promptTokens: [60, 1500],
    outputTokens: [50, 180],
    thoughts: [40, 160],
  },
  loading: {
    model: model("gemma3:27b", "gemma3", "27.4B", 17.4, { loadedSize: 21.8 }),
    clients: 1,
    pauseMs: [6000, 30_000],
    promptMs: [300, 900],
    perTokenMs: [34, 46],
    promptTokens: [80, 2000],
    outputTokens: [40, 150],
    loadMs: 5200,
    staysMs: 15_000,
  },
  failing: {
    model: model("mistral-nemo:12b", "llama", "12.2B", 7.1, { loadedSize: 9.2, loadedVram: 8.4, loaded: true }),
    clients: 1,
    pauseMs: [1500, 6000],
    promptMs: [200, 700],
    perTokenMs: [22, 34],
    promptTokens: [50, 1200],
    outputTokens: [30, 120],
    faults: [
      { percent: 12, answer: { fault: { kind: "error", afterMessages: 8 } } },
      { percent: 12, answer: { status: 500 } },
      { percent: 6, answer: { fault: { kind: "silent_eof", afterMessages: 12 } } },
      { percent: 6, answer: { fault: { kind: "reset", afterMessages: 10 } } },
      { percent: 6, answer: { status: 503 } },
    ],
  },
  embedding: {
    model: model("nomic-embed-text:latest", "nomic-bert", "137M", 0.27, {
      loadedSize: 0.56,
      loaded: true,
      embeds: true,
    }),
    clients: 1,
    pauseMs: [150, 1500],
    promptMs: [12, 60],
    perTokenMs: [1, 1],
    promptTokens: [100, 2000],
    outputTokens: [1, 1],
  },
} as const satisfies Record<string, Character>;

/** Key of {@linkcode CHARACTERS}. */
export type CharacterName = keyof typeof CHARACTERS;

/** Properties of a model beyond name and size. Sizes are in GB. */
interface Details {
  readonly loadedSize?: number;
  readonly loadedVram?: number;
  readonly loaded?: boolean;
  readonly thinks?: boolean;
  readonly embeds?: boolean;
}

function model(name: string, family: string, parameterSize: string, gigabytes: number, details: Details): FakeModel {
  const { loadedSize = gigabytes, loaded = false, thinks = false, embeds = false } = details;
  const capabilities = embeds ? ["embedding"] : ["completion", "tools", "audio", ...thinks ? ["thinking"] : []];
  return {
    name,
    size: Math.round(gigabytes * GIGABYTE),
    loadedSize: Math.round(loadedSize * GIGABYTE),
    loadedVram: Math.round((details.loadedVram ?? loadedSize) * GIGABYTE),
    family,
    parameterSize,
    quantization: embeds ? "F16" : "Q4_K_M",
    maxContext: 131_072,
    loadedContext: embeds ? 2048 : 8192,
    embeddingLength: 4096,
    capabilities,
    loaded,
    modifiedAt: "2026-08-01T09:00:00+02:00",
  };
}

/** Draws an integer from a range, both ends included. */
export function draw([min, max]: Range): number {
  return Math.round(min + Math.random() * (max - min));
}

/**
 * Draws the behaviour of one response.
 *
 * @param isCold Whether the model has to be loaded first.
 */
export function drawAnswer(character: Character, isCold: boolean): Partial<FakeBehaviour> {
  const loadMs = isCold ? character.loadMs ?? 0 : draw([12, 60]);
  const waitMs = draw(character.waitMs ?? [0, 2]);
  const promptMs = draw(character.promptMs);
  const tokenDelayMs = draw(character.perTokenMs);
  const thinking = draw(character.thoughts ?? [0, 0]);
  const tokens = draw(character.outputTokens);
  const evalMs = tokenDelayMs * (tokens + thinking);
  const promptTokens = draw(character.promptTokens);
  return {
    headersDelayMs: loadMs + waitMs + promptMs,
    tokenDelayMs,
    thinking,
    tokens,
    promptTokens,
    cachedTokens: Math.round(promptTokens * Math.random() * 0.6),
    loadNs: loadMs * NANOSECONDS_PER_MS,
    promptEvalNs: promptMs * NANOSECONDS_PER_MS,
    evalNs: evalMs * NANOSECONDS_PER_MS,
    totalNs: (loadMs + waitMs + promptMs + evalMs) * NANOSECONDS_PER_MS,
    ...drawFault(character.faults ?? []),
  };
}

function drawFault(faults: NonNullable<Character["faults"]>): Partial<FakeBehaviour> {
  let left = Math.random() * 100;
  for (const { percent, answer } of faults) {
    left -= percent;
    if (left < 0) return answer;
  }
  return {};
}
