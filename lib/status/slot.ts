/**
 * Traffic of a few seconds, in total and by model.
 *
 * @module
 */

import { OTHER_MODEL } from "../model_name.ts";
import type { Outcome, Overflow, Phase } from "../observation.ts";

/** Maximum number of values of one kind per slot. Of more values a random sample is kept. */
export const SAMPLES = 32;
/** As {@linkcode SAMPLES}, for the values of one model. */
const MODEL_SAMPLES = 8;
/** Maximum number of models with figures. Further ones are summed as `other`. */
export const FIGURES_LIMIT = 50;

/** Traffic of a few seconds. */
export class Slot {
  /** Number of slots since the Unix epoch. */
  readonly number: number;
  readonly firstToken = new Sample(SAMPLES);
  readonly perToken = new Sample(SAMPLES);
  readonly outcomes: Partial<Record<Outcome, number>> = {};
  readonly phases: Partial<Record<Phase, number>> = {};
  promptTokens = 0;
  outputTokens = 0;
  readonly #models = new Map<string, ModelSlot>();

  constructor(number: number) {
    this.number = number;
  }

  /** Traffic by model. */
  get models(): ReadonlyMap<string, ModelSlot> {
    return this.#models;
  }

  /** Returns the traffic of a model, or that of `other` if there are too many. */
  model(name: string): ModelSlot {
    const known = this.#models.get(name);
    if (known !== undefined) return known;
    if (this.#models.size >= FIGURES_LIMIT && name !== OTHER_MODEL) return this.model(OTHER_MODEL);
    const created = new ModelSlot();
    this.#models.set(name, created);
    return created;
  }
}

/** Traffic of one model in a slot. */
export class ModelSlot {
  requests = 0;
  failures = 0;
  /** Output tokens with a speed, and the seconds of their generation. */
  tokens = 0;
  seconds = 0;
  readonly firstToken = new Sample(MODEL_SAMPLES);
  /** Prompts seen not to fit into the context. */
  readonly overflows: Partial<Record<Overflow, number>> = {};
  /** Maximum part of the context that a request has used; `undefined` if none is known. */
  contextUsed: number | undefined;
}

/** A bounded, uniform random sample of the values added, in ascending order. */
class Sample {
  readonly values: number[] = [];
  readonly #size: number;
  #count = 0;

  /** @param size Maximum number of values. */
  constructor(size: number) {
    this.#size = size;
  }

  add(value: number): void {
    this.#count++;
    if (this.values.length === this.#size) {
      if (Math.random() >= this.#size / this.#count) return;
      this.values.splice(Math.floor(Math.random() * this.#size), 1);
    }
    const at = this.values.findIndex((other) => other > value);
    this.values.splice(at < 0 ? this.values.length : at, 0, value);
  }
}
