/**
 * What the fake remembers between requests: loaded models and blobs; and how it reads model names
 * (docs/ollama-api.md 6, 8.4).
 */

import type { FakeBehaviour, FakeModel } from "./behaviour.ts";

const DEFAULT_KEEP_ALIVE_MS = 5 * 60_000;
/** Go's largest duration, about 292 years: what `keep_alive:-1` gives (6.1). */
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

/** The short form of a model name with its tag: "llama3.2" gives "llama3.2:latest" (8.4). */
export function canonicalName(name: string): string {
  let rest = name.trim().replace(/^[a-z]+:\/\//, "").replace(/^registry\.ollama\.ai\//, "");
  rest = rest.replace(/^library\//, "");
  return rest.lastIndexOf(":") > rest.lastIndexOf("/") ? rest : `${rest}:latest`;
}

/** Milliseconds of a `keep_alive` (2.1): undefined if absent, Infinity for ever, throws if bad. */
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

/** The server's memory. */
export class FakeState {
  /** Blob digests, "sha256:<hex>". */
  readonly blobs = new Set<string>();
  /** Loaded models by canonical name, with the Unix milliseconds of their expiry. */
  readonly loaded = new Map<string, number>();

  constructor(models: readonly FakeModel[]) {
    this.forget(models);
  }

  /** Back to the start: no blobs, and those models loaded that are from the start. */
  forget(models: readonly FakeModel[]): void {
    this.blobs.clear();
    this.loaded.clear();
    for (const model of models) if (model.loaded === true) this.touch(model.name, undefined);
  }

  /** A request used the model: it is loaded now, and for `keep_alive` from now. */
  touch(name: string, keepMs: number | undefined): void {
    const stay = Math.min(keepMs ?? DEFAULT_KEEP_ALIVE_MS, FOREVER_MS);
    if (stay === 0) this.loaded.delete(name);
    else this.loaded.set(name, Date.now() + stay);
  }
}

/** The model of a request: undefined if the fake does not have it. */
export function findModel(behaviour: FakeBehaviour, asked: string): FakeModel | undefined {
  const name = canonicalName(asked);
  const folded = name.toLowerCase();
  for (const model of behaviour.models) {
    if (model.name.toLowerCase() === folded) return model;
  }
  return behaviour.acceptAnyModel && asked.trim() !== "" ? anyModel(name) : undefined;
}

/** A model that nobody described: it can do everything but think. */
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
