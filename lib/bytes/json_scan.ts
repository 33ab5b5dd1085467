/**
 * Finds the members of a JSON object in its bytes, without decoding the rest.
 *
 * @module
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OBJECT_OPEN = 0x7b;
const OBJECT_CLOSE = 0x7d;
const ARRAY_OPEN = 0x5b;
const ARRAY_CLOSE = 0x5d;

const DECODER = new TextDecoder();

/** Maximum size of a key that is decoded: the keys that are looked up are shorter, even with each letter escaped. */
export const KEY_LIMIT_BYTES = 128;

/** Maximum size of a value that is decoded, in bytes: more than a model name with each letter escaped. */
export const VALUE_LIMIT_BYTES = 4 * 1024;

/** Maximum number of members of an object: requests have some dozens. An object with more is not scanned further. */
export const MEMBERS_LIMIT = 1024;

/** A member of an object: its key, and the positions of key and value. */
export interface Member {
  /** The key in lower case: Go matches keys in any case (docs/ollama-api.md 0). Empty where it is over the limit. */
  readonly key: string;
  readonly keyStart: number;
  readonly valueStart: number;
  /** Index after the value. */
  readonly valueEnd: number;
}

/** An object in bytes. */
export interface ScannedObject {
  /** Index of its opening brace. */
  readonly start: number;
  /** In order; a key may occur twice. */
  readonly members: readonly Member[];
}

/**
 * The object that begins at an index, optionally after white space. Only what delimits members is checked: the result
 * for bytes that are not JSON is useless but harmless.
 *
 * @returns `undefined` where there is no whole object, or one with more than {@linkcode MEMBERS_LIMIT} members.
 */
export function scanObject(bytes: Uint8Array, from = 0): ScannedObject | undefined {
  const start = skipSpace(bytes, from);
  if (bytes[start] !== OBJECT_OPEN) return undefined;
  const members: Member[] = [];
  let at = skipSpace(bytes, start + 1);
  if (bytes[at] === OBJECT_CLOSE) return { start, members };
  while (bytes[at] === QUOTE && members.length < MEMBERS_LIMIT) {
    const keyStart = at;
    const keyEnd = skipString(bytes, at);
    at = skipSpace(bytes, keyEnd);
    if (bytes[at] !== COLON) return undefined;
    const valueStart = skipSpace(bytes, at + 1);
    const valueEnd = skipValue(bytes, valueStart);
    if (valueEnd === valueStart || valueEnd > bytes.length) return undefined;
    members.push({ key: keyOf(bytes, keyStart, keyEnd), keyStart, valueStart, valueEnd });
    at = skipSpace(bytes, valueEnd);
    if (bytes[at] === OBJECT_CLOSE) return { start, members };
    if (bytes[at] !== COMMA) return undefined;
    at = skipSpace(bytes, at + 1);
  }
  return undefined;
}

/** The value of a member, parsed; `undefined` where it is not JSON, or over {@linkcode VALUE_LIMIT_BYTES}. */
export function valueOf(bytes: Uint8Array, { valueStart, valueEnd }: Member): unknown {
  if (valueEnd - valueStart > VALUE_LIMIT_BYTES) return undefined;
  try {
    return JSON.parse(DECODER.decode(bytes.subarray(valueStart, valueEnd)));
  } catch {
    return undefined;
  }
}

function keyOf(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > KEY_LIMIT_BYTES) return "";
  const key = valueOf(bytes, { key: "", keyStart: start, valueStart: start, valueEnd: end });
  // Upper case first: Go also folds letters whose upper case is ASCII.
  return typeof key === "string" ? key.toUpperCase().toLowerCase() : "";
}

function skipSpace(bytes: Uint8Array, at: number): number {
  let byte = bytes[at];
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
  return at;
}

/** Index after the string that begins here; beyond the bytes where it does not end. */
function skipString(bytes: Uint8Array, start: number): number {
  let at = bytes.indexOf(QUOTE, start + 1);
  while (at >= 0) {
    let before = at - 1;
    while (bytes[before] === BACKSLASH) before--;
    if ((at - before) % 2 === 1) return at + 1;
    at = bytes.indexOf(QUOTE, at + 1);
  }
  return bytes.length + 1;
}

/** Index after the value that begins here; beyond the bytes where it does not end. */
function skipValue(bytes: Uint8Array, start: number): number {
  let depth = 0;
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      if (depth === 0) return at;
    } else if (byte === OBJECT_OPEN || byte === ARRAY_OPEN) {
      depth++;
      at++;
    } else if (byte === OBJECT_CLOSE || byte === ARRAY_CLOSE) {
      if (depth === 0) return at;
      at++;
      if (--depth === 0) return at;
    } else if (depth === 0 && (byte === COMMA || byte as number <= 0x20)) {
      return at;
    } else at++;
  }
  return depth === 0 ? at : bytes.length + 1;
}
