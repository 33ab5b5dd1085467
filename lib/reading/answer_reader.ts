/**
 * Reads the messages of one response through a dialect, into what they say altogether.
 *
 * @module
 */

import { emptyReport, type ParseError, type ParseErrorCounts, type Report } from "../observation.ts";
import type { Dialect, Progress } from "./dialects.ts";
import { createFraming, type Framed, type Framing, type FramingKind, type SkipRule } from "./framing.ts";

/**
 * Number of layers of one transfer whose progress is kept apart. The largest models have some dozens; bytes of further
 * ones are not counted.
 */
export const TRANSFER_DIGESTS_LIMIT = 1024;

/** What a response says. */
export interface Answer {
  readonly report: Readonly<Report>;
  /** Number of messages, and of fields in them, that could not be parsed. */
  readonly parseErrors: ParseErrorCounts;
  /** The terminal message was read. */
  readonly isTerminated: boolean;
  /** A message reported a failure. */
  readonly hasFailed: boolean;
  /** The last message reports that generation was cut short; meaningful for bodies of one message. */
  readonly isUnfinished: boolean;
  /** A message shows that the response has no token counts, and rightly so. */
  readonly hasNoUsage: boolean;
  /** When the bytes of the first message with output arrived, by the clock of {@linkcode AnswerReader.push}. */
  readonly firstOutputAt: number | undefined;
  /** The same for the last message with output. */
  readonly lastOutputAt: number | undefined;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** The answer of a response that is not read. */
export function emptyAnswer(): Mutable<Answer> & { readonly report: Report } {
  return {
    report: emptyReport(),
    parseErrors: {},
    isTerminated: false,
    hasFailed: false,
    isUnfinished: false,
    hasNoUsage: false,
    firstOutputAt: undefined,
    lastOutputAt: undefined,
  };
}

const NUMBERS = [
  "promptTokens",
  "cachedTokens",
  "outputTokens",
  "toolCalls",
  "totalSeconds",
  "loadSeconds",
  "promptEvalSeconds",
  "evalSeconds",
] as const satisfies readonly (keyof Report)[];

/** Reads one response. Messages are parsed in the order of their bytes, soon after these have arrived. */
export class AnswerReader {
  readonly #dialect: Dialect;
  readonly #framing: Framing;
  readonly #answer = emptyAnswer();
  readonly #parseErrors: Partial<Record<ParseError, number>> = {};
  /** Bytes moved so far, by digest. */
  readonly #progress = new Map<string, number>();
  /** Set once output has begun. */
  #skip: SkipRule | undefined;
  /** Resolves when all texts so far have been read. */
  #done: Promise<void> = Promise.resolve();

  constructor(kind: FramingKind, dialect: Dialect) {
    this.#dialect = dialect;
    this.#framing = createFraming(kind);
  }

  /**
   * Takes bytes as they arrived; the array is not kept.
   *
   * @param at When they arrived, in milliseconds of any clock.
   */
  push(bytes: Uint8Array, at: number): void {
    this.#take(this.#framing.push(bytes, this.#skip), at, true);
  }

  /**
   * Ends the body.
   *
   * @param isComplete Whether all of it arrived. Otherwise it is no fault of the last message that it cannot be parsed.
   * @throws {Error} What the dialect threw; what was read before it is lost.
   */
  async end(isComplete: boolean, at: number): Promise<Answer> {
    this.#take(this.#framing.end(), at, isComplete);
    await this.#done;
    return { ...this.#answer, parseErrors: this.#parseErrors };
  }

  #take({ text, hasSkipped, oversized }: Framed, at: number, isComplete: boolean): void {
    if (oversized > 0) this.#countParseErrors("too_long", oversized);
    if (hasSkipped) this.#markOutput(at);
    if (text === "") return;
    this.#done = this.#done.then(() => this.#readText(text, at, isComplete));
    // Whoever ends the body gets the error; until then it must not count as unhandled.
    this.#done.catch(() => {});
  }

  async #readText(text: string, at: number, isComplete: boolean): Promise<void> {
    for (const message of await this.#framing.split(text)) this.#readMessage(message, at, isComplete);
  }

  #readMessage(text: string, at: number, isComplete: boolean): void {
    const message = parse(text);
    if (message === undefined) {
      if (isComplete) this.#countParseErrors("invalid_json");
      return;
    }
    if (!this.#read(message)) return;
    this.#markOutput(at);
    this.#skip = this.#dialect.skip;
  }

  /** Texts are read in order, but later than bytes are skipped. */
  #markOutput(at: number): void {
    const answer = this.#answer;
    answer.firstOutputAt = Math.min(answer.firstOutputAt ?? at, at);
    answer.lastOutputAt = Math.max(answer.lastOutputAt ?? at, at);
  }

  #countParseErrors(reason: ParseError, count = 1): void {
    this.#parseErrors[reason] = (this.#parseErrors[reason] ?? 0) + count;
  }

  /**
   * Takes what a message carries: of a fact that comes twice the later value, of tool calls the sum.
   *
   * @returns Whether the message carries output.
   */
  #read(message: unknown): boolean {
    const dialect = this.#dialect;
    const answer = this.#answer;
    this.#readReport(message);
    if (dialect.progress !== undefined) this.#readProgress(dialect.progress(message));
    if (dialect.terminal(message)) answer.isTerminated = true;
    if (dialect.failed(message)) answer.hasFailed = true;
    if (dialect.hasNoUsage?.(message)) answer.hasNoUsage = true;
    answer.isUnfinished = dialect.unfinished?.(message) ?? false;
    return dialect.output?.(message) ?? false;
  }

  #readReport(message: unknown): void {
    const dialect = this.#dialect;
    const { report } = this.#answer;
    report.model = dialect.model?.(message) ?? report.model;
    report.finishReason = dialect.finishReason?.(message) ?? report.finishReason;
    for (const field of NUMBERS) {
      const value = dialect[field]?.(message);
      if (value === undefined) continue;
      if (Number.isNaN(value)) this.#countParseErrors("invalid_value");
      else if (field === "toolCalls") report.toolCalls = (report.toolCalls ?? 0) + value;
      else report[field] = value;
    }
    // Native and Anthropic responses report `stop` also for a turn that ends in a tool call (docs/ollama-api.md 2.3).
    if (report.finishReason === "stop" && report.toolCalls !== undefined) report.finishReason = "tool_calls";
  }

  #readProgress(progress: Progress | undefined): void {
    if (progress === undefined) return;
    const { digest, completedBytes } = progress;
    if (Number.isNaN(completedBytes)) return this.#countParseErrors("invalid_value");
    const before = this.#progress.get(digest);
    if (before === undefined && this.#progress.size >= TRANSFER_DIGESTS_LIMIT) return;
    // The byte counters are cumulative per digest; a retry may begin again below what was reached.
    const now = Math.max(before ?? 0, completedBytes);
    this.#progress.set(digest, now);
    const { report } = this.#answer;
    report.transferBytes = (report.transferBytes ?? 0) + now - (before ?? 0);
  }
}

/**
 * Parses a message. `[DONE]`, the end of an OpenAI stream, is returned as that string.
 *
 * @returns `undefined` where it is not JSON.
 */
function parse(text: string): unknown {
  if (text === "[DONE]") return text;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
