/**
 * From bytes to messages: NDJSON, server-sent events, or one JSON body, whichever the response says it is.
 *
 * A framing is pushed (`push(bytes)` … `end()`), apart from the stream that feeds it, and never throws at the feeder.
 * It keeps at most {@linkcode MESSAGE_LIMIT_BYTES} of one unfinished message.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";
import { ByteQueue } from "../bytes/byte_queue.ts";
import type { ByteSearch } from "../bytes/byte_search.ts";
import { MessageSplitter, type SplitterSink } from "../bytes/message_splitter.ts";
import type { Quiet } from "./dialects.ts";
import type { ParseError } from "../observation.ts";
import { VectorSkipper } from "../bytes/vector_skipper.ts";

/**
 * Longest message that is read, in bytes (characters, once decoded): the bound of Ollama's own client for one line. A
 * longer one is counted as a parse error and forgotten; its bytes went to the client all the same.
 */
export const MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024;

const LF = 10;

/** How a body is cut into messages. */
export type FramingKind = "ndjson" | "sse" | "json";

/** Takes what a framing finds. */
export interface MessageSink {
  /**
   * A message, and when its last byte came, in milliseconds of the caller's clock.
   *
   * @returns Whether it carries output. After the first that does, quiet messages are no longer decoded.
   */
  message(message: unknown, at: number): boolean;
  /** Messages came at this time that carry output and nothing else of interest; they were not decoded. */
  quiet(at: number): void;
  /** Something came that is no message. */
  parseError(reason: ParseError): void;
}

/** Cuts bytes into messages. */
export interface Framing {
  /** Takes bytes as they came, at this time. Does not keep the array. */
  push(bytes: Uint8Array, at: number): void;
  /** Ends the body, politely or not. Resolves when the last message has been given to the sink. */
  end(): Promise<void>;
}

/**
 * How a body of this content type is framed.
 *
 * @param contentType The header's value; parameters and case do not matter.
 * @returns `undefined` for everything that holds no messages.
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

/** What need not be read; a {@linkcode Dialect} says so. */
export interface FramingHints {
  /** Which messages of a stream need not be decoded; absent: all are. */
  readonly quiet?: Quiet | undefined;
  /** The body consists of vectors, of which nothing is read. */
  readonly hasVectors?: boolean | undefined;
}

/** Makes a framing. */
export function createFraming(kind: FramingKind, sink: MessageSink, hints: FramingHints = {}): Framing {
  return kind === "json" ? new BodyFraming(sink, hints.hasVectors ?? false) : new LineFraming(kind, sink, hints.quiet);
}

/** A body that is one JSON value. */
class BodyFraming implements Framing {
  readonly #sink: MessageSink;
  readonly #vectors: VectorSkipper | undefined;
  readonly #held = new ByteQueue();
  #at = 0;
  #tooLong = false;

  constructor(sink: MessageSink, hasVectors: boolean) {
    this.#sink = sink;
    this.#vectors = hasVectors ? new VectorSkipper() : undefined;
  }

  push(bytes: Uint8Array, at: number): void {
    this.#at = at;
    if (this.#tooLong) return;
    for (const part of this.#vectors?.push(bytes) ?? [bytes]) this.#held.add(part);
    if (this.#held.bytes <= MESSAGE_LIMIT_BYTES) return;
    this.#tooLong = true;
    this.#held.clear();
    this.#sink.parseError("too_long");
  }

  end(): Promise<void> {
    if (!this.#tooLong && this.#held.bytes > 0) {
      parse(new TextDecoder().decode(this.#held.take(new Uint8Array(0))), this.#sink, this.#at);
    }
    return Promise.resolve();
  }
}

/**
 * A stream of messages, one a line (NDJSON) or one an event (SSE).
 *
 * Bytes are gathered until whole messages are there, so that nothing that follows knows of chunks: not the search for
 * alarms, which decides whether they are decoded at all, and not the TextLineStream, which finds the lines in what is.
 */
class LineFraming implements Framing, SplitterSink {
  readonly #kind: "ndjson" | "sse";
  readonly #sink: MessageSink;
  readonly #quiet: Quiet | undefined;
  readonly #cutter: MessageSplitter;
  /** Set once quiet messages are passed over. */
  #alarms: ByteSearch | undefined;
  readonly #decoder = new TextDecoder();
  readonly #writer: WritableStreamDefaultWriter<string>;
  readonly #drained: Promise<void>;
  #at = 0;
  /** Data lines of the current event. */
  #data: string[] = [];

  constructor(kind: "ndjson" | "sse", sink: MessageSink, quiet: Quiet | undefined) {
    this.#kind = kind;
    this.#sink = sink;
    this.#quiet = quiet;
    this.#cutter = new MessageSplitter(kind === "sse" ? "blank_line" : "line", MESSAGE_LIMIT_BYTES, this);
    const lines = new TextLineStream();
    this.#writer = lines.writable.getWriter();
    this.#drained = this.#drain(lines.readable);
    // Whoever ends the framing gets the error; until then it must not count as unhandled.
    this.#drained.catch(ignore);
  }

  push(bytes: Uint8Array, at: number): void {
    this.#at = at;
    this.#cutter.push(bytes);
  }

  async end(): Promise<void> {
    const rest = this.#cutter.end();
    if (rest.length > 0) this.#write(rest);
    this.#writer.close().catch(ignore);
    await this.#drained;
    this.#dispatch();
  }

  whole(messages: Uint8Array): void {
    const alarmAt = this.#alarms === undefined ? 0 : this.#alarms.indexIn(messages);
    const start = alarmAt < 0 ? messages.length : startOfMessage(messages, this.#kind, alarmAt);
    if (start > 0) this.#sink.quiet(this.#at);
    if (start < messages.length) this.#write(messages.subarray(start));
  }

  long(_bytes: Uint8Array, begins: boolean): void {
    if (begins) this.#sink.parseError("too_long");
  }

  #write(messages: Uint8Array): void {
    this.#writer.write(this.#decoder.decode(messages)).catch(ignore);
  }

  async #drain(lines: ReadableStream<string>): Promise<void> {
    const reader = lines.getReader();
    // An async iterator would cost more than all that is done here.
    while (true) {
      const { done, value: line } = await reader.read();
      if (done) return;
      if (this.#kind === "ndjson") {
        if (line !== "") this.#message(line);
      } else if (line === "") this.#dispatch();
      else if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }

  /** Ends an event (WHATWG HTML, 9.2.6); without data it is none. */
  #dispatch(): void {
    const data = this.#data.join("\n");
    this.#data = [];
    if (data !== "") this.#message(data);
  }

  #message(text: string): void {
    const hasOutput = parse(text, this.#sink, this.#at);
    if (hasOutput && this.#alarms === undefined && this.#quiet && text.includes(this.#quiet.mark)) {
      this.#alarms = this.#quiet.alarms;
    }
  }
}

/** Where the message begins that the byte at an index belongs to, or one before it. */
function startOfMessage(bytes: Uint8Array, kind: "ndjson" | "sse", index: number): number {
  let end = bytes.lastIndexOf(LF, index);
  while (kind === "sse" && end > 0 && bytes[end - 1] !== LF) end = bytes.lastIndexOf(LF, end - 1);
  return kind === "sse" && end <= 0 ? 0 : end + 1;
}

/** Gives the message to the sink. Data that is `[DONE]`, the end of an OpenAI stream, is given as that string. */
function parse(text: string, sink: MessageSink, at: number): boolean {
  if (text === "[DONE]") return sink.message(text, at);
  if (text.length > MESSAGE_LIMIT_BYTES) {
    sink.parseError("too_long");
    return false;
  }
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    sink.parseError("invalid_json");
    return false;
  }
  return sink.message(message, at);
}

function ignore(): void {}
