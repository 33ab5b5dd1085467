/**
 * Readers of single facts in a message, to write dialects with.
 *
 * A path is written with dots; a number in it is an index. Of several paths the first that is present counts. What is
 * `null` is not present.
 *
 * @module
 */

const NANOSECONDS_PER_SECOND = 1e9;
const MILLISECONDS_PER_SECOND = 1e3;

/**
 * Reads one fact from a message. `undefined`: the message does not carry it. `NaN`: it does, but not as a usable
 * number.
 */
export type FieldReader<T> = (message: unknown) => T | undefined;

/** The value at a path, or `undefined` where the path leads nowhere. */
export function at(message: unknown, path: readonly string[]): unknown {
  let value = message;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value ?? undefined;
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

/** A string that is not empty. */
export function text(...paths: string[]): FieldReader<string> {
  const read = first(paths);
  return (message) => {
    const value = read(message);
    return typeof value === "string" && value !== "" ? value : undefined;
  };
}

/** A count: an integer of at least 0 that a double can hold. */
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

/** A duration in nanoseconds, read as seconds. */
export function nanoseconds(...paths: string[]): FieldReader<number> {
  return duration(NANOSECONDS_PER_SECOND, paths);
}

/** A duration in milliseconds, read as seconds. */
export function milliseconds(...paths: string[]): FieldReader<number> {
  return duration(MILLISECONDS_PER_SECOND, paths);
}

/** The sum of several counts; `undefined` where none of them is present. */
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

/** True where any of the paths holds a string or a list that is not empty. */
export function filled(...paths: string[]): FieldReader<boolean> {
  const keys = paths.map((path) => path.split("."));
  return (message) =>
    keys.some((path) => {
      const value = at(message, path);
      return (typeof value === "string" || Array.isArray(value)) && value.length > 0;
    });
}

/** True where the path holds one of the values. */
export function equals(path: string, ...values: unknown[]): FieldReader<boolean> {
  const read = first([path]);
  return (message) => values.includes(read(message));
}

/** True where the path holds anything but `null`. */
export function present(path: string): FieldReader<boolean> {
  const read = first([path]);
  return (message) => read(message) !== undefined;
}

export function any(...readers: FieldReader<boolean>[]): FieldReader<boolean> {
  return (message) => readers.some((read) => read(message));
}

/** The number of the list's items that have `key`, at any of the paths; `undefined` where there is none. */
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

/** The readings of one usage object, which only counts where `when` is true. */
export function where<T>(when: FieldReader<boolean>, read: FieldReader<T>): FieldReader<T> {
  return (message) => when(message) ? read(message) : undefined;
}
