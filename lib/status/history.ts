/**
 * The last minutes of traffic, for the status page. Consumes the same observations as the metrics, so that a request
 * counts when it has completed; its tokens and times are placed where they occurred.
 *
 * A ring of slots of a few seconds each, and the last requests. There is no timer: slots are created by what is added
 * to them, and plots are computed on request.
 *
 * @module
 */

import { OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";
import {
  type ContextFinding,
  generationOf,
  type Observation,
  type Outcome,
  type Overflow,
  type Phase,
  phasesOf,
} from "../observation.ts";
import { displayedModel, displayName, type EndedRequest, isFailure, LastRequests } from "./last_requests.ts";
import { type Quantiles, quantilesOf, rounded, short } from "./quantiles.ts";
import { FIGURES_LIMIT, type ModelSlot, Slot } from "./slot.ts";

/** Length of a slot, in milliseconds. */
export const SLOT_MS = 5000;
/** Number of slots; together five minutes. */
export const SLOTS = 60;
/** Minimum number of values for current quantiles, if there are as many. */
const RECENT_SAMPLES = 100;
/** Window of current rates, in milliseconds. */
const RATE_MS = 60_000;
const MILLISECONDS_PER_SECOND = 1000;

/** A value for each complete slot, oldest first; `null` for slots without values. */
interface Series {
  readonly median: readonly (number | null)[];
  readonly p95: readonly (number | null)[];
}

/** Data of the plots. */
export interface Plots {
  /** Start of the oldest slot, in milliseconds since the Unix epoch. */
  readonly from: number;
  readonly slotMs: number;
  /** Measured requests per second, and those of them that failed. */
  readonly requests: readonly number[];
  readonly failures: readonly number[];
  /** Tokens per second. */
  readonly promptTokens: readonly number[];
  readonly outputTokens: readonly number[];
  /** Seconds. */
  readonly firstToken: Series;
  readonly perToken: Series;
}

/** Figures of the last minutes. */
export interface Totals {
  readonly now: {
    /** Requests per second, averaged over the last minute. */
    readonly requests: number;
    /** Tokens per second, averaged over the last minute. */
    readonly promptTokens: number;
    readonly outputTokens: number;
    /** Seconds, of the last `of` values; `undefined` without values. */
    readonly firstToken: Quantiles & { readonly of: number } | undefined;
    readonly perToken: Quantiles & { readonly of: number } | undefined;
  };
  /** Tokens of all slots. */
  readonly total: { readonly promptTokens: number; readonly outputTokens: number };
  /** Requests by outcome. */
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>;
  /** Seconds of all requests by phase. */
  readonly phases: Readonly<Partial<Record<Phase, number>>>;
  /** Figures by model. */
  readonly models: readonly ModelFigures[];
}

/** Measured requests of one model. */
export interface ModelFigures {
  /** As displayed; `other` sums up further models. */
  readonly model: string;
  readonly requests: number;
  readonly failures: number;
  /** Output tokens by the time of their generation; `undefined` if no response has both. */
  readonly tokensPerSecond: number | undefined;
  /** 95th percentile in seconds; `undefined` without streams that have output. */
  readonly firstTokenP95: number | undefined;
  /** Prompts seen not to fit into the context. More may have been truncated. */
  readonly overflows: Readonly<Partial<Record<Overflow, number>>>;
  /** Maximum of what a request has used of the context, as in {@linkcode ContextFinding}; `undefined` if not known. */
  readonly contextUsed: number | undefined;
}

/** The last minutes of traffic. */
export class History {
  readonly #now: () => number;
  readonly #ring: (Slot | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #last = new LastRequests();
  #findings = 0;

  /** @param now Returns the time, in milliseconds since the Unix epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Adds a completed request. */
  observe(observation: Observation): void {
    const { api, operation, report } = observation;
    // As in the metrics: responses of other routes may report tokens, too.
    if (api === undefined && operation === undefined && report.model === undefined) return;
    this.#last.add(observation);
    this.#addTokens(observation);
    if (api !== undefined) this.#addMeasured(observation);
  }

  /** Adds what was found about the context of a completed request, at the time when it is known. */
  observeContext({ model, usedRatio, overflow }: ContextFinding): void {
    this.#findings++;
    const slot = this.#slotAt(this.#now())?.model(model === undefined ? UNKNOWN_MODEL : displayName(model));
    if (slot === undefined) return;
    if (overflow !== undefined) add(slot.overflows, { [overflow]: 1 });
    if (usedRatio !== undefined) slot.contextUsed = Math.max(usedRatio, slot.contextUsed ?? 0);
  }

  /** Changes once per slot: {@linkcode History.plots} has complete slots only. */
  get plotsVersion(): number {
    return this.#newest();
  }

  /** Changes whenever the result of {@linkcode History.totals} does. */
  get totalsVersion(): string {
    return `${this.#last.count} ${this.#findings} ${this.#newest()}`;
  }

  /** Changes whenever {@linkcode History.requests} does. */
  get requestsVersion(): number {
    return this.#last.count;
  }

  /** The last requests, newest first. */
  get requests(): readonly EndedRequest[] {
    return this.#last.all;
  }

  /** Changes whenever {@linkcode History.failures} does. */
  get failuresVersion(): number {
    return this.#last.failed;
  }

  /** The last failures, newest first. */
  get failures(): readonly EndedRequest[] {
    return this.#last.failures;
  }

  /** Computes the data of the plots. Requests that end in the newest slot may still add to earlier ones. */
  plots(): Plots {
    // The newest slot is not complete: its rates would be too low.
    const complete = this.#slots().slice(0, -1);
    return {
      from: (this.#newest() - SLOTS + 1) * SLOT_MS,
      slotMs: SLOT_MS,
      requests: rates(complete, REQUESTS),
      failures: rates(complete, ({ outcomes }) => failuresOf(outcomes)),
      promptTokens: rates(complete, PROMPT_TOKENS),
      outputTokens: rates(complete, OUTPUT_TOKENS),
      firstToken: series(complete.map((slot) => slot?.firstToken)),
      perToken: series(complete.map((slot) => slot?.perToken)),
    };
  }

  /** Computes the figures of the last minutes. */
  totals(): Totals {
    const slots = this.#slots();
    const complete = slots.slice(0, -1);
    return {
      now: {
        requests: recentMean(rates(complete, REQUESTS)),
        promptTokens: recentMean(rates(complete, PROMPT_TOKENS)),
        outputTokens: recentMean(rates(complete, OUTPUT_TOKENS)),
        firstToken: recentQuantiles(slots.map((slot) => slot?.firstToken)),
        perToken: recentQuantiles(slots.map((slot) => slot?.perToken)),
      },
      total: { promptTokens: total(slots, PROMPT_TOKENS), outputTokens: total(slots, OUTPUT_TOKENS) },
      outcomes: sums(slots.map((slot) => slot?.outcomes)),
      phases: sums(slots.map((slot) => slot?.phases)),
      models: modelFigures(slots),
    };
  }

  /** Adds prompt tokens at the first output, and output tokens over the time of their generation. */
  #addTokens(observation: Observation): void {
    const { startedAt, durationSeconds, firstOutputSeconds, report } = observation;
    const first = firstOutputSeconds ?? durationSeconds - (report.evalSeconds ?? 0);
    const last = observation.lastOutputSeconds ?? durationSeconds;
    const firstAt = startedAt + first * MILLISECONDS_PER_SECOND;
    const prompt = this.#slotAt(firstAt);
    if (prompt !== undefined) prompt.promptTokens += report.promptTokens ?? 0;
    if (report.outputTokens === undefined) return;
    this.#spread(firstAt, startedAt + last * MILLISECONDS_PER_SECOND, report.outputTokens);
  }

  #addMeasured(observation: Observation): void {
    const { startedAt, durationSeconds, firstOutputSeconds, outcome } = observation;
    const end = this.#slotAt(startedAt + durationSeconds * MILLISECONDS_PER_SECOND);
    const generation = generationOf(observation);
    if (end !== undefined) {
      add(end.outcomes, { [outcome]: 1 });
      add(end.phases, phasesOf(observation));
      if (generation !== undefined) end.perToken.add(generation.seconds / generation.tokens);
      addToModel(end, observation);
    }
    if (firstOutputSeconds === undefined) return;
    this.#slotAt(startedAt + firstOutputSeconds * MILLISECONDS_PER_SECOND)?.firstToken.add(firstOutputSeconds);
  }

  /** Distributes output tokens over the slots in which they were generated. */
  #spread(fromMs: number, toMs: number, tokens: number): void {
    const lengthMs = Math.max(1, toMs - fromMs);
    const first = Math.max(slotNumber(fromMs), this.#newest() - SLOTS + 1);
    for (let number = first; number <= slotNumber(fromMs + lengthMs); number++) {
      const slot = this.#slotOf(number);
      if (slot === undefined) return;
      const overlapMs = Math.min(fromMs + lengthMs, (number + 1) * SLOT_MS) - Math.max(fromMs, number * SLOT_MS);
      slot.outputTokens += tokens * overlapMs / lengthMs;
    }
  }

  /** All slots, oldest first. */
  #slots(): (Slot | undefined)[] {
    const newest = this.#newest();
    return Array.from({ length: SLOTS }, (_, index) => this.#slot(newest - SLOTS + 1 + index));
  }

  #newest(): number {
    return slotNumber(this.#now());
  }

  #slotAt(ms: number): Slot | undefined {
    return this.#slotOf(slotNumber(ms));
  }

  /** Returns the slot with this number, created if needed; `undefined` if it is too old to be kept. */
  #slotOf(wanted: number): Slot | undefined {
    const newest = this.#newest();
    // Durations are measured with a monotonic clock, so an end may be slightly ahead of the wall clock.
    const number = Math.min(wanted, newest);
    if (number <= newest - SLOTS) return undefined;
    return this.#slot(number) ?? (this.#ring[number % SLOTS] = new Slot(number));
  }

  #slot(number: number): Slot | undefined {
    const slot = this.#ring[number % SLOTS];
    return slot?.number === number ? slot : undefined;
  }
}

function slotNumber(ms: number): number {
  return Math.floor(ms / SLOT_MS);
}

/** Something that is counted in a slot. */
type Amount = (slot: Slot) => number;

const REQUESTS: Amount = ({ outcomes }) => requestsOf(outcomes);
const PROMPT_TOKENS: Amount = ({ promptTokens }) => promptTokens;
const OUTPUT_TOKENS: Amount = ({ outputTokens }) => outputTokens;

/** Adds a measured request to the figures of its model. */
function addToModel(slot: Slot, observation: Observation): void {
  const model = slot.model(displayedModel(observation) ?? UNKNOWN_MODEL);
  model.requests++;
  if (isFailure(observation.outcome)) model.failures++;
  const generation = generationOf(observation);
  model.tokens += generation?.tokens ?? 0;
  model.seconds += generation?.seconds ?? 0;
  if (observation.firstOutputSeconds !== undefined) model.firstToken.add(observation.firstOutputSeconds);
}

function requestsOf(outcomes: Slot["outcomes"]): number {
  return Object.values(outcomes).reduce((sum, count) => sum + count, 0);
}

function failuresOf(outcomes: Slot["outcomes"]): number {
  const entries = Object.entries(outcomes) as [Outcome, number][];
  return entries.reduce((sum, [outcome, count]) => isFailure(outcome) ? sum + count : sum, 0);
}

/** Sums up the figures of models, the ones with most requests first. Spellings that differ in case are one model. */
function modelFigures(slots: readonly (Slot | undefined)[]): ModelFigures[] {
  const models = new Map<string, { model: string; parts: ModelSlot[] }>();
  for (const [model, part] of slots.flatMap((slot) => [...slot?.models ?? []])) {
    const known = models.get(model.toLowerCase());
    if (known === undefined) models.set(model.toLowerCase(), { model, parts: [part] });
    else known.parts.push(part);
  }
  const others = models.get(OTHER_MODEL)?.parts ?? [];
  models.delete(OTHER_MODEL);
  const countOf = (parts: readonly ModelSlot[]): number => parts.reduce((sum, { requests }) => sum + requests, 0);
  const sorted = [...models.values()].sort((a, b) => countOf(b.parts) - countOf(a.parts));
  others.push(...sorted.slice(FIGURES_LIMIT).flatMap(({ parts }) => parts));
  const figures = sorted.slice(0, FIGURES_LIMIT).map(({ model, parts }) => figuresOf(model, parts));
  return others.length === 0 ? figures : [...figures, figuresOf(OTHER_MODEL, others)];
}

function figuresOf(model: string, parts: readonly ModelSlot[]): ModelFigures {
  const sum = (of: (part: ModelSlot) => number): number => parts.reduce((sum, part) => sum + of(part), 0);
  const seconds = sum((part) => part.seconds);
  const firstToken = parts.flatMap((part) => part.firstToken.values).sort((a, b) => a - b);
  const used = parts.flatMap(({ contextUsed }) => contextUsed ?? []);
  return {
    model,
    requests: sum((part) => part.requests),
    failures: sum((part) => part.failures),
    tokensPerSecond: seconds > 0 ? rounded(sum((part) => part.tokens) / seconds) : undefined,
    firstTokenP95: quantilesOf(firstToken)?.p95,
    overflows: sums(parts.map(({ overflows }) => overflows)),
    contextUsed: used.length === 0 ? undefined : short(Math.max(...used)),
  };
}

function series(samples: readonly (Slot["firstToken"] | undefined)[]): Series {
  const quantiles = samples.map((sample) => sample === undefined ? undefined : quantilesOf(sample.values));
  return {
    median: quantiles.map((found) => found?.median ?? null),
    p95: quantiles.map((found) => found?.p95 ?? null),
  };
}

/** Returns quantiles of the newest values, over as many slots as needed for {@linkcode RECENT_SAMPLES} of them. */
function recentQuantiles(samples: readonly (Slot["firstToken"] | undefined)[]): Quantiles & { of: number } | undefined {
  const values: number[] = [];
  for (const sample of samples.toReversed()) {
    values.push(...sample?.values ?? []);
    if (values.length >= RECENT_SAMPLES) break;
  }
  const found = quantilesOf(values.sort((a, b) => a - b));
  return found && { ...found, of: values.length };
}

function recentMean(rates: readonly number[]): number {
  const recent = rates.slice(-RATE_MS / SLOT_MS);
  return rounded(recent.reduce((sum, rate) => sum + rate, 0) / recent.length);
}

/** Returns an amount of each slot per second. */
function rates(slots: readonly (Slot | undefined)[], amount: Amount): number[] {
  return slots.map((slot) => rounded(slot === undefined ? 0 : amount(slot) * MILLISECONDS_PER_SECOND / SLOT_MS));
}

function total(slots: readonly (Slot | undefined)[], amount: Amount): number {
  return Math.round(slots.reduce((sum, slot) => sum + (slot === undefined ? 0 : amount(slot)), 0));
}

function add<Key extends string>(
  to: Partial<Record<Key, number>>,
  more: Readonly<Partial<Record<Key, number>>>,
): void {
  for (const [key, value] of Object.entries(more) as [Key, number][]) to[key] = (to[key] ?? 0) + value;
}

function sums<Key extends string>(
  all: readonly (Readonly<Partial<Record<Key, number>>> | undefined)[],
): Partial<Record<Key, number>> {
  const sum: Partial<Record<Key, number>> = {};
  for (const one of all) if (one !== undefined) add(sum, one);
  return sum;
}
