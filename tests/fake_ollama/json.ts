/**
 * JSON as read and written by Go's encoding/json: case-insensitive keys, bytes after the first value ignored, markup
 * escaped (docs/ollama-api.md 0, 2.2).
 */

const ENCODER = new TextEncoder();

/** Parsed JSON object. */
export type JsonObject = Record<string, unknown>;

/** Returns JSON text with `<`, `>`, `&` and the two line separators escaped, as Go does by default. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** Encodes a text as UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return ENCODER.encode(text);
}

/** Returns a value with the keys of all objects sorted, as Go writes maps (3.5). */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sortKeys(value[key])]));
}

/** Returns whether a value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Thrown for a body that Go would not decode. The message is the text of the 400. */
export class BadBody extends Error {
  override name = "BadBody";
}

/** Parses the first JSON value of a body, which must be an object. Throws BadBody with Go's message. */
export function decodeObject(bytes: Uint8Array, emptyMessage: string): JsonObject {
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") throw new BadBody(emptyMessage);
  const value = parseFirst(text);
  if (value === null) return {};
  if (isObject(value)) return value;
  const kind = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  throw new BadBody(`json: cannot unmarshal ${kind} into Go value of type api.Request`);
}

function parseFirst(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // There may be bytes after the first value.
  }
  try {
    return JSON.parse(text.slice(0, endOfFirstValue(text)));
  } catch {
    const bad = /[^\s[\]{}",:0-9a-z.+-]/i.exec(text)?.[0];
    if (bad === undefined) throw new BadBody("unexpected EOF");
    throw new BadBody(`invalid character '${bad}' looking for beginning of value`);
  }
}

/** Returns the index after the first object or array, or the text's length if it does not end. */
function endOfFirstValue(text: string): number {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (inString) {
      if (char === "\\") at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") {
      depth--;
      if (depth === 0) return at + 1;
    }
  }
  return text.length;
}

/** Returns a field by its case-insensitive key. The last one that is not null wins, as in Go. */
export function field(object: JsonObject, name: string): unknown {
  let found: unknown;
  for (const [key, value] of Object.entries(object)) {
    if (value !== null && (key === name || key.toLowerCase() === name)) found = value;
  }
  return found;
}

/** Returns a string field, or "" if missing. Throws BadBody for another type. */
export function textField(object: JsonObject, name: string): string {
  const value = field(object, name);
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  throw wrongType(value, name, "string");
}

/** Returns a boolean field or its default. Throws BadBody for another type. */
export function booleanField(object: JsonObject, name: string, absent: boolean): boolean {
  const value = field(object, name);
  if (value === undefined) return absent;
  if (typeof value === "boolean") return value;
  throw wrongType(value, name, "bool");
}

function wrongType(value: unknown, name: string, wanted: string): BadBody {
  const kind = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
  return new BadBody(
    `json: cannot unmarshal ${kind} into Go struct field Request.${name} of type ${wanted}`,
  );
}
