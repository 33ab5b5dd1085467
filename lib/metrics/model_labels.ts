/**
 * Values of the `model` label.
 *
 * @module
 */

import { canonicalModelName, OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";

/** A bounded set of model labels, to which only models that the server has confirmed are added. */
export class ModelLabels {
  readonly #limit: number;
  /** By lowercase name: Ollama matches names case-insensitively. */
  readonly #labels = new Map<string, string>();

  /** @param limit Maximum number of labels; further models are labeled `other`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Returns the label of a model that the server has confirmed, and adds it if there is room. */
  learn(name: string): string {
    const canonical = canonicalModelName(name);
    if (canonical === undefined) return UNKNOWN_MODEL;
    const key = canonical.toLowerCase();
    const label = this.#labels.get(key);
    if (label !== undefined) return label;
    if (this.#labels.size >= this.#limit) return OTHER_MODEL;
    this.#labels.set(key, canonical);
    return canonical;
  }

  /** Returns the label of a model that a request names; `unknown` if the server has not confirmed it. */
  label(name: string | undefined): string {
    const canonical = name === undefined ? undefined : canonicalModelName(name);
    return canonical === undefined ? UNKNOWN_MODEL : this.#labels.get(canonical.toLowerCase()) ?? UNKNOWN_MODEL;
  }
}
