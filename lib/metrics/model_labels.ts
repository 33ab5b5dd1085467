/**
 * Values of the `model` label.
 *
 * @module
 */

import { canonicalModelName, OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";

/** The models that may be label values: a capped set that only answers of the server add to. */
export class ModelLabels {
  readonly #limit: number;
  /** By lower-case name, since Ollama matches names without regard to case. */
  readonly #labels = new Map<string, string>();

  /** @param limit Distinct names; those that come later share the label `other`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The label of a model that the server has confirmed. */
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

  /** The label of a model that a request names: never a new one. */
  label(name: string | undefined): string {
    const canonical = name === undefined ? undefined : canonicalModelName(name);
    return canonical === undefined ? UNKNOWN_MODEL : this.#labels.get(canonical.toLowerCase()) ?? UNKNOWN_MODEL;
  }
}
