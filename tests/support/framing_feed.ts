/**
 * Feeds bodies to answer readers, and says in the simplest way what must come of them.
 *
 * @module
 */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import type { ByteSearch } from "../../lib/bytes/byte_search.ts";
import type { ParseError } from "../../lib/observation.ts";
import { type Answer, AnswerReader } from "../../lib/reading/answer_reader.ts";
import type { Dialect } from "../../lib/reading/dialects.ts";
import type { FramingKind, SkipRule } from "../../lib/reading/framing.ts";
import { bytesOf, type Fixture, turn } from "./fixtures.ts";

/** What was read of a body. The clock of these tests counts bytes. */
export interface Collected extends Answer {
  /** Messages that were parsed, in order. */
  readonly messages: readonly unknown[];
  /** Reasons of parse errors, one for each. */
  readonly reasons: readonly ParseError[];
  /** Number of messages that were skipped. */
  readonly skips: number;
}

/** What an answer is apart from the times of its output. */
export interface Result extends Omit<Answer, "firstOutputAt" | "lastOutputAt" | "terminatedAt"> {
  readonly isTerminated: boolean;
}

/** The result of a body. */
export function resultOf(answer: Answer): Result {
  const { report, parseErrors, terminatedAt, hasFailed, isUnfinished, hasThinking, hasNoUsage } = answer;
  const { hasEstimatedPrompt, outputMessages } = answer;
  const isTerminated = terminatedAt !== undefined;
  const flags = { isTerminated, hasFailed, isUnfinished, hasThinking, hasNoUsage, hasEstimatedPrompt };
  return { report, parseErrors, ...flags, outputMessages };
}

/** A dialect that reads nothing of a message. */
const NO_DIALECT: Dialect = { terminal: () => false, failed: () => false };

/** How a body is fed. */
export interface Feeding {
  readonly kind: FramingKind;
  /** Default: one that reads nothing. */
  readonly dialect?: Dialect;
  /** Lets the reader work after each chunk, as it can where chunks come one by one. Default: false. */
  readonly slowly?: boolean;
}

/** Feeds chunks, in one array that is used again and again. */
export async function feed(chunks: Iterable<Uint8Array>, feeding: Feeding): Promise<Collected> {
  const { kind, dialect = NO_DIALECT, slowly } = feeding;
  const messages: unknown[] = [];
  const terminal = (message: unknown): boolean | undefined => {
    messages.push(message);
    return dialect.terminal(message);
  };
  let skips = 0;
  const onSkip = (): void => void skips++;
  const reader = new AnswerReader(kind, {
    ...dialect,
    terminal,
    ...dialect.skip && { skip: watched(dialect.skip, onSkip) },
  });
  let at = 0;
  for (const chunk of chunks) {
    const reused = chunk.slice();
    reader.push(reused, at += chunk.length);
    reused.fill(0);
    if (slowly) await turn();
  }
  const answer = await reader.end(true);
  const counts = Object.entries(answer.parseErrors) as [ParseError, number][];
  return { ...answer, messages, reasons: counts.flatMap(([reason, count]) => Array(count).fill(reason)), skips };
}

/** A rule that reports each message that is skipped by it: one in which the form is found. */
function watched({ form, unless }: SkipRule, onSkip: () => void): SkipRule {
  const indexIn = (bytes: Uint8Array, from?: number): number => {
    const found = form.indexIn(bytes, from);
    if (found >= 0 && !/\n\r?\n|\}\r?\n/.test(new TextDecoder().decode(bytes.subarray(from, found)))) onSkip();
    return found;
  };
  return { form: { indexIn } as unknown as ByteSearch, unless };
}

/** Feeds a fixture through its endpoint's dialect, which may skip messages. */
export function read(fixture: Fixture, chunks: Iterable<Uint8Array>, slowly = false): Promise<Collected> {
  const { kind, endpoint: { dialect } } = fixture;
  assert(dialect !== undefined);
  return feed(chunks, { kind, dialect, slowly });
}

/** All messages of a text. */
export function messagesIn(kind: FramingKind, ...chunks: (string | Uint8Array)[]): Promise<Collected> {
  return feed(chunks.map((chunk) => typeof chunk === "string" ? bytesOf(chunk) : chunk), { kind });
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

/** What must come of a body, fed message by message and without skipping any. */
export async function expectedOf({ kind, endpoint }: Fixture, bytes: Uint8Array): Promise<Collected> {
  const { skip: _, ...dialect } = endpoint.dialect ?? NO_DIALECT;
  if (kind === "json") return await feed([bytes], { kind, dialect });
  const reader = new AnswerReader("sse", dialect);
  for (const { text, end } of piecesOf(kind, bytes)) {
    reader.push(bytesOf(text.split("\n").map((line) => `data: ${line}\n`).join("") + "\n"), end);
  }
  return { ...await reader.end(true), messages: [], reasons: [], skips: 0 };
}

/** Messages without output that a stream of the fixtures has within its output: one between thinking and response. */
const EMPTY_MESSAGES = 1;

/**
 * What is skipped is not parsed, so that what is wrong with it is not counted, and one without output counts as one
 * with it; nothing else may differ.
 */
export function assertSameResult(answer: Collected, expected: Answer, what: string): void {
  const { parseErrors, outputMessages, ...result } = resultOf(answer);
  const { parseErrors: expectedErrors, outputMessages: expectedMessages, ...expectedResult } = resultOf(expected);
  assertEquals(result, expectedResult, what);
  if (answer.skips === 0) assertEquals([parseErrors, outputMessages], [expectedErrors, expectedMessages], what);
  else {
    assertLessOrEqual(parseErrors.invalid_json ?? 0, expectedErrors.invalid_json ?? 0, what);
    assertLessOrEqual(expectedMessages, outputMessages, what);
    assertLessOrEqual(outputMessages, expectedMessages + EMPTY_MESSAGES, what);
  }
}
