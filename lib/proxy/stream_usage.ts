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
import type { Filter } from "./tap.ts";

/** What the body of an inference request says. */
export interface RequestFacts {
  /** The model's name as it is spelled; `undefined` where there is none, or none that can be one. */
  readonly model: string | undefined;
  /** The body with usage requested; `undefined` where that is not needed, or not safe. */
  readonly withUsage: Uint8Array<ArrayBuffer> | undefined;
}

/**
 * Parses the body of an inference request.
 *
 * @param bytes The whole body, uncompressed. It is parsed as Ollama does (docs/ollama-api.md 0): keys in any case, the
 * last of a repeated key, bytes after the first value ignored.
 * @param canRequestUsage Whether usage may be requested.
 */
export function parseRequest(bytes: Uint8Array, canRequestUsage: boolean): RequestFacts {
  const body = scanObject(bytes);
  if (body === undefined) return { model: undefined, withUsage: undefined };
  const model = last(bytes, body, "model");
  return {
    model: isName(model) ? model : undefined,
    withUsage: canRequestUsage && last(bytes, body, "stream") === true ? requestUsage(bytes, body) : undefined,
  };
}

/** The value that counts of a key: the last one that is not `null`, which Go skips. */
function last(bytes: Uint8Array, object: ScannedObject, key: string): unknown {
  const values = object.members.filter((member) => member.key === key).map((member) => valueOf(bytes, member));
  return values.findLast((value) => value !== null);
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
const DATA = new TextEncoder().encode("data: ");

/**
 * Removes from an event stream what requesting usage has added: the one event whose `choices` is empty and, in
 * `/v1/completions`, the `usage` of every other event (docs/ollama-api.md 3.1, 3.2).
 *
 * An event is forwarded when it is whole. Ollama writes each in one piece, so that nothing is held in practice.
 */
export class UsageFilter implements Filter {
  readonly #splitter = new MessageSplitter("blank_line", EVENT_LIMIT_BYTES);
  #hasHidden = false;

  push(bytes: Uint8Array): Uint8Array {
    const parts = this.#splitter.push(bytes);
    return concat(parts.flatMap(({ bytes, oversized }) => oversized === undefined ? this.#filter(bytes) : [bytes]));
  }

  end(): Uint8Array {
    const rest = this.#splitter.end();
    // An event that broke off is forwarded unless it was going to be hidden.
    const isUsage = !this.#hasHidden && isData(rest) && NO_CHOICES.in(rest) &&
      scanObject(rest, DATA.length) === undefined;
    return isUsage ? EMPTY : this.#edit(rest);
  }

  /** Everything up to the first event with usage is forwarded in one piece. */
  #filter(events: Uint8Array): Uint8Array[] {
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
    if (!isData(event) || !USAGE.in(event)) return event;
    const object = scanObject(event, DATA.length);
    if (object === undefined) return event;
    const usage = object.members.find((member) => member.key === "usage");
    const choices = object.members.find((member) => member.key === "choices");
    if (usage === undefined || choices === undefined) return event;
    if (!isEmptyList(valueOf(event, choices))) return without(event, object, usage);
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

/** Whether the event begins with data, as all that Ollama writes do. */
function isData(event: Uint8Array): boolean {
  return DATA.every((byte, index) => event[index] === byte);
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
