/**
 * JSON as Go's encoding/json reads and writes it: keys in any case, bytes after the first value
 * ignored, markup escaped (docs/ollama-api.md 0, 2.2).
 */

const ENCODER = new TextEncoder();

/** A JSON object as parsed. */
export type JsonObject = Record<string, unknown>;

/** JSON text with `<`, `>`, `&` and the two line separators escaped, as Go does by default. */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** UTF-8 bytes of a text. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return ENCODER.encode(text);
}

/** The same value with the keys of all objects sorted, as Go's maps are written (3.5). */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sortKeys(value[key])]));
}

/** Whether the value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A request that Go would not decode; the message is the text of the 400. */
export class BadBody extends Error {
  override name = "BadBody";
}

/** The first JSON value of a body, which must be an object; throws BadBody with Go's words. */
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
    // Perhaps there is something behind the first value.
  }
  try {
    return JSON.parse(text.slice(0, endOfFirstValue(text)));
  } catch {
    const bad = /[^\s[\]{}",:0-9a-z.+-]/i.exec(text)?.[0];
    if (bad === undefined) throw new BadBody("unexpected EOF");
    throw new BadBody(`invalid character '${bad}' looking for beginning of value`);
  }
}

/** The index behind the first object or array; the length of the text if it does not end. */
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

/** A field, its key in any case; the last one that is not null wins, as in Go. */
export function field(object: JsonObject, name: string): unknown {
  let found: unknown;
  for (const [key, value] of Object.entries(object)) {
    if (value !== null && (key === name || key.toLowerCase() === name)) found = value;
  }
  return found;
}

/** A text field, "" if absent; throws BadBody for another type. */
export function textField(object: JsonObject, name: string): string {
  const value = field(object, name);
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  throw wrongType(value, name, "string");
}

/** A boolean field or its default; throws BadBody for another type. */
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
