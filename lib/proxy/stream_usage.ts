/**
 * Usage that nobody asked for: an OpenAI stream carries token counts only if the request asks for them. This asks, by
 * putting bytes into the request's body, and takes out of the answer what that adds to it. Nothing is encoded anew.
 *
 * @module
 */

import { join } from "../bytes/byte_queue.ts";
import { ByteSearch } from "../bytes/byte_search.ts";
import { MessageSplitter, type SplitterSink } from "../bytes/message_splitter.ts";
import { type Member, type ScannedObject, scanObject, valueOf } from "../bytes/json_scan.ts";
import type { Filter } from "./tap.ts";

/** What a request to an inference endpoint says. */
export interface RequestFacts {
  /** The model's name as it is spelt; `undefined` where there is none. */
  readonly model: string | undefined;
  /** The request in which usage is asked for; `undefined` where that is not needed, or not safe. */
  readonly asking: Uint8Array<ArrayBuffer> | undefined;
}

const NO_FACTS: RequestFacts = { model: undefined, asking: undefined };

/**
 * Reads the body of a request.
 *
 * @param bytes The whole body, uncompressed. It is read as Ollama does: keys without regard to case, of a key that
 * comes twice the last, bytes after the first value ignored (section 0, rule 9).
 * @param ask Whether usage is to be asked for where the client has not.
 */
export function readRequest(bytes: Uint8Array, ask: boolean): RequestFacts {
  const body = scanObject(bytes);
  if (body === undefined) return NO_FACTS;
  const model = last(bytes, body, "model");
  return {
    model: typeof model === "string" && model !== "" ? model : undefined,
    asking: ask && last(bytes, body, "stream") === true ? askForUsage(bytes, body) : undefined,
  };
}

/** The value that counts of a key: the last one that is not `null`, which Go passes over. */
function last(bytes: Uint8Array, object: ScannedObject, key: string): unknown {
  const values = object.members.filter((member) => member.key === key).map((member) => valueOf(bytes, member));
  return values.findLast((value) => value !== null);
}

const OPTIONS = "stream_options";
const INCLUDE = "include_usage";

/** The body with usage asked for; `undefined` where it is asked for already, or the body is not what it seems to be. */
function askForUsage(bytes: Uint8Array, body: ScannedObject): Uint8Array<ArrayBuffer> | undefined {
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

// Hiding.

/** Longest event that is held until it is whole, in bytes. A longer one is passed on as it comes. */
export const EVENT_LIMIT_BYTES = 8 * 1024 * 1024;

const LF = 10;
const CR = 13;
const USAGE = new ByteSearch('"usage"');
const NO_CHOICES = new ByteSearch('"choices":[]');
const DATA = new TextEncoder().encode("data: ");
const NOTHING = new Uint8Array(0);

/**
 * Takes out of an event stream what asking for usage has put into it: the one event whose `choices` is empty, and, in
 * `/v1/completions`, the `usage` that every other event carries (sections 3.1, 3.2).
 *
 * An event is passed on when it is whole. Ollama writes each in one piece, so that nothing is held in practice.
 */
export class UsageFilter implements Filter, SplitterSink {
  readonly #cutter = new MessageSplitter("blank_line", EVENT_LIMIT_BYTES, this);
  #hidden = false;
  /** What is to be passed on of the current push. */
  #passed: Uint8Array[] = [];

  /** Takes bytes of the stream and returns those to be passed on; the result may share memory with `bytes`. */
  push(bytes: Uint8Array): Uint8Array {
    this.#cutter.push(bytes);
    return this.#take();
  }

  /** Ends the stream, politely or not, and returns what was held and is to be passed on. */
  end(): Uint8Array {
    const rest = this.#cutter.end();
    // An event that broke off is passed on unless it was going to be hidden.
    const isUsage = !this.#hidden && isData(rest) && NO_CHOICES.in(rest) && scanObject(rest, DATA.length) === undefined;
    if (!isUsage) this.#passed.push(this.#edit(rest));
    return this.#take();
  }

  whole(events: Uint8Array): void {
    // Everything up to the first event that tells usage passes in one piece.
    let start = 0;
    for (let at = USAGE.indexIn(events); at >= 0; at = USAGE.indexIn(events, start)) {
      const event = eventStart(events, start, at);
      const end = eventEnd(events, at);
      this.#passed.push(events.subarray(start, event), this.#edit(events.subarray(event, end)));
      start = end;
    }
    this.#passed.push(events.subarray(start));
  }

  long(bytes: Uint8Array): void {
    this.#passed.push(bytes);
  }

  #take(): Uint8Array {
    const passed = this.#passed;
    this.#passed = [];
    return passed.length === 1 && passed[0] ? passed[0] : join(passed);
  }

  #edit(event: Uint8Array): Uint8Array {
    if (!isData(event) || !USAGE.in(event)) return event;
    const object = scanObject(event, DATA.length);
    if (object === undefined) return event;
    const usage = object.members.find((member) => member.key === "usage");
    const choices = object.members.find((member) => member.key === "choices");
    if (usage === undefined || choices === undefined) return event;
    if (isEmptyList(valueOf(event, choices))) {
      if (this.#hidden) return event;
      this.#hidden = true;
      return NOTHING;
    }
    return without(event, object, usage);
  }
}

/** The event consists of data, as all that Ollama writes. */
function isData(event: Uint8Array): boolean {
  return DATA.every((byte, index) => event[index] === byte);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** The event without one member of its object, and without the comma that parted it from its neighbour. */
function without(event: Uint8Array, object: ScannedObject, member: Member): Uint8Array {
  const index = object.members.indexOf(member);
  const before = object.members[index - 1];
  const after = object.members[index + 1];
  const start = before?.valueEnd ?? member.keyStart;
  const end = before === undefined && after !== undefined ? after.keyStart : member.valueEnd;
  return splice(event, start, end, NOTHING);
}

/** Where the event begins that the byte at an index belongs to; events begin at `from`. */
function eventStart(bytes: Uint8Array, from: number, index: number): number {
  let at = bytes.lastIndexOf(LF, index);
  while (at >= from) {
    const before = bytes[at - 1] === CR ? at - 2 : at - 1;
    if (before < from || bytes[before] === LF) return at + 1;
    at = bytes.lastIndexOf(LF, at - 1);
  }
  return from;
}

/** Index behind the event that begins at an index, its blank line included. A blank line before it counts as one. */
function eventEnd(bytes: Uint8Array, start: number): number {
  for (let at = bytes.indexOf(LF, start); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    const before = bytes[at - 1] === CR ? at - 2 : at - 1;
    if (before < start || bytes[before] === LF) return at + 1;
  }
  return bytes.length;
}
