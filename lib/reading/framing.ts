/**
 * From the bytes of a body to the texts of its messages: NDJSON, server-sent events, or one JSON value.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import { ByteQueue } from "../bytes/byte_queue.ts";
import type { ByteSearch } from "../bytes/byte_search.ts";
import { LongValueSkipper } from "../bytes/long_value_skipper.ts";
import { firstEnd, lastEnd, MessageSplitter, type Part, type Separator } from "../bytes/message_splitter.ts";

/**
 * Maximum size of a message that is read, in bytes: the limit of Ollama's own client for a line (docs/ollama-api.md
 * 2.2). Long strings and vectors of a larger message are left out. If it is still larger, it is counted as a parse
 * error, and forwarded all the same.
 */
export const MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024;

/** Size from which a body of one JSON value is shortened, in bytes. Parsing a smaller one costs little. */
const SHORTEN_BYTES = 4096;

/** How the messages of a body are delimited. */
export type FramingKind = "ndjson" | "sse" | "json";

/**
 * Framing of a body by its content type; parameters and case do not matter.
 *
 * @returns `undefined` for types that hold no messages.
 */
export function framingKind(contentType: string | null): FramingKind | undefined {
  switch (contentType?.split(";", 1)[0]?.trim().toLowerCase()) {
    case "application/x-ndjson":
      return "ndjson";
    case "text/event-stream":
      return "sse";
    case "application/json":
      return "json";
    default:
      return undefined;
  }
}

/** What some bytes completed. */
export interface Framed {
  /** Whole messages, decoded; empty where there are none. */
  readonly text: string;
  /** Number of whole messages in front of `text` that were skipped. */
  readonly skipped: number;
  /** Number of messages that went over {@linkcode MESSAGE_LIMIT_BYTES}. They are dropped. */
  readonly oversized: number;
}

/** Which messages need not be parsed. */
export interface SkipRule {
  /** Part of every message that carries output and nothing else of interest, as Ollama writes it. */
  readonly form: ByteSearch;
  /** A message with any of these is parsed all the same. */
  readonly unless: ByteSearch;
}

/** Splits one body. Holds at most {@linkcode MESSAGE_LIMIT_BYTES} of an unfinished message. */
export interface Framing {
  /**
   * Takes bytes as they arrived; the array is not kept.
   *
   * @param skip Messages up to the first that the rule does not apply to are skipped, not decoded. Default: none is.
   */
  push(bytes: Uint8Array, skip?: SkipRule): Framed;
  /** Ends the body and returns the message that has no end. */
  end(): Framed;
  /** Splits whole messages, decoded, into the text of each. */
  split(text: string): Promise<string[]>;
}

/** Makes a framing. */
export function createFraming(kind: FramingKind): Framing {
  return kind === "json" ? new BodyFraming() : new StreamFraming(kind);
}

const NO_MESSAGES: Framed = { text: "", skipped: 0, oversized: 0 };

const DECODER = new TextDecoder();

const NOTHING_SKIPPED = { start: 0, skipped: 0 };

/** One message that may be long: from {@linkcode SHORTEN_BYTES}, long strings and vectors are left out. */
class LongMessage {
  readonly #held = new ByteQueue();
  #skipper: LongValueSkipper | undefined;
  #isOversized = false;

  /** Takes the next bytes. Returns whether the message has gone over {@linkcode MESSAGE_LIMIT_BYTES} with them. */
  add(bytes: Uint8Array): boolean {
    if (this.#isOversized) return false;
    if (this.#skipper === undefined && this.#held.bytes + bytes.length > SHORTEN_BYTES) {
      this.#skipper = new LongValueSkipper();
      for (const part of this.#skipper.push(this.#held.take())) this.#held.add(part);
    }
    for (const part of this.#skipper?.push(bytes) ?? [bytes]) this.#held.add(part);
    this.#isOversized = this.#held.bytes > MESSAGE_LIMIT_BYTES;
    if (this.#isOversized) this.#held.clear();
    return this.#isOversized;
  }

  /** Empties the message. Returns what was kept of it: nothing if it went over the limit. */
  take(): Uint8Array {
    return this.#held.take();
  }
}

/** A body that is one JSON value. */
class BodyFraming implements Framing {
  readonly #message = new LongMessage();

  push(bytes: Uint8Array): Framed {
    return this.#message.add(bytes) ? { ...NO_MESSAGES, oversized: 1 } : NO_MESSAGES;
  }

  end(): Framed {
    return { ...NO_MESSAGES, text: DECODER.decode(this.#message.take()) };
  }

  split(text: string): Promise<string[]> {
    return Promise.resolve([text]);
  }
}

/** A stream with one message per line or event. */
class StreamFraming implements Framing {
  readonly #kind: "ndjson" | "sse";
  readonly #separator: Separator;
  readonly #splitter: MessageSplitter;
  /** The message that is over the splitter's limit. */
  #long: LongMessage | undefined;

  constructor(kind: "ndjson" | "sse") {
    this.#kind = kind;
    this.#separator = kind === "sse" ? "blank_line" : "line";
    this.#splitter = new MessageSplitter(this.#separator, MESSAGE_LIMIT_BYTES);
  }

  push(bytes: Uint8Array, skip?: SkipRule): Framed {
    let framed = NO_MESSAGES;
    for (const part of this.#splitter.push(bytes)) {
      framed = part.oversized === undefined ? this.#addWhole(part.bytes, framed, skip) : this.#addLong(part, framed);
    }
    return framed;
  }

  end(): Framed {
    const rest = this.#long?.take() ?? this.#splitter.end();
    return { ...NO_MESSAGES, text: DECODER.decode(rest) };
  }

  async split(text: string): Promise<string[]> {
    const lines = await linesOf(text);
    return this.#kind === "sse" ? dataOf(lines) : lines.filter((line) => line.trim() !== "");
  }

  #addLong({ bytes, oversized }: Part, framed: Framed): Framed {
    this.#long ??= new LongMessage();
    const added = { ...framed, oversized: framed.oversized + (this.#long.add(bytes) ? 1 : 0) };
    if (oversized !== "end") return added;
    const text = DECODER.decode(this.#long.take());
    this.#long = undefined;
    return { ...added, text };
  }

  /** A push has at most one part of whole messages. */
  #addWhole(bytes: Uint8Array, { text: before, oversized }: Framed, skip: SkipRule | undefined): Framed {
    const { start, skipped } = skip === undefined ? NOTHING_SKIPPED : this.#skip(bytes, skip);
    const text = start < bytes.length ? DECODER.decode(bytes.subarray(start)) : "";
    return { text: before + text, skipped, oversized };
  }

  /** The number of messages to skip, and the index of the first one after them. */
  #skip(messages: Uint8Array, { form, unless }: SkipRule): typeof NOTHING_SKIPPED {
    const found = unless.indexIn(messages);
    const until = found < 0 ? messages.length : lastEnd(messages, found, this.#separator);
    let start = 0;
    let skipped = 0;
    while (start < until) {
      const end = firstEnd(messages, start, this.#separator);
      const at = form.indexIn(messages, start);
      if (at < 0 || at >= end) break;
      start = end;
      skipped++;
    }
    return { start, skipped };
  }
}

/**
 * Lines of a text. The stream lives for this text alone: that costs 2 µs, and one that stayed open would take 5.5 kB
 * for as long as the response lasts, of which most is skipped. Piping and iterating would cost 13 µs.
 */
async function linesOf(text: string): Promise<string[]> {
  const { readable, writable } = new TextLineStream();
  const writer = writable.getWriter();
  writer.write(text).catch(ignore);
  writer.close().catch(ignore);
  const lines: string[] = [];
  const reader = readable.getReader();
  for (let line = await reader.read(); !line.done; line = await reader.read()) lines.push(line.value);
  return lines;
}

/** The reader gets the same error. */
function ignore(): void {}

/** Data of the events that these lines are (WHATWG HTML, 9.2.6); an event without data is none. */
function dataOf(lines: readonly string[]): string[] {
  const events: string[] = [];
  let data: string[] = [];
  for (const line of [...lines, ""]) {
    if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
    if (line !== "") continue;
    const event = data.join("\n");
    if (event !== "") events.push(event);
    data = [];
  }
  return events;
}
