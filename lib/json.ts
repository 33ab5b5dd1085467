/**
 * Lookups in parsed JSON, whose shape is not known.
 *
 * @module
 */

/**
 * The value at a path of keys; a number in the path is an index.
 *
 * @returns `undefined` where there is none. `null` is a value.
 */
export function valueAt(json: unknown, ...path: readonly string[]): unknown {
  let value = json;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}
