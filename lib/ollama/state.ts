/**
 * The state of the Ollama server as one immutable value, parsed from the responses of its status endpoints.
 *
 * @module
 */

import { copyOf } from "../http.ts";
import { valueAt } from "../json.ts";
import { isName } from "../model_name.ts";

/** Maximum length of a text taken from a response, in characters. */
export const LABEL_LIMIT_CHARACTERS = 128;

/** Maximum number of models in a response: each takes some microseconds of every scrape. */
export const MODELS_LIMIT = 10_000;

const MILLISECONDS_PER_SECOND = 1000;

/** State of the server at one point in time. */
export interface ServerState {
  /** Time at which the last probe ended, as of `performance.now()`. */
  readonly at: number;
  /** `undefined` if the version probe failed. */
  readonly version: string | undefined;
  /** Models in memory; `undefined` if the ps probe failed. */
  readonly loaded: readonly LoadedModel[] | undefined;
  /** Models on disk; `undefined` if the tags probe failed. */
  readonly installed: readonly InstalledModel[] | undefined;
  readonly probes: Readonly<Record<Probe, ProbeStatus>>;
}

/** Success and duration of a probe. */
interface ProbeStatus {
  /** Reason of the failure, on one line; `undefined` if the probe succeeded. */
  readonly error: string | undefined;
  /** From the request to the end of the response, to its failure, or to the timeout. */
  readonly durationSeconds: number;
}

/** A model in memory. A model with several runners is listed once by name. */
export interface LoadedModel {
  /** Name as the server spells it. */
  readonly name: string;
  /** Memory on GPUs and CPUs, summed over the runners. */
  readonly sizeBytes: number | undefined;
  /** Memory on GPUs, summed over the runners. */
  readonly vramBytes: number | undefined;
  /** Context length; the maximum of the runners. */
  readonly contextTokens: number | undefined;
  /** Seconds since the Unix epoch; the maximum of the runners. */
  readonly expiresAtSeconds: number | undefined;
  /** Each runner, at least one. Unknown details are empty. */
  readonly runners: readonly Runner[];
}

/** A runner of a model. */
export interface Runner extends ModelDetails {
  /** Context length in tokens. */
  readonly contextTokens: number | undefined;
}

/** The models in memory, by one `/api/ps`. */
export interface LoadedList {
  readonly models: readonly LoadedModel[];
  /** When they were requested, as of `performance.now()`. */
  readonly requestedAt: number;
}

/** What identifies the build of a model. */
interface ModelDetails {
  readonly digest: string;
  readonly family: string;
  readonly format: string;
  /** For example `8.2B`. */
  readonly parameterSize: string;
  /** For example `Q4_K_M`. */
  readonly quantizationLevel: string;
}

/** A model on disk. */
export interface InstalledModel {
  /** Name as the server spells it. */
  readonly name: string;
  readonly sizeBytes: number | undefined;
}

/** Result of a probe. The answer is absent if, and only if, there is an error. */
export interface ProbeResult<Answer> extends ProbeStatus {
  readonly answer: Answer | undefined;
}

/** Result of each probe. */
export interface ProbeResults {
  readonly version: ProbeResult<string>;
  readonly ps: ProbeResult<readonly LoadedModel[]>;
  readonly tags: ProbeResult<readonly InstalledModel[]>;
}
/** A status endpoint that is probed, by the last segment of its path. */
export type Probe = keyof ProbeResults;
/** All probes. */
export const PROBES = ["version", "ps", "tags"] as const satisfies Probe[];

/** Builds the state from the results of its probes. */
export function serverState({ version, ps, tags }: ProbeResults, at: number): ServerState {
  return {
    at,
    version: version.answer,
    loaded: ps.answer,
    installed: tags.answer,
    probes: { version: statusOf(version), ps: statusOf(ps), tags: statusOf(tags) },
  };
}

function statusOf({ error, durationSeconds }: ProbeStatus): ProbeStatus {
  return { error, durationSeconds };
}

// Parsers of the responses (docs/ollama-api.md 6.1 to 6.3). Fields of a model that are missing or of another type are
// absent in the result; only a response without a version or without a list of models is an error.

/** Parses a response of `/api/version`. */
export function parseVersion(json: unknown): string {
  const version = text(valueAt(json, "version"));
  if (version === "") throw new Error("no version in the response");
  return version;
}

/** Parses a response of `/api/ps`. */
export function parseLoaded(json: unknown): LoadedModel[] {
  return [...entriesByName(json)].map(([name, entries]) => ({
    name,
    sizeBytes: sum(entries.map((entry) => quantity(valueAt(entry, "size")))),
    vramBytes: sum(entries.map((entry) => quantity(valueAt(entry, "size_vram")))),
    contextTokens: max(entries.map(contextTokens)),
    expiresAtSeconds: max(entries.map((entry) => timestamp(valueAt(entry, "expires_at")))),
    runners: entries.map((entry) => ({ ...modelDetails(entry), contextTokens: contextTokens(entry) })),
  }));
}

/** Parses a response of `/api/tags`. */
export function parseInstalled(json: unknown): InstalledModel[] {
  return [...entriesByName(json)].map(([name, entries]) => ({
    name,
    sizeBytes: sum(entries.map((entry) => quantity(valueAt(entry, "size")))),
  }));
}

/** Groups the listed models by name. The server lists a model once for each of its runners (docs/ollama-api.md 10). */
function entriesByName(json: unknown): Map<string, unknown[]> {
  // Go marshals an empty list as null.
  const list = valueAt(json, "models") === null ? [] : valueAt(json, "models");
  if (!Array.isArray(list)) throw new Error("no list of models in the response");
  if (list.length > MODELS_LIMIT) throw new Error(`response exceeds ${MODELS_LIMIT} models`);
  const models = new Map<string, unknown[]>();
  for (const entry of list) {
    const name = valueAt(entry, "name") ?? valueAt(entry, "model");
    if (!isName(name)) continue;
    const entries = models.get(name);
    if (entries === undefined) models.set(name, [entry]);
    else entries.push(entry);
  }
  return models;
}

function contextTokens(entry: unknown): number | undefined {
  return quantity(valueAt(entry, "context_length"));
}

function modelDetails(entry: unknown): ModelDetails {
  const details = valueAt(entry, "details");
  return {
    digest: text(valueAt(entry, "digest")),
    family: text(valueAt(details, "family")),
    format: text(valueAt(details, "format")),
    parameterSize: text(valueAt(details, "parameter_size")),
    quantizationLevel: text(valueAt(details, "quantization_level")),
  };
}

/** Returns a copy of the text, well-formed and shortened to the limit, or `""` if the value is not a text. */
function text(value: unknown): string {
  return typeof value === "string" ? copyOf(value.slice(0, LABEL_LIMIT_CHARACTERS)) : "";
}

function quantity(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

/** Parses a time as Go marshals it; `Date.parse` alone accepts other texts too. Go's zero time means none. */
function timestamp(value: unknown): number | undefined {
  const milliseconds = typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : NaN;
  return milliseconds > 0 ? milliseconds / MILLISECONDS_PER_SECOND : undefined;
}

function sum(values: readonly (number | undefined)[]): number | undefined {
  return merged(values, (a, b) => a + b);
}

function max(values: readonly (number | undefined)[]): number | undefined {
  return merged(values, (a, b) => Math.max(a, b));
}

/** Merges the values that are known; `undefined` if none is. */
function merged(values: readonly (number | undefined)[], merge: (a: number, b: number) => number): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce(merge);
}
