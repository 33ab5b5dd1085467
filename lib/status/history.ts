/**
 * The last minutes of traffic, for the status page. Consumes the same observations as the metrics, so that a request
 * counts when it has completed; its tokens and times are placed where they occurred.
 *
 * A ring of slots of a few seconds each, and the last requests. There is no timer: slots are created by what is added
 * to them, and plots are computed on request.
 *
 * @module
 */

import { canonicalModelName } from "../model_name.ts";
import { generationOf, type Observation, type Outcome, type Phase, phasesOf } from "../observation.ts";

/** Length of a slot, in milliseconds. */
export const SLOT_MS = 5000;
/** Number of slots; together five minutes. */
export const SLOTS = 60;
/** Maximum number of requests that are listed. */
export const LAST_REQUESTS = 30;
/** Maximum number of values of one kind per slot. Of more values a random sample is kept. */
export const SAMPLES = 32;
/** Minimum number of values for current quantiles, if there are as many. */
const RECENT_SAMPLES = 100;
/** Window of current rates, in milliseconds. */
const RATE_MS = 60_000;
/** Maximum length of an invalid model name, in characters. */
export const NAME_LIMIT_CHARACTERS = 100;

const MILLISECONDS_PER_SECOND = 1000;

/** Median and 95th percentile. */
interface Quantiles {
  readonly median: number;
  readonly p95: number;
}

/** A value for each complete slot, oldest first; `null` for slots without values. */
interface Series {
  readonly median: readonly (number | null)[];
  readonly p95: readonly (number | null)[];
}

/** Data of the plots and totals. */
export interface Plots {
  /** Start of the oldest slot, in milliseconds since the Unix epoch. */
  readonly from: number;
  readonly slotMs: number;
  /** Tokens per second. */
  readonly promptTokens: readonly number[];
  readonly outputTokens: readonly number[];
  /** Seconds. */
  readonly firstToken: Series;
  readonly perToken: Series;
  readonly now: {
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
}

/** A completed request. Unknown figures are `undefined`. */
export interface EndedRequest {
  /** Counted from 1. */
  readonly id: number;
  /** Time of its arrival, in milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** API or operation; the route if it has neither. */
  readonly api: string;
  readonly model: string | undefined;
  readonly status: number;
  readonly outcome: Outcome;
  readonly durationSeconds: number;
  readonly promptTokens: number | undefined;
  readonly outputTokens: number | undefined;
  readonly tokensPerSecond: number | undefined;
  readonly firstTokenSeconds: number | undefined;
}

/** Returns the canonical form of a model name. An invalid name is returned as it is, shortened to the limit. */
export function displayName(name: string): string {
  return canonicalModelName(name) ?? name.slice(0, NAME_LIMIT_CHARACTERS);
}

/** The last minutes of traffic. */
export class History {
  readonly #now: () => number;
  readonly #ring: (Slot | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #requests: EndedRequest[] = [];
  #count = 0;

  /** @param now Returns the time, in milliseconds since the Unix epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Adds a completed request. */
  observe(observation: Observation): void {
    const { api, operation, report } = observation;
    // As in the metrics: responses of other routes may report tokens, too.
    if (api === undefined && operation === undefined && report.model === undefined) return;
    this.#count++;
    this.#requests.unshift(endedRequest(observation, this.#count));
    if (this.#requests.length > LAST_REQUESTS) this.#requests.pop();
    this.#addTokens(observation);
    if (api !== undefined) this.#addMeasured(observation);
  }

  /** Changes whenever the result of {@linkcode History.plots} does. */
  get plotsVersion(): string {
    return `${this.#count} ${this.#newest()}`;
  }

  /** Changes whenever {@linkcode History.requests} does. */
  get requestsVersion(): number {
    return this.#count;
  }

  /** The last requests, newest first. */
  get requests(): readonly EndedRequest[] {
    return this.#requests;
  }

  /** Computes the data of the plots and totals. */
  plots(): Plots {
    const newest = this.#newest();
    const numbers = Array.from({ length: SLOTS }, (_, index) => newest - SLOTS + 1 + index);
    const slots = numbers.map((number) => this.#slot(number));
    // The newest slot is not complete: its rates would be too low.
    const complete = slots.slice(0, -1);
    const rates = (tokens: (slot: Slot) => number): number[] =>
      complete.map((slot) => rounded(slot === undefined ? 0 : tokens(slot) * MILLISECONDS_PER_SECOND / SLOT_MS));
    const promptTokens = rates((slot) => slot.promptTokens);
    const outputTokens = rates((slot) => slot.outputTokens);
    return {
      from: (newest - SLOTS + 1) * SLOT_MS,
      slotMs: SLOT_MS,
      promptTokens,
      outputTokens,
      firstToken: series(complete.map((slot) => slot?.firstToken)),
      perToken: series(complete.map((slot) => slot?.perToken)),
      now: {
        promptTokens: recentMean(promptTokens),
        outputTokens: recentMean(outputTokens),
        firstToken: recentQuantiles(slots.map((slot) => slot?.firstToken)),
        perToken: recentQuantiles(slots.map((slot) => slot?.perToken)),
      },
      total: {
        promptTokens: total(slots, (slot) => slot.promptTokens),
        outputTokens: total(slots, (slot) => slot.outputTokens),
      },
      outcomes: sums(slots.map((slot) => slot?.outcomes)),
      phases: sums(slots.map((slot) => slot?.phases)),
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

/** Traffic of a few seconds. */
class Slot {
  /** Number of slots since the Unix epoch. */
  readonly number: number;
  readonly firstToken = new Sample();
  readonly perToken = new Sample();
  readonly outcomes: Partial<Record<Outcome, number>> = {};
  readonly phases: Partial<Record<Phase, number>> = {};
  promptTokens = 0;
  outputTokens = 0;

  constructor(number: number) {
    this.number = number;
  }
}

/** A bounded, uniform random sample of the values added, in ascending order. */
class Sample {
  readonly values: number[] = [];
  #count = 0;

  add(value: number): void {
    this.#count++;
    if (this.values.length === SAMPLES) {
      if (Math.random() >= SAMPLES / this.#count) return;
      this.values.splice(Math.floor(Math.random() * SAMPLES), 1);
    }
    const at = this.values.findIndex((other) => other > value);
    this.values.splice(at < 0 ? this.values.length : at, 0, value);
  }
}

function slotNumber(ms: number): number {
  return Math.floor(ms / SLOT_MS);
}

function endedRequest(observation: Observation, id: number): EndedRequest {
  const { report, requestedModel, api, operation, route, firstOutputSeconds } = observation;
  const model = report.model ?? requestedModel;
  const generation = generationOf(observation);
  return {
    id,
    startedAt: observation.startedAt,
    api: api ?? operation ?? route,
    model: model === undefined ? undefined : displayName(model),
    status: observation.status,
    outcome: observation.outcome,
    durationSeconds: rounded(observation.durationSeconds),
    promptTokens: report.promptTokens,
    outputTokens: report.outputTokens,
    tokensPerSecond: generation && rounded(generation.tokens / generation.seconds),
    firstTokenSeconds: firstOutputSeconds && rounded(firstOutputSeconds),
  };
}

/** Returns a quantile by the nearest-rank method, which yields only values that were measured. */
function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

function quantilesOf(sorted: readonly number[]): Quantiles | undefined {
  const [median, p95] = [quantile(sorted, 0.5), quantile(sorted, 0.95)];
  return median === undefined || p95 === undefined ? undefined : { median: rounded(median), p95: rounded(p95) };
}

function series(samples: readonly (Sample | undefined)[]): Series {
  const quantiles = samples.map((sample) => sample === undefined ? undefined : quantilesOf(sample.values));
  return {
    median: quantiles.map((found) => found?.median ?? null),
    p95: quantiles.map((found) => found?.p95 ?? null),
  };
}

/** Returns quantiles of the newest values, over as many slots as needed for {@linkcode RECENT_SAMPLES} of them. */
function recentQuantiles(samples: readonly (Sample | undefined)[]): Quantiles & { of: number } | undefined {
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

function total(slots: readonly (Slot | undefined)[], tokens: (slot: Slot) => number): number {
  return Math.round(slots.reduce((sum, slot) => sum + (slot === undefined ? 0 : tokens(slot)), 0));
}

/** Rounds to six digits, to keep events short. */
function rounded(value: number): number {
  return Number(value.toPrecision(6));
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
