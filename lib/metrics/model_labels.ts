/**
 * Values of the `model` label.
 *
 * @module
 */

import { canonicalModelName, modelKey, OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";

/**
 * Maximum number of loaded models that have their names in gauges of the server's state, whether or not they have a
 * label. Ollama loads three for each GPU (docs/ollama-api.md 8.1).
 */
export const LOADED_NAMES_LIMIT = 64;

/** Time after which a label that is not used, listed or in flight may go to another, in milliseconds. */
export const UNUSED_MS = 24 * 60 * 60 * 1000;

/** Something that has a model's name as the server or a client spells it. */
interface Named {
  readonly name: string;
}

/** Models that the server lists. A list is `undefined` if it is not known; the previous one then stays in force. */
interface Lists {
  readonly loaded: readonly Named[] | undefined;
  readonly installed: readonly Named[] | undefined;
}

/** What decides whether a label can be given to another model. */
export interface Moment {
  /** Monotonic time in milliseconds. */
  readonly now: number;
  /** The requests in flight. */
  readonly openRequests: Iterable<{ readonly model: string | undefined }>;
}

/** The label of a used model or client. */
export interface Use {
  readonly label: string;
  /** The label that was removed to make room for it: its series are to be removed as well. */
  readonly removed: string | undefined;
}

/** How much a model needs its label. A model takes the label of one that needs it less, the least one first. */
enum Need {
  /** Never used, and no longer listed. */
  Gone,
  /** Never used, only installed. */
  Installed,
  /** Used, but not for a day, and no longer listed. */
  Unused,
  /** Never used, but in memory. */
  Loaded,
  Used,
}

interface Slot {
  readonly label: string;
  /** `undefined` if no request has used the model. Its counters are 0 then. */
  usedAt: number | undefined;
}

/**
 * A bounded set of model labels, for models that the server has confirmed: in its lists or in a response. Models in
 * use have precedence over loaded ones, and these over installed ones.
 */
export class ModelLabels {
  readonly #limit: number;
  // All by key.
  readonly #slots = new Map<string, Slot>();
  #loaded: ReadonlyMap<string, string> = new Map();
  /** The first ones of the loaded models. */
  #loadedNames: ReadonlyMap<string, string> = new Map();
  #installed: ReadonlyMap<string, string> = new Map();

  /** @param limit Maximum number of labels; further models are labeled `other`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes over the server's lists, and gives labels to loaded and installed models. Returns the removed labels. */
  update({ loaded, installed }: Lists, moment: Moment): string[] {
    if (loaded !== undefined) this.#loaded = namesByKey(loaded);
    this.#loadedNames = new Map([...this.#loaded].slice(0, LOADED_NAMES_LIMIT));
    if (installed !== undefined) this.#installed = namesByKey(installed);
    return [
      ...this.#fill(this.#loaded, Need.Loaded, moment),
      ...this.#fill(this.#installed, Need.Installed, moment),
    ];
  }

  /**
   * Returns the label of a model for a request that has used it.
   *
   * @param name As the response spells it, or else the request; `undefined` where it is not known.
   * @param isConfirmed Whether the server has responded for this model. A model that it neither lists nor has
   * confirmed before is labeled `unknown` otherwise.
   */
  use(name: string | undefined, isConfirmed: boolean, moment: Moment): Use {
    const canonical = name === undefined ? undefined : canonicalModelName(name);
    const key = modelKey(name);
    if (canonical === undefined || key === undefined) return { label: UNKNOWN_MODEL, removed: undefined };
    const listed = this.#listedName(key);
    let slot = this.#slots.get(key);
    let removed: string | undefined;
    if (slot === undefined) {
      if (!isConfirmed && listed === undefined) return { label: UNKNOWN_MODEL, removed };
      if (this.#slots.size >= this.#limit) {
        removed = this.#removeLeast(Need.Used, moment);
        if (removed === undefined) return { label: OTHER_MODEL, removed };
      }
      slot = this.#add(key, listed ?? canonical);
    }
    slot.usedAt = moment.now;
    return { label: slot.label, removed };
  }

  /**
   * Returns the label that a model has.
   *
   * @param isConfirmed As for {@linkcode ModelLabels.use}. Default: `false`.
   */
  label(name: string | undefined, isConfirmed = false): string {
    const key = modelKey(name);
    if (key === undefined) return UNKNOWN_MODEL;
    const isKnown = isConfirmed || this.#listedName(key) !== undefined;
    return this.#slots.get(key)?.label ?? (isKnown ? OTHER_MODEL : UNKNOWN_MODEL);
  }

  /** Returns the name of a loaded model for gauges of the server's state, where it needs no label. */
  loadedName(name: string): string {
    const key = modelKey(name);
    if (key === undefined) return UNKNOWN_MODEL;
    return this.#slots.get(key)?.label ?? this.#loadedNames.get(key) ?? OTHER_MODEL;
  }

  /** All labels, with `other` if it is that of a listed model. */
  get all(): string[] {
    const labels = [...this.#slots.values()].map(({ label }) => label);
    const isOther = (key: string): boolean => !this.#slots.has(key);
    const hasOther = labels.length >= this.#limit && [...this.#loaded.keys(), ...this.#installed.keys()].some(isOther);
    return hasOther ? [...labels, OTHER_MODEL] : labels;
  }

  /** The labels of loaded and of used models. */
  get active(): string[] {
    const slots = [...this.#slots].filter(([key, { usedAt }]) => usedAt !== undefined || this.#loaded.has(key));
    return slots.map(([, { label }]) => label);
  }

  #listedName(key: string): string | undefined {
    return this.#loaded.get(key) ?? this.#installed.get(key);
  }

  #add(key: string, label: string): Slot {
    const slot = { label, usedAt: undefined };
    this.#slots.set(key, slot);
    return slot;
  }

  /** Gives labels to listed models as far as there are any. Returns the removed labels. */
  #fill(names: ReadonlyMap<string, string>, need: Need, moment: Moment): string[] {
    const removed: string[] = [];
    for (const [key, name] of names) {
      if (this.#slots.has(key)) continue;
      if (this.#slots.size >= this.#limit) {
        const label = this.#removeLeast(need, moment);
        if (label === undefined) break;
        removed.push(label);
      }
      this.#add(key, name);
    }
    return removed;
  }

  /** Removes the label that is needed least, if it is needed less than `need`, and returns it. */
  #removeLeast(need: Need, { now, openRequests }: Moment): string | undefined {
    const open = new Set([...openRequests].map(({ model }) => modelKey(model)));
    let least: { key: string; need: Need; usedAt: number } | undefined;
    for (const [key, slot] of this.#slots) {
      const found = { key, need: this.#need(key, slot, now), usedAt: slot.usedAt ?? 0 };
      if (found.need >= need || open.has(key)) continue;
      const isLess = least === undefined || found.need < least.need ||
        found.need === least.need && found.usedAt < least.usedAt;
      if (isLess) least = found;
    }
    if (least === undefined) return undefined;
    const label = this.#slots.get(least.key)?.label;
    this.#slots.delete(least.key);
    return label;
  }

  #need(key: string, { usedAt }: Slot, now: number): Need {
    const isListed = this.#listedName(key) !== undefined;
    if (usedAt !== undefined) return isListed || now - usedAt < UNUSED_MS ? Need.Used : Need.Unused;
    if (this.#loaded.has(key)) return Need.Loaded;
    return isListed ? Need.Installed : Need.Gone;
  }
}

/** Canonical names by their keys; of several spellings the first. Invalid names are left out. */
function namesByKey(models: readonly Named[]): Map<string, string> {
  const names = new Map<string, string>();
  for (const { name } of models) {
    const canonical = canonicalModelName(name);
    const key = modelKey(name);
    if (canonical !== undefined && key !== undefined && !names.has(key)) names.set(key, canonical);
  }
  return names;
}
