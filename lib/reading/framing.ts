/**
 * From the bytes of a body to the texts of its messages: NDJSON, server-sent events, or one JSON value.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import { ByteQueue } from "../bytes/byte_queue.ts";
import type { ByteSearch } from "../bytes/byte_search.ts";
import { lastEnd, MessageSplitter, type Part, type Separator } from "../bytes/message_splitter.ts";
import { VectorSkipper } from "../bytes/vector_skipper.ts";

/**
 * Maximum size of a message that is read, in bytes: the limit of Ollama's own client for a line (docs/ollama-api.md
 * 2.2). A larger one is counted as a parse error; it is forwarded all the same.
 */
export const MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024;

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
  /** Whole messages in front of `text` were skipped. */
  readonly hasSkipped: boolean;
  /** Number of messages that went over {@linkcode MESSAGE_LIMIT_BYTES}. They are dropped. */
  readonly oversized: number;
}

/** Splits one body. Holds at most {@linkcode MESSAGE_LIMIT_BYTES} of an unfinished message. */
export interface Framing {
  /**
   * Takes bytes as they arrived; the array is not kept.
   *
   * @param unless Messages up to the first that contains one of these are skipped, not decoded. Default: none is.
   */
  push(bytes: Uint8Array, unless?: ByteSearch): Framed;
  /** Ends the body and returns the message that has no end. */
  end(): Framed;
  /** Splits whole messages, decoded, into the text of each. */
  split(text: string): Promise<string[]>;
}

/**
 * Makes a framing.
 *
 * @param hasVectors The body consists of vectors, which are left out (JSON only).
 */
export function createFraming(kind: FramingKind, hasVectors = false): Framing {
  return kind === "json" ? new BodyFraming(hasVectors) : new StreamFraming(kind);
}

const NO_MESSAGES: Framed = { text: "", hasSkipped: false, oversized: 0 };

/** A body that is one JSON value. */
class BodyFraming implements Framing {
  readonly #vectors: VectorSkipper | undefined;
  readonly #held = new ByteQueue();
  #isOversized = false;

  constructor(hasVectors: boolean) {
    this.#vectors = hasVectors ? new VectorSkipper() : undefined;
  }

  push(bytes: Uint8Array): Framed {
    if (this.#isOversized) return NO_MESSAGES;
    for (const part of this.#vectors?.push(bytes) ?? [bytes]) this.#held.add(part);
    if (this.#held.bytes <= MESSAGE_LIMIT_BYTES) return NO_MESSAGES;
    this.#isOversized = true;
    this.#held.clear();
    return { ...NO_MESSAGES, oversized: 1 };
  }

  end(): Framed {
    return { ...NO_MESSAGES, text: new TextDecoder().decode(this.#held.take()) };
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
  readonly #decoder = new TextDecoder();

  constructor(kind: "ndjson" | "sse") {
    this.#kind = kind;
    this.#separator = kind === "sse" ? "blank_line" : "line";
    this.#splitter = new MessageSplitter(this.#separator, MESSAGE_LIMIT_BYTES);
  }

  push(bytes: Uint8Array, unless?: ByteSearch): Framed {
    let framed = NO_MESSAGES;
    for (const part of this.#splitter.push(bytes)) framed = this.#add(part, framed, unless);
    return framed;
  }

  end(): Framed {
    return { ...NO_MESSAGES, text: this.#decoder.decode(this.#splitter.end()) };
  }

  async split(text: string): Promise<string[]> {
    const lines = await linesOf(text);
    return this.#kind === "sse" ? dataOf(lines) : lines.filter((line) => line !== "");
  }

  /** A push has at most one part of whole messages. */
  #add({ bytes, oversized }: Part, framed: Framed, unless: ByteSearch | undefined): Framed {
    if (oversized === "rest") return framed;
    if (oversized === "start") return { ...framed, oversized: framed.oversized + 1 };
    const start = unless === undefined ? 0 : this.#startOfUnskipped(bytes, unless);
    const text = start < bytes.length ? this.#decoder.decode(bytes.subarray(start)) : "";
    return { text, hasSkipped: start > 0, oversized: framed.oversized };
  }

  /** Index of the first message that must not be skipped. */
  #startOfUnskipped(messages: Uint8Array, unless: ByteSearch): number {
    const found = unless.indexIn(messages);
    return found < 0 ? messages.length : lastEnd(messages, found, this.#separator);
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
