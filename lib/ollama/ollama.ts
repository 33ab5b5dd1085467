/**
 * What Ollama says of itself, asked when the metrics are scraped (sections 6.1 to 6.3 of the API).
 *
 * @module
 */

import { describe } from "../errors.ts";
import type { Fetch } from "../http.ts";
import type { ModelLabels } from "../metrics/model_labels.ts";
import type { Gauge, MetricRegistry } from "../metrics/registry.ts";
import { OTHER_MODEL } from "../model_name.ts";

/** Longest answer that is read, in characters: the longest lists of models have some hundred kB. */
export const ANSWER_LIMIT_CHARACTERS = 16 * 1024 * 1024;

/** Longest value of a label that Ollama's answers give, in characters. */
export const LABEL_LIMIT_CHARACTERS = 128;

const MILLISECONDS_PER_SECOND = 1000;

/** What is asked, and where. */
const PROBES = { version: "/api/version", ps: "/api/ps", tags: "/api/tags" } as const;
type Probe = keyof typeof PROBES;

/** Options of {@linkcode Ollama}. */
export interface OllamaOptions {
  /** Where Ollama is: scheme, host, port, and a base path if it has one. */
  readonly upstream: URL;
  readonly fetch: Fetch;
  readonly client: Deno.HttpClient;
  /** How long an answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Where the metrics of the server's state are declared. */
  readonly registry: MetricRegistry;
  /** Learns the models that the server lists. */
  readonly models: ModelLabels;
}

/** What a probe found: an answer, or why there is none. */
interface Finding<Answer> {
  readonly answer: Answer | undefined;
  readonly error: string | undefined;
  readonly seconds: number;
}

/** A model as `/api/ps` or `/api/tags` lists it; entries of one name are one model (section 10: one a runner). */
interface ListedModel {
  readonly sizeBytes: number | undefined;
  readonly vramBytes: number | undefined;
  readonly contextTokens: number | undefined;
  /** In seconds of the Unix epoch. */
  readonly expiresAtSeconds: number | undefined;
  readonly info: Readonly<Record<InfoLabel, string>>;
}

/** How the server was when it was last asked. Absent is what it did not tell. */
export interface ServerState {
  /** When it had answered, by `performance.now()`. */
  readonly at: number;
  readonly version: string | undefined;
  /** Why there is no version, in one line. */
  readonly error: string | undefined;
  readonly loaded: readonly LoadedModel[] | undefined;
  readonly installedModels: number | undefined;
}

/** A model in memory. */
export interface LoadedModel {
  /** As the server spells it. */
  readonly name: string;
  /** On GPUs and off them. */
  readonly sizeBytes: number | undefined;
  /** On GPUs. */
  readonly vramBytes: number | undefined;
  readonly contextTokens: number | undefined;
  /** In seconds of the Unix epoch. */
  readonly expiresAtSeconds: number | undefined;
  /** Such as `8.2B`. */
  readonly parameterSize: string;
  /** Such as `Q4_K_M`. */
  readonly quantization: string;
}

const INFO_LABELS = ["digest", "family", "format", "parameter_size", "quantization_level"] as const;
type InfoLabel = typeof INFO_LABELS[number];
type ModelGauge = Gauge<"model">;

/** Asks Ollama how it is, and keeps the gauges that say so. */
export class Ollama {
  readonly #options: OllamaOptions;
  readonly #up: Gauge;
  readonly #versionInfo: Gauge<"version">;
  readonly #loadedModels: Gauge;
  readonly #loadedSize: ModelGauge;
  readonly #loadedVram: ModelGauge;
  readonly #loadedContext: ModelGauge;
  readonly #loadedExpiry: ModelGauge;
  readonly #loadedInfo: Gauge<"model" | InfoLabel>;
  readonly #installedModels: Gauge;
  readonly #installedSize: ModelGauge;
  readonly #probeSuccess: Gauge<"probe">;
  readonly #probeDuration: Gauge<"probe">;
  /** The refresh under way, and when it ends at the latest: a second scrape that can wait for it shares it. */
  #refreshing: { readonly ended: Promise<void>; readonly deadline: number } | undefined;
  #state: ServerState | undefined;

  constructor(options: OllamaOptions) {
    this.#options = options;
    const { registry } = options;
    const model = (name: string, help: string): ModelGauge => registry.gauge(`ollama_${name}`, help, ["model"]);
    this.#up = registry.gauge("ollama_up", "1 if Ollama told its version, else 0.", []);
    this.#versionInfo = registry.gauge("ollama_version_info", "Always 1.", ["version"]);
    this.#loadedModels = registry.gauge("ollama_loaded_models", "Models in memory.", []);
    this.#loadedSize = model("loaded_model_size_bytes", "Memory that a loaded model takes, on GPUs and off them.");
    this.#loadedVram = model("loaded_model_vram_bytes", "The part of that memory which is on GPUs.");
    this.#loadedContext = model("loaded_model_context_tokens", "Length of the context that a model was loaded with.");
    this.#loadedExpiry = model(
      "loaded_model_expiry_timestamp_seconds",
      "When a loaded model is to be unloaded, in seconds of the Unix epoch; centuries ahead for a model that stays.",
    );
    this.#loadedInfo = registry.gauge("ollama_loaded_model_info", "Always 1.", ["model", ...INFO_LABELS]);
    this.#installedModels = registry.gauge("ollama_installed_models", "Models on disk.", []);
    this.#installedSize = model("installed_model_size_bytes", "Size of a model on disk; models may share parts of it.");
    this.#probeSuccess = registry.gauge(
      "ollama_exporter_probe_success",
      "1 if Ollama answered the question in time and in form, else 0.",
      ["probe"],
    );
    this.#probeDuration = registry.gauge("ollama_exporter_probe_duration_seconds", "How long the answer took.", [
      "probe",
    ]);
  }

  /**
   * The version that Ollama reports.
   *
   * @throws {Error} Where it does not answer in time, or not as Ollama does; the message says so in one line.
   */
  async version(): Promise<string> {
    return versionOf(await this.#ask("version", this.#options.timeoutMs));
  }

  /**
   * Asks all questions side by side and sets the gauges. What does not answer is marked as failed and leaves no series.
   *
   * @param limitMs The scraper's own limit, where it is less than the configured one.
   */
  refresh(limitMs = Infinity): Promise<void> {
    const timeoutMs = Math.min(limitMs, this.#options.timeoutMs);
    const deadline = performance.now() + timeoutMs;
    if (this.#refreshing !== undefined) {
      return this.#refreshing.deadline <= deadline ? this.#refreshing.ended : this.#refresh(timeoutMs);
    }
    const ended = this.#refresh(timeoutMs).finally(() => this.#refreshing = undefined);
    this.#refreshing = { ended, deadline };
    return ended;
  }

  /** What the last refresh found; `undefined` before the first. */
  get state(): ServerState | undefined {
    return this.#state;
  }

  /** Refreshes if the last refresh was longer ago than this. */
  async refreshOlder(ageMs: number): Promise<void> {
    if (this.#state === undefined || performance.now() - this.#state.at > ageMs) await this.refresh();
  }

  async #refresh(timeoutMs: number): Promise<void> {
    const [version, ps, tags] = await Promise.all([
      this.#find("version", timeoutMs, versionOf),
      this.#find("ps", timeoutMs, modelsOf),
      this.#find("tags", timeoutMs, modelsOf),
    ]);
    // From here on nothing is awaited: no scrape sees half of it.
    this.#setProbes({ version, ps, tags });
    this.#up.set(version.answer === undefined ? 0 : 1);
    this.#versionInfo.reset();
    if (version.answer !== undefined) this.#versionInfo.set({ version: clip(version.answer) }, 1);
    this.#setLoaded(ps.answer);
    this.#setInstalled(tags.answer);
    this.#state = {
      at: performance.now(),
      version: version.answer && clip(version.answer),
      error: version.error,
      loaded: ps.answer && [...ps.answer].map(([name, entries]) => loadedModel(name, entries)),
      installedModels: tags.answer?.size,
    };
  }

  #setProbes(findings: Readonly<Record<Probe, Finding<unknown>>>): void {
    for (const [probe, { answer, seconds }] of Object.entries(findings)) {
      this.#probeSuccess.set({ probe }, answer === undefined ? 0 : 1);
      this.#probeDuration.set({ probe }, seconds);
    }
  }

  #setLoaded(listed: Map<string, ListedModel[]> | undefined): void {
    for (const gauge of [this.#loadedSize, this.#loadedVram, this.#loadedContext, this.#loadedExpiry]) gauge.reset();
    this.#loadedInfo.reset();
    setCount(this.#loadedModels, listed);
    for (const [name, entries] of listed ?? []) {
      const model = this.#options.models.learn(name);
      setSum(this.#loadedSize, model, entries, (entry) => entry.sizeBytes);
      setSum(this.#loadedVram, model, entries, (entry) => entry.vramBytes);
      if (model === OTHER_MODEL) continue;
      setMost(this.#loadedContext, model, entries, (entry) => entry.contextTokens);
      setMost(this.#loadedExpiry, model, entries, (entry) => entry.expiresAtSeconds);
      for (const { info } of entries) this.#loadedInfo.set({ model, ...info }, 1);
    }
  }

  #setInstalled(listed: Map<string, ListedModel[]> | undefined): void {
    this.#installedSize.reset();
    setCount(this.#installedModels, listed);
    for (const [name, entries] of listed ?? []) {
      setSum(this.#installedSize, this.#options.models.learn(name), entries, (entry) => entry.sizeBytes);
    }
  }

  async #find<Answer>(
    probe: Probe,
    timeoutMs: number,
    read: (answer: unknown) => Answer,
  ): Promise<Finding<Answer>> {
    const start = performance.now();
    let answer: Answer | undefined;
    let error: string | undefined;
    try {
      answer = read(await this.#ask(probe, timeoutMs));
    } catch (thrown) {
      error = thrown instanceof Error ? thrown.message : String(thrown);
    }
    return { answer, error, seconds: (performance.now() - start) / MILLISECONDS_PER_SECOND };
  }

  async #ask(probe: Probe, timeoutMs: number): Promise<unknown> {
    const { upstream, fetch, client } = this.#options;
    const path = PROBES[probe];
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), timeoutMs);
    try {
      const response = await fetch(upstream.href.replace(/\/$/, "") + path, {
        headers: { "accept-encoding": "identity" },
        redirect: "manual",
        signal: controller.signal,
        client,
      });
      const text = await readText(response);
      if (!response.ok) throw new Error(`status ${response.status}`);
      return JSON.parse(text);
    } catch (error) {
      const what = controller.signal.aborted ? `no answer within ${timeoutMs} ms` : describe(error);
      throw new Error(`${path}: ${what}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_LIMIT_CHARACTERS) throw new Error(`answer over ${ANSWER_LIMIT_CHARACTERS} characters`);
  }
  return text + decoder.decode();
}

// The answers' fields. Every one of them may be missing or of another type: then there is no value, and no exception.

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function versionOf(answer: unknown): string {
  const version = field(answer, "version");
  if (typeof version !== "string" || version === "") throw new Error(`${PROBES.version}: no version in the answer`);
  return version;
}

/** The listed models by name. `null` is what Go makes of an empty list. */
function modelsOf(answer: unknown): Map<string, ListedModel[]> {
  const list = field(answer, "models") === null ? [] : field(answer, "models");
  if (!Array.isArray(list)) throw new Error("no list of models in the answer");
  const models = new Map<string, ListedModel[]>();
  for (const entry of list) {
    const name = field(entry, "name") ?? field(entry, "model");
    if (typeof name !== "string" || name === "") continue;
    const entries = models.get(name);
    if (entries === undefined) models.set(name, [listedModel(entry)]);
    else entries.push(listedModel(entry));
  }
  return models;
}

function listedModel(entry: unknown): ListedModel {
  const details = field(entry, "details");
  const source = (label: InfoLabel): unknown => field(label === "digest" ? entry : details, label);
  return {
    sizeBytes: quantity(field(entry, "size")),
    vramBytes: quantity(field(entry, "size_vram")),
    contextTokens: quantity(field(entry, "context_length")),
    expiresAtSeconds: timestamp(field(entry, "expires_at")),
    info: Object.fromEntries(INFO_LABELS.map((label) => [label, clip(source(label))])) as Record<InfoLabel, string>,
  };
}

function quantity(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

/** A time as Go writes it; `Date.parse` would find one in other texts, too. Go's zero time, in the year 1, is none. */
function timestamp(value: unknown): number | undefined {
  const milliseconds = typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : NaN;
  return milliseconds > 0 ? milliseconds / MILLISECONDS_PER_SECOND : undefined;
}

function clip(value: unknown): string {
  return typeof value === "string" ? value.slice(0, LABEL_LIMIT_CHARACTERS).toWellFormed() : "";
}

/** The number of models; no series where it is not known. */
function setCount(gauge: Gauge, models: Map<string, unknown> | undefined): void {
  if (models === undefined) gauge.remove();
  else gauge.set(models.size);
}

type Entries = readonly ListedModel[];
type Read = (entry: ListedModel) => number | undefined;

/** Adds up what the entries have of a model, on top of what others with the same label had. */
function setSum(gauge: ModelGauge, model: string, entries: Entries, read: Read): void {
  const sum = sumOf(entries, read);
  if (sum !== undefined) gauge.inc({ model }, sum);
}

function setMost(gauge: ModelGauge, model: string, entries: Entries, read: Read): void {
  const most = mostOf(entries, read);
  if (most !== undefined) gauge.set({ model }, most);
}

/** The entries of one name as the one model that they are. */
function loadedModel(name: string, entries: Entries): LoadedModel {
  const [first] = entries;
  return {
    name,
    sizeBytes: sumOf(entries, (entry) => entry.sizeBytes),
    vramBytes: sumOf(entries, (entry) => entry.vramBytes),
    contextTokens: mostOf(entries, (entry) => entry.contextTokens),
    expiresAtSeconds: mostOf(entries, (entry) => entry.expiresAtSeconds),
    parameterSize: first?.info.parameter_size ?? "",
    quantization: first?.info.quantization_level ?? "",
  };
}

function sumOf(entries: Entries, read: Read): number | undefined {
  const values = entries.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
}

function mostOf(entries: Entries, read: Read): number | undefined {
  const values = entries.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : values.reduce((most, value) => Math.max(most, value));
}
