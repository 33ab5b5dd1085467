/**
 * Requests usage on OpenAI streams whose client did not, and hides it from the client: such a stream carries token
 * counts only if the request asks for them (docs/ollama-api.md 3.1). Bytes are spliced in and out, never re-encoded.
 *
 * @module
 */

import { EMPTY, join } from "../bytes/byte_queue.ts";
import { ByteSearch } from "../bytes/byte_search.ts";
import { firstEnd, lastEnd, MessageSplitter } from "../bytes/message_splitter.ts";
import { type Member, type ScannedObject, scanObject, valueOf } from "../bytes/json_scan.ts";
import { isName } from "../model_name.ts";
import type { RequestOptions } from "../observation.ts";
import type { Filter } from "./tap.ts";

/** What the body of an inference request says. */
export interface RequestFacts {
  /** The model's name as it is spelled; `undefined` where there is none, or none that can be one. */
  readonly model: string | undefined;
  /** The output is to have a format: JSON, or that of a schema (docs/ollama-api.md 2.1). */
  readonly hasFormat: boolean;
  /** A stream is asked for; `undefined` where that could not be read. */
  readonly isStream: boolean | undefined;
  /** `undefined` where they could not be read. */
  readonly options: RequestOptions | undefined;
}

/** What a body says that is not parsed, or cannot be. */
export const NO_FACTS: RequestFacts = { model: undefined, hasFormat: false, isStream: undefined, options: undefined };

/** The options of a request that has none. */
const NO_OPTIONS: RequestOptions = { contextTokens: undefined, keepTokens: undefined };

/** How a body is parsed. */
export interface ParseOptions {
  /** The API has `options`. Otherwise Ollama ignores them. */
  readonly hasOptions: boolean;
  /** A request that does not say so asks for a stream. Default: `false`. */
  readonly streamsByDefault?: boolean;
  /** Usage may be requested. */
  readonly canRequestUsage: boolean;
}

/** A body that was parsed. */
export interface ParsedRequest extends RequestFacts {
  /** The body with usage requested; `undefined` where that is not needed, or not safe. */
  readonly withUsage: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Parses the body of an inference request.
 *
 * @param bytes The whole body, uncompressed. It is parsed as Ollama does (docs/ollama-api.md 0): keys in any case, the
 * last of a repeated key, bytes after the first value ignored.
 */
export function parseRequest(bytes: Uint8Array, options: ParseOptions): ParsedRequest {
  const { hasOptions, streamsByDefault = false, canRequestUsage } = options;
  const body = scanObject(bytes);
  if (body === undefined) return { ...NO_FACTS, withUsage: undefined };
  const model = last(bytes, body, "model");
  const stream = last(bytes, body, "stream") ?? streamsByDefault;
  return {
    model: isName(model) ? model : undefined,
    hasFormat: body.members.some((member) => member.key === "format" && !isEmpty(bytes, member)),
    isStream: typeof stream === "boolean" ? stream : undefined,
    options: hasOptions ? requestOptions(bytes, body) : NO_OPTIONS,
    withUsage: canRequestUsage && stream === true ? requestUsage(bytes, body) : undefined,
  };
}

/** The value that counts of a key: the last one that is not `null`, which Go skips. */
function last(bytes: Uint8Array, object: ScannedObject, key: string): unknown {
  const values = object.members.filter((member) => member.key === key).map((member) => valueOf(bytes, member));
  return values.findLast((value) => value !== null);
}

/** The options that are read; `undefined` where they are no object, or one over the limit of a value. */
function requestOptions(bytes: Uint8Array, body: ScannedObject): RequestOptions | undefined {
  const values = body.members.filter(({ key }) => key === "options").map((member) => valueOf(bytes, member));
  if (values.some((value) => typeof value !== "object" || Array.isArray(value))) return undefined;
  // Go decodes a repeated map into the same one. Its keys, unlike those of the body, are matched as they are spelled.
  const { num_ctx, num_keep } = Object.assign({}, ...values);
  return { contextTokens: integer(num_ctx), keepTokens: integer(num_keep) };
}

/** A numeric option as Ollama takes it: without its fraction. Values of other types are errors there. */
function integer(value: unknown): number | undefined {
  return typeof value === "number" ? Math.trunc(value) : undefined;
}

/** Whether a value is `null` or `""`, without decoding a long one. */
function isEmpty(bytes: Uint8Array, member: Member): boolean {
  return member.valueEnd - member.valueStart <= "null".length && (valueOf(bytes, member) || null) === null;
}

const OPTIONS = "stream_options";
const INCLUDE = "include_usage";

/** The body with usage requested; `undefined` where it is requested already, or the keys are ambiguous. */
function requestUsage(bytes: Uint8Array, body: ScannedObject): Uint8Array<ArrayBuffer> | undefined {
  const [options, ...more] = body.members.filter((member) => member.key === OPTIONS);
  if (more.length > 0) return undefined;
  // The body has members: at least `stream`.
  if (options === undefined) return insert(bytes, body.start + 1, `"${OPTIONS}":{"${INCLUDE}":true},`);
  if (valueOf(bytes, options) === null) return replace(bytes, options, `{"${INCLUDE}":true}`);

  const object = scanObject(bytes.subarray(0, options.valueEnd), options.valueStart);
  if (object === undefined) return undefined;
  const [include, ...others] = object.members.filter((member) => member.key === INCLUDE);
  if (others.length > 0) return undefined;
  if (include === undefined) {
    return insert(bytes, object.start + 1, `"${INCLUDE}":true${object.members.length > 0 ? "," : ""}`);
  }
  const value = valueOf(bytes, include);
  return value === false || value === null ? replace(bytes, include, "true") : undefined;
}

function insert(bytes: Uint8Array, at: number, text: string): Uint8Array<ArrayBuffer> {
  return splice(bytes, at, at, new TextEncoder().encode(text));
}

function replace(bytes: Uint8Array, { valueStart, valueEnd }: Member, text: string): Uint8Array<ArrayBuffer> {
  return splice(bytes, valueStart, valueEnd, new TextEncoder().encode(text));
}

/** A copy of the bytes in which `[start, end)` is replaced. */
function splice(bytes: Uint8Array, start: number, end: number, middle: Uint8Array): Uint8Array<ArrayBuffer> {
  return join([bytes.subarray(0, start), middle, bytes.subarray(end)]);
}

/** Maximum size of an event that is held until it is whole, in bytes. A larger one is forwarded as it arrives. */
export const EVENT_LIMIT_BYTES = 8 * 1024 * 1024;

const USAGE = new ByteSearch('"usage"');
const NO_CHOICES = new ByteSearch('"choices":[]');
const DATA = new TextEncoder().encode("data:");
const LF = 10;
const OBJECT_OPEN = 0x7b;

/** Members of Ollama's event with usage (docs/ollama-api.md 3.1, 10). */
const USAGE_MEMBERS = ["id", "object", "created", "model", "system_fingerprint", "choices", "usage", "timings"];

/**
 * Removes from an event stream what requesting usage has added: the one event whose `choices` is empty and, in
 * `/v1/completions`, the `usage` of every other event (docs/ollama-api.md 3.1, 3.2). An event that says more than usage
 * is not removed, as of other servers: one with a member that neither Ollama's has nor the first event of the stream.
 *
 * An event is forwarded when it is whole. Ollama writes each in one piece, so that nothing is held in practice.
 */
export class UsageFilter implements Filter {
  readonly #splitter = new MessageSplitter("blank_line", EVENT_LIMIT_BYTES);
  #hasHidden = false;
  /** Members that say nothing of their own beside usage; `undefined` before the first event with choices. */
  #members: ReadonlySet<string> | undefined;

  push(bytes: Uint8Array): Uint8Array {
    const parts = this.#splitter.push(bytes);
    return concat(parts.flatMap(({ bytes, oversized }) => oversized === undefined ? this.#filter(bytes) : [bytes]));
  }

  end(): Uint8Array {
    const rest = this.#splitter.end();
    // An event that broke off is forwarded unless it was going to be hidden.
    const at = dataStart(rest);
    const isUsage = !this.#hasHidden && at !== undefined && NO_CHOICES.in(rest) && scanObject(rest, at) === undefined;
    return isUsage ? EMPTY : this.#edit(rest);
  }

  /** Everything up to the first event with usage is forwarded in one piece. */
  #filter(events: Uint8Array): Uint8Array[] {
    this.#members ??= membersOf(events.subarray(0, firstEnd(events, 0, "blank_line")));
    const forwarded: Uint8Array[] = [];
    let start = 0;
    for (let at = USAGE.indexIn(events); at >= 0; at = USAGE.indexIn(events, start)) {
      const event = Math.max(start, lastEnd(events, at, "blank_line"));
      const end = firstEnd(events, at, "blank_line");
      forwarded.push(events.subarray(start, event), this.#edit(events.subarray(event, end)));
      start = end;
    }
    forwarded.push(events.subarray(start));
    return forwarded;
  }

  #edit(event: Uint8Array): Uint8Array {
    const at = USAGE.in(event) ? dataStart(event) : undefined;
    const object = at === undefined ? undefined : scanObject(event, at);
    if (object === undefined) return event;
    const usage = object.members.find((member) => member.key === "usage");
    const choices = object.members.find((member) => member.key === "choices");
    if (usage === undefined || choices === undefined) return event;
    const isUsage = isEmptyList(valueOf(event, choices)) && event[usage.valueStart] === OBJECT_OPEN;
    if (!isUsage || object.members.some(({ key }) => !USAGE_MEMBERS.includes(key) && !this.#members?.has(key))) {
      return without(event, object, usage);
    }
    if (this.#hasHidden) return event;
    this.#hasHidden = true;
    return EMPTY;
  }
}

/** A filter that forwards bytes unchanged once it has thrown. */
export function failOpen(filter: Filter, internalError: (error: unknown) => void): Filter {
  let hasFailed = false;
  const attempt = (change: () => Uint8Array, fallback: Uint8Array): Uint8Array => {
    if (hasFailed) return fallback;
    try {
      return change();
    } catch (error) {
      hasFailed = true;
      internalError(error);
      return fallback;
    }
  };
  return {
    push: (bytes) => attempt(() => filter.push(bytes), bytes),
    end: () => attempt(() => filter.end(), EMPTY),
  };
}

/** The parts in one piece; without a copy where there is one. */
function concat(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 && parts[0] ? parts[0] : join(parts);
}

/** The keys of an event with choices; `undefined` where the event is none. */
function membersOf(event: Uint8Array): ReadonlySet<string> | undefined {
  const at = dataStart(event);
  const object = at === undefined ? undefined : scanObject(event, at);
  const choices = object?.members.find(({ key }) => key === "choices");
  if (object === undefined || choices === undefined || isEmptyList(valueOf(event, choices))) return undefined;
  return new Set(object.members.map(({ key }) => key));
}

/** Index of an event's data (WHATWG HTML, 9.2.6); `undefined` where it has none, or several lines of it. */
function dataStart(event: Uint8Array): number | undefined {
  let start: number | undefined;
  for (let line = 0; line < event.length; line = event.indexOf(LF, line) + 1 || event.length) {
    if (!DATA.every((byte, index) => event[line + index] === byte)) continue;
    if (start !== undefined) return undefined;
    start = line + DATA.length;
  }
  return start;
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** The event without one member of its object, and without the comma between it and its neighbor. */
function without(event: Uint8Array, object: ScannedObject, member: Member): Uint8Array {
  const index = object.members.indexOf(member);
  const before = object.members[index - 1];
  const after = object.members[index + 1];
  const start = before?.valueEnd ?? member.keyStart;
  const end = before === undefined && after !== undefined ? after.keyStart : member.valueEnd;
  return splice(event, start, end, EMPTY);
}
