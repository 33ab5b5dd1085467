/**
 * State of the fake between requests, loaded models and blobs, and its parsing of model names
 * (docs/ollama-api.md 6, 8.4).
 */

import type { FakeBehaviour, FakeModel } from "./behaviour.ts";

const DEFAULT_KEEP_ALIVE_MS = 5 * 60_000;
/** Go's maximum duration, about 292 years, which `keep_alive: -1` means (6.1). */
const FOREVER_MS = 9_223_372_036_854;
const MS_PER_UNIT: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Returns the short form of a model name with its tag: "llama3.2" gives "llama3.2:latest" (8.4). */
export function canonicalName(name: string): string {
  let rest = name.trim().replace(/^[a-z]+:\/\//, "").replace(/^registry\.ollama\.ai\//, "");
  rest = rest.replace(/^library\//, "");
  return rest.lastIndexOf(":") > rest.lastIndexOf("/") ? rest : `${rest}:latest`;
}

/**
 * Parses a `keep_alive` (2.1) to milliseconds: `undefined` if missing, Infinity for forever. Throws if it is invalid.
 */
export function keepAliveMs(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number") return value < 0 ? Infinity : value * 1000;
  if (typeof value !== "string") throw new Error("invalid keep_alive");
  const [, sign, text] = /^([+-]?)((?:\d+\.?\d*(?:ns|us|µs|ms|s|m|h))+|0)$/.exec(value) ?? [];
  if (text === undefined) {
    const missing = /^[+-]?\d+\.?\d*$/.test(value) ? "missing unit in" : "invalid";
    throw new Error(`time: ${missing} duration ${JSON.stringify(value)}`);
  }
  if (sign === "-") return Infinity;
  let sum = 0;
  for (const [, number, unit = ""] of text.matchAll(/(\d+\.?\d*)(ns|us|µs|ms|s|m|h)/g)) {
    sum += Number(number) * (MS_PER_UNIT[unit] ?? 0);
  }
  return sum;
}

/** Context length of a loaded model whose request has none, without `OLLAMA_CONTEXT_LENGTH`. */
const DEFAULT_CONTEXT_LENGTH = 4096;

/** Returns the context length with which a model is loaded. */
export function contextOf(model: FakeModel, asked: number = model.loadedContext ?? DEFAULT_CONTEXT_LENGTH): number {
  return Math.min(asked, model.maxContext);
}

/** State of the server. */
export class FakeState {
  /** Blob digests, "sha256:<hex>". */
  readonly blobs = new Set<string>();
  /** Loaded models by canonical name, with the Unix milliseconds of their expiry. */
  readonly loaded = new Map<string, number>();
  /** Context lengths of loaded models by canonical name, where requests have loaded them. */
  readonly contexts = new Map<string, number>();

  constructor(models: readonly FakeModel[]) {
    this.forget(models);
  }

  /** Resets to the initial state: no blobs, and only initially loaded models. */
  forget(models: readonly FakeModel[]): void {
    this.blobs.clear();
    this.loaded.clear();
    this.contexts.clear();
    for (const model of models) if (model.loaded === true) this.touch(model.name, undefined);
  }

  /** Marks a model as used: loaded, for `keep_alive` from now. */
  touch(name: string, keepMs: number | undefined): void {
    const stay = Math.min(keepMs ?? DEFAULT_KEEP_ALIVE_MS, FOREVER_MS);
    if (stay === 0) this.loaded.delete(name);
    else this.loaded.set(name, Date.now() + stay);
  }
}

/** Returns the model of a request, or `undefined` if it does not exist. */
export function findModel(behaviour: FakeBehaviour, asked: string): FakeModel | undefined {
  const name = canonicalName(asked);
  const folded = name.toLowerCase();
  for (const model of behaviour.models) {
    if (model.name.toLowerCase() === folded) return model;
  }
  return behaviour.acceptAnyModel && asked.trim() !== "" ? anyModel(name) : undefined;
}

/** Returns a model of any name, with all capabilities except thinking. */
export function anyModel(name: string): FakeModel {
  return {
    name,
    size: 1_000_000_000,
    family: "llama",
    parameterSize: "1B",
    quantization: "Q4_K_M",
    maxContext: 8192,
    embeddingLength: 2048,
    capabilities: ["completion", "tools", "embedding", "vision", "audio"],
    modifiedAt: "2026-08-01T09:00:00+02:00",
  };
}
