/**
 * How many streams of a model were past their first byte at once.
 *
 * @module
 */

import { modelKey } from "../model_name.ts";
import type { OpenRequest, OpenStreams } from "../observation.ts";

/** Length of a step, in milliseconds. */
const STEP_MS = 10_000;
/** Number of steps that are looked back on, the current one included: together the last minute. */
const STEPS = 6;

/** Maximum number of models whose streams are counted at a time. */
export const GENERATING_MODELS_LIMIT = 1024;

/** The streams of a model: how many there are, and how many there were. */
interface Window {
  /** Streams now. */
  readonly count: number;
  /** Number of the newest step. */
  readonly step: number;
  /** Maximum number of streams in each step, the newest last. */
  readonly maxima: readonly number[];
}

/**
 * The maximum number of streams of each model in the last minute, in steps of 10 s. There is no timer: steps follow
 * from the clock when a stream begins or ends and when the maxima are read. Reading changes nothing.
 *
 * Streams of requests whose model is not known are not counted.
 */
export class Generating implements OpenStreams {
  readonly #now: () => number;
  /** The models of the open streams, by key. */
  readonly #open = new Map<OpenRequest, string>();
  readonly #windows = new Map<string, Window>();

  /** @param now Returns the time, in milliseconds of a monotonic clock. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(open: OpenRequest): void {
    const key = modelKey(open.model);
    if (key === undefined || this.#open.has(open) || !this.#hasRoomFor(key)) return;
    this.#open.set(open, key);
    this.#change(key, 1);
  }

  delete(open: OpenRequest): void {
    const key = this.#open.get(open);
    if (key === undefined) return;
    this.#open.delete(open);
    this.#change(key, -1);
  }

  /** The maximum of each model that had streams in the last minute, by key (see {@linkcode modelKey}). */
  get maxima(): Map<string, number> {
    const maxima = new Map<string, number>();
    for (const [key, window] of this.#windows) {
      const max = maximumOf(window, this.#step());
      if (max > 0) maxima.set(key, max);
    }
    return maxima;
  }

  #step(): number {
    return Math.floor(this.#now() / STEP_MS);
  }

  /** Whether a model is counted or can be. Models without streams in the last minute make room. */
  #hasRoomFor(key: string): boolean {
    if (this.#windows.has(key)) return true;
    const step = this.#step();
    for (const [other, window] of this.#windows) if (maximumOf(window, step) === 0) this.#windows.delete(other);
    return this.#windows.size < GENERATING_MODELS_LIMIT;
  }

  #change(key: string, by: number): void {
    const step = this.#step();
    const window = this.#windows.get(key) ?? { count: 0, step, maxima: [0] };
    const count = window.count + by;
    const maxima = maximaAt(window, step);
    this.#windows.set(key, { count, step, maxima: [...maxima.slice(0, -1), Math.max(maxima.at(-1) ?? 0, count)] });
  }
}

/** The maxima as of a later step: the streams that there are count in each step since. */
function maximaAt({ count, step, maxima }: Window, to: number): readonly number[] {
  const passed = Math.min(Math.max(0, to - step), STEPS);
  return [...maxima, ...new Array<number>(passed).fill(count)].slice(-STEPS);
}

function maximumOf(window: Window, step: number): number {
  return Math.max(...maximaAt(window, step));
}
