/**
 * Readers of single fields of a message: the vocabulary of dialects.
 *
 * Paths are separated by dots; a number is an index. Of several paths the first that is present counts. `null` is not
 * present.
 *
 * @module
 */

import { valueAt } from "../json.ts";
import { isName } from "../model_name.ts";

const NANOSECONDS_PER_SECOND = 1e9;
const MILLISECONDS_PER_SECOND = 1e3;

/** Reads one field of a message. `undefined`: the message does not have it. `NaN`: its value is not a usable number. */
export type FieldReader<T> = (message: unknown) => T | undefined;

/** The value at a path; `undefined` where there is none, and for `null`. */
export function at(message: unknown, path: readonly string[]): unknown {
  return valueAt(message, ...path) ?? undefined;
}

function first(paths: readonly string[]): FieldReader<unknown> {
  const keys = paths.map((path) => path.split("."));
  return (message) => {
    for (const path of keys) {
      const value = at(message, path);
      if (value !== undefined) return value;
    }
    return undefined;
  };
}

/** Reads a name: a string that is neither empty nor over the limit, so that nothing of a large message is kept. */
export function text(...paths: string[]): FieldReader<string> {
  const read = first(paths);
  return (message) => {
    const value = read(message);
    return isName(value) ? value : undefined;
  };
}

/** Reads a count: a safe integer of at least 0. */
export function count(...paths: string[]): FieldReader<number> {
  const read = first(paths);
  return (message) => {
    const value = read(message);
    if (value === undefined) return undefined;
    return Number.isSafeInteger(value) && value as number >= 0 ? value as number : NaN;
  };
}

function duration(unitsPerSecond: number, paths: readonly string[]): FieldReader<number> {
  const read = first(paths);
  return (message) => {
    const value = read(message);
    if (value === undefined) return undefined;
    const usable = typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
    return usable ? value / unitsPerSecond : NaN;
  };
}

/** Reads a duration in nanoseconds, as seconds. */
export function nanoseconds(...paths: string[]): FieldReader<number> {
  return duration(NANOSECONDS_PER_SECOND, paths);
}

/** Reads a duration in milliseconds, as seconds. */
export function milliseconds(...paths: string[]): FieldReader<number> {
  return duration(MILLISECONDS_PER_SECOND, paths);
}

/** Adds several counts; `undefined` where none of them is present. */
export function sum(...terms: FieldReader<number>[]): FieldReader<number> {
  return (message) => {
    let total: number | undefined;
    for (const term of terms) {
      const value = term(message);
      if (value !== undefined) total = (total ?? 0) + value;
    }
    return total;
  };
}

/** Whether any of the paths has a non-empty string or list. */
export function filled(...paths: string[]): FieldReader<boolean> {
  const keys = paths.map((path) => path.split("."));
  return (message) =>
    keys.some((path) => {
      const value = at(message, path);
      return (typeof value === "string" || Array.isArray(value)) && value.length > 0;
    });
}

/** Whether the path has one of the values. */
export function equals(path: string, ...values: unknown[]): FieldReader<boolean> {
  const read = first([path]);
  return (message) => values.includes(read(message));
}

/** Whether the path has a value other than `null`. */
export function present(path: string): FieldReader<boolean> {
  const read = first([path]);
  return (message) => read(message) !== undefined;
}

/** Whether any of the readers returns true. */
export function any(...readers: FieldReader<boolean>[]): FieldReader<boolean> {
  return (message) => readers.some((read) => read(message));
}

/**
 * Counts the items of a list whose `key` is `value`, or is present where `value` is `undefined`. The list is at the
 * first path that is present.
 *
 * @returns A reader of `undefined` where there is no such item.
 */
export function items(key: string, value: string | undefined, ...paths: string[]): FieldReader<number> {
  const read = first(paths);
  const path = key.split(".");
  return (message) => {
    const list = read(message);
    if (!Array.isArray(list)) return undefined;
    const found = list.filter((item) => {
      const held = at(item, path);
      return value === undefined ? held !== undefined : held === value;
    });
    return found.length || undefined;
  };
}

/** Reads only messages for which `when` returns true. */
export function where<T>(when: FieldReader<boolean>, read: FieldReader<T>): FieldReader<T> {
  return (message) => when(message) ? read(message) : undefined;
}
