/**
 * Feeds framings, and says in the simplest way what must come out of them.
 *
 * @module
 */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import type { Dialect } from "../../lib/reading/dialects.ts";
import { createFraming, type FramingHints, type FramingKind, type MessageSink } from "../../lib/reading/framing.ts";
import type { ParseError, Report } from "../../lib/observation.ts";
import { Reading } from "../../lib/reading/answer_reader.ts";
import { bytesOf, type Fixture, turn } from "./fixtures.ts";

/** Reads as an exchange does, and keeps what it is given. The clock of these tests counts bytes. */
export class Collector implements MessageSink {
  readonly messages: unknown[] = [];
  readonly reading: Reading | undefined;
  firstOutputAt: number | undefined;
  lastOutputAt: number | undefined;
  quiets = 0;
  parseErrors: ParseError[] = [];

  constructor(dialect?: Dialect) {
    this.reading = dialect && new Reading(dialect);
  }

  message(message: unknown, at: number): boolean {
    this.messages.push(message);
    const hasOutput = this.reading?.read(message) ?? false;
    if (hasOutput) this.#output(at);
    return hasOutput;
  }

  quiet(at: number): void {
    this.quiets++;
    this.#output(at);
  }

  parseError(reason: ParseError): void {
    this.parseErrors.push(reason);
    this.reading?.parseError(reason);
  }

  #output(at: number): void {
    this.firstOutputAt ??= at;
    this.lastOutputAt = at;
  }
}

/** What the messages of an answer amount to. */
export interface Result {
  readonly report: Report;
  readonly parseErrors: Partial<Record<ParseError, number>>;
  readonly terminal: boolean;
  readonly failed: boolean;
  readonly unfinished: boolean;
  readonly countless: boolean;
}

/** What a collector has read through its dialect. */
export function resultOf({ reading }: Collector): Result {
  assert(reading !== undefined);
  const { report, parseErrors, terminal, failed, unfinished, countless } = reading;
  return { report, parseErrors, terminal, failed, unfinished, countless };
}

/** How a body is fed to a framing. */
export interface Feeding {
  readonly kind: FramingKind;
  readonly hints?: FramingHints;
  /** Lets the framing work after each chunk, as it can where chunks come one by one. Default: false. */
  readonly slowly?: boolean;
}

/** Feeds chunks, in one array that is used again and again. */
export async function feed(chunks: Iterable<Uint8Array>, sink: Collector, feeding: Feeding): Promise<Collector> {
  const framing = createFraming(feeding.kind, sink, feeding.hints);
  let at = 0;
  for (const chunk of chunks) {
    const reused = chunk.slice();
    framing.push(reused, at += chunk.length);
    reused.fill(0);
    if (feeding.slowly) await turn();
  }
  await framing.end();
  return sink;
}

/** Feeds a fixture as it would be read: through its endpoint's dialect, which may pass over quiet messages. */
export function read(fixture: Fixture, chunks: Iterable<Uint8Array>, slowly = false): Promise<Collector> {
  const { kind, endpoint: { dialect } } = fixture;
  assert(dialect !== undefined);
  return feed(chunks, new Collector(dialect), { kind, hints: dialect, slowly });
}

/** All messages of a text. */
export function messagesIn(kind: FramingKind, ...chunks: (string | Uint8Array)[]): Promise<Collector> {
  const bytes = chunks.map((chunk) => typeof chunk === "string" ? bytesOf(chunk) : chunk);
  return feed(bytes, new Collector(), { kind });
}

/** Cuts bytes into chunks of a size. */
export function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

/** Every number up to a bound, and beyond it some of them, fewer and fewer. */
export function* spread(bound: number, end: number): Generator<number> {
  for (let n = 1; n <= end; n += n < bound ? 1 : 1 + Math.floor(n / 23)) yield n;
}

/** A piece of a body that is one message, or should be one, and where the piece ends. */
export interface Piece {
  readonly text: string;
  readonly end: number;
}

/** The same in the simplest way: the whole body is there. */
export function piecesOf(kind: FramingKind, bytes: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  if (kind === "json") return bytes.length === 0 ? [] : [{ text: new TextDecoder().decode(bytes), end: bytes.length }];
  let data: string[] = [];
  for (let start = 0; start < bytes.length;) {
    const lineFeed = bytes.indexOf(10, start);
    const end = lineFeed < 0 ? bytes.length : lineFeed + 1;
    const line = new TextDecoder().decode(bytes.subarray(start, end)).replace(/\r?\n$/, "");
    if (kind === "ndjson") data = [line];
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    if (data.join("") !== "" && (kind === "ndjson" || line === "" || end === bytes.length)) {
      pieces.push({ text: data.join("\n"), end });
      data = [];
    }
    start = end;
  }
  return pieces;
}

/** What must come of a body, and the end of the first message with output. */
export function expectedOf(
  { kind, endpoint }: Fixture,
  bytes: Uint8Array,
): { result: Result; firstOutputEnd?: number } {
  const collector = new Collector(endpoint.dialect);
  for (const { text, end } of piecesOf(kind, bytes)) {
    try {
      collector.message(text === "[DONE]" ? text : JSON.parse(text), end);
    } catch {
      collector.parseError("invalid_json");
    }
  }
  const { firstOutputAt } = collector;
  return { result: resultOf(collector), ...(firstOutputAt === undefined ? {} : { firstOutputEnd: firstOutputAt }) };
}

/** What is passed over is not decoded, so that what is wrong with it is not counted; nothing else may differ. */
export function assertSameResult(collector: Collector, expected: Result, what: string): void {
  const { parseErrors, ...result } = resultOf(collector);
  const { parseErrors: expectedErrors, ...expectedResult } = expected;
  assertEquals(result, expectedResult, what);
  if (collector.quiets === 0) assertEquals(parseErrors, expectedErrors, what);
  else assertLessOrEqual(parseErrors.invalid_json ?? 0, expectedErrors.invalid_json ?? 0, what);
}
