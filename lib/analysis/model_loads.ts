/**
 * Loads of models and their causes, from the responses that waited for them and from the lists of loaded models.
 *
 * @module
 */

import { isCloudModel, modelKey } from "../model_name.ts";
import type { ModelLoad, Observation } from "../observation.ts";
import type { LoadedList } from "../ollama/state.ts";

/** Maximum number of models whose past is kept. */
export const LOAD_MODELS_LIMIT = 256;
/** Maximum number of loads, of times of use and of times in memory that are kept for a model. */
export const LOAD_HISTORY_LIMIT = 16;

const MILLISECONDS_PER_SECOND = 1000;
/**
 * Minimum length of a load, in seconds. A loaded model is ready within milliseconds (docs/ollama-api.md 8.3); shorter
 * loads cannot be told from it.
 */
const MIN_LOAD_SECONDS = 1;
/** Ollama unloads a model that was not used for this time, by default: `OLLAMA_KEEP_ALIVE` (docs/ollama-api.md 8.1). */
export const KEEP_ALIVE_MS = 5 * 60 * 1000;

/** A time, in milliseconds of the clock of {@linkcode Observation.arrivedAt}. */
interface Interval {
  readonly from: number;
  readonly to: number;
}

/** A time in which the model answered, without a load in between. */
interface Use extends Interval {
  /** Context length that a request asked for; `undefined` if none did, or what they asked for is not known. */
  readonly contextTokens: number | undefined;
}

/** A time in which the server's list said the same of the model. */
interface Listing extends Interval {
  readonly isLoaded: boolean;
  /** Context length with which it is loaded, if known. */
  readonly contextTokens: number | undefined;
}

/** A load whose context length only the next list tells. */
interface UndecidedLoad {
  readonly model: string;
  /** When the model was ready. */
  readonly loadedAt: number;
  readonly askedTokens: number | undefined;
  /** Context length with which the model was in memory before. */
  readonly tokensBefore: number;
}

/** What is remembered of a model. Lists are in the order in which their items became known, the newest last. */
interface Past {
  loads: readonly Interval[];
  uses: readonly Use[];
  listings: readonly Listing[];
  undecided: UndecidedLoad | undefined;
}

/**
 * Finds loads. A response waits for a load from the request's arrival until the model is ready. Responses of a model
 * whose waits overlap waited for one load, whatever the order in which they end. Where a later one overlaps with two
 * loads that were found, neither is taken back.
 *
 * Evidence that a model was in memory when a load began: it was answering, an answer of it had ended at most 5 minutes
 * before, or the last list has it.
 */
export class ModelLoads {
  /** By key, the least recently used first. */
  readonly #pasts = new Map<string, Past>();
  readonly #now: () => number;

  /** @param now Returns the time, in milliseconds of the clock of {@linkcode Observation.arrivedAt}. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Takes a completed request. Returns the loads whose cause is now known; they are of its model. */
  observe(observation: Observation): ModelLoad[] {
    const { api, report, outcome, requestedModel } = observation;
    const model = report.model ?? requestedModel;
    const key = modelKey(model);
    const hasAnswered = report.model !== undefined || outcome === "ok";
    if (api === undefined || model === undefined || key === undefined || !hasAnswered) return [];
    // Of a model that runs elsewhere the wait is the remote end's (docs/ollama-api.md 3.9). An unload says nothing of
    // whether the model was in memory (2.3).
    if (isCloudModel(key) || report.finishReason === "unload") return [];
    const past = this.#pastOf(key);
    const found: ModelLoad[] = [];
    const load = loadOf(observation);
    const isNew = load !== undefined && addLoad(past, load);
    if (isNew) found.push(...decide(past, undefined), ...begin(past, load, model, observation.options?.contextTokens));
    addUse(past, useOf(observation), isNew);
    return found;
  }

  /**
   * Takes the models in memory; `undefined` if they could not be fetched.
   *
   * @returns The loads whose cause is now known.
   */
  update(list: LoadedList | undefined): ModelLoad[] {
    const at = list?.requestedAt ?? this.#now();
    const listed = new Map<string, number | undefined>();
    for (const { name, contextTokens } of list?.models.slice(0, LOAD_MODELS_LIMIT) ?? []) {
      const key = modelKey(name);
      // 0: not known (docs/ollama-api.md 6.1).
      if (key !== undefined) listed.set(key, contextTokens || undefined);
    }
    for (const key of listed.keys()) this.#pastOf(key);
    const found: ModelLoad[] = [];
    for (const [key, past] of this.#pasts) {
      addListing(past, { from: at, to: at, isLoaded: listed.has(key), contextTokens: listed.get(key) });
      const isTold = list !== undefined && past.undecided !== undefined && past.undecided.loadedAt <= at;
      if (isTold) found.push(...decide(past, listed.get(key)));
    }
    return found;
  }

  #pastOf(key: string): Past {
    const past = this.#pasts.get(key) ?? { loads: [], uses: [], listings: [], undecided: undefined };
    this.#pasts.delete(key);
    this.#pasts.set(key, past);
    const [oldest] = this.#pasts.keys();
    if (this.#pasts.size > LOAD_MODELS_LIMIT && oldest !== undefined) this.#pasts.delete(oldest);
    return past;
  }
}

/** The wait for a load that a response reports; `undefined` if it reports none, or too short a one. */
function loadOf({ arrivedAt, durationSeconds, report }: Observation): Interval | undefined {
  // The response to a request without a prompt has no durations, but the load is all that it took.
  const seconds = report.loadSeconds ?? (report.finishReason === "load" ? durationSeconds : 0);
  return seconds < MIN_LOAD_SECONDS
    ? undefined
    : { from: arrivedAt, to: arrivedAt + seconds * MILLISECONDS_PER_SECOND };
}

/** The time in which a request used the model in memory, as far as it is known. */
function useOf({ arrivedAt, durationSeconds, firstOutputSeconds, report, options }: Observation): Use {
  const readySeconds = report.loadSeconds ?? firstOutputSeconds ?? durationSeconds;
  const from = arrivedAt + readySeconds * MILLISECONDS_PER_SECOND;
  const to = arrivedAt + durationSeconds * MILLISECONDS_PER_SECOND;
  return { from, to, contextTokens: options?.contextTokens };
}

/** Adds a wait. Returns whether it is for a load that was not known. */
function addLoad(past: Past, load: Interval): boolean {
  const same = past.loads.filter(({ from, to }) => from <= load.to && load.from <= to);
  const others = past.loads.filter((other) => !same.includes(other));
  past.loads = limited([...others, {
    from: Math.min(load.from, ...same.map(({ from }) => from)),
    to: Math.max(load.to, ...same.map(({ to }) => to)),
  }]);
  return same.length === 0;
}

/** Adds a time of use. Until the next load a model keeps its context length, whether or not a request asks for one. */
function addUse(past: Past, use: Use, isLoad: boolean): void {
  const last = past.uses.at(-1);
  const isSame = !isLoad && last !== undefined && use.from <= last.to + KEEP_ALIVE_MS &&
    (use.contextTokens === undefined || use.contextTokens === last.contextTokens);
  past.uses = isSame
    ? [...past.uses.slice(0, -1), { ...last, from: Math.min(last.from, use.from), to: use.to }]
    : limited([...past.uses, use]);
}

function addListing(past: Past, listing: Listing): void {
  const last = past.listings.at(-1);
  if (last === undefined) past.listings = [listing];
  else if (last.isLoaded === listing.isLoaded && last.contextTokens === listing.contextTokens) {
    past.listings = [...past.listings.slice(0, -1), { ...last, to: listing.to }];
  } else past.listings = limited([...past.listings, listing]);
}

function limited<Item>(items: readonly Item[]): readonly Item[] {
  return items.slice(-LOAD_HISTORY_LIMIT);
}

/** Takes a load that was not known. Returns it if its cause is clear; otherwise it is undecided. */
function begin(past: Past, load: Interval, model: string, askedTokens: number | undefined): ModelLoad[] {
  if (!wasInMemory(past, load.from)) return [{ model, cause: "cold" }];
  const tokensBefore = contextTokensAt(past, load.from);
  if (tokensBefore === undefined) return [{ model, cause: "other" }];
  past.undecided = { model, loadedAt: load.to, askedTokens, tokensBefore };
  const listing = past.listings.at(-1);
  const isTold = listing !== undefined && listing.isLoaded && listing.to >= load.to;
  if (isTold) return decide(past, listing.contextTokens);
  // A context length above the one before may be more than the model has: the list tells.
  return askedTokens !== undefined && askedTokens <= tokensBefore ? decide(past, undefined) : [];
}

/**
 * Decides the undecided load, if there is one.
 *
 * @param listedTokens Context length that was listed after the load; `undefined` if none was.
 */
function decide(past: Past, listedTokens: number | undefined): ModelLoad[] {
  const { undecided } = past;
  if (undecided === undefined) return [];
  past.undecided = undefined;
  const { model, askedTokens, tokensBefore } = undecided;
  // Ollama gives a model no more context than it was trained with (`server/sched.go`, `needsReload`).
  const tokens = Math.min(askedTokens ?? Infinity, listedTokens ?? Infinity);
  return [{ model, cause: tokens === Infinity || tokens === tokensBefore ? "other" : "context_changed" }];
}

function wasInMemory({ uses, listings }: Past, at: number): boolean {
  return listings.findLast(({ from }) => from <= at)?.isLoaded === true ||
    uses.some(({ from, to }) => from <= at && at <= to + KEEP_ALIVE_MS);
}

/** Context length with which the model was in memory at a time, as listed since its last load, else as asked for. */
function contextTokensAt({ uses, listings }: Past, at: number): number | undefined {
  const use = uses.findLast(({ from }) => from <= at);
  const listing = listings.findLast(({ from }) => from <= at);
  const isListedSince = listing !== undefined && listing.to >= (use?.from ?? -Infinity);
  return (isListedSince ? listing.contextTokens : undefined) ?? use?.contextTokens;
}
