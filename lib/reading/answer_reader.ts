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
  /** When the bytes of the terminal message arrived, by the clock of {@linkcode AnswerReader.push}. */
  readonly terminatedAt: number | undefined;
  /** A message reported a failure. */
  readonly hasFailed: boolean;
  /** The last message reports that generation was cut short; meaningful for bodies of one message. */
  readonly isUnfinished: boolean;
  /** A message has thinking. */
  readonly hasThinking: boolean;
  /** The report's prompt tokens are an estimate from before the prompt was evaluated. */
  readonly hasEstimatedPrompt: boolean;
  /** A message shows that the response has no token counts, and rightly so. */
  readonly hasNoUsage: boolean;
  /** When the bytes of the first message with output arrived, by the same clock. */
  readonly firstOutputAt: number | undefined;
  /** The same for the last message with output. */
  readonly lastOutputAt: number | undefined;
  /** Number of messages with output that the client got. */
  readonly outputMessages: number;
}

/** How bytes arrived. */
interface Arrival {
  /** By the clock of {@linkcode AnswerReader.push}. */
  readonly at: number;
  readonly isForwarded: boolean;
  /** All of the body has arrived so far. */
  readonly isComplete: boolean;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** The answer of a response that is not read. */
export function emptyAnswer(): Mutable<Answer> & { readonly report: Report } {
  return {
    report: emptyReport(),
    parseErrors: {},
    terminatedAt: undefined,
    hasFailed: false,
    isUnfinished: false,
    hasThinking: false,
    hasEstimatedPrompt: false,
    hasNoUsage: false,
    firstOutputAt: undefined,
    lastOutputAt: undefined,
    outputMessages: 0,
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
  /** Progress of a transfer, by digest. */
  readonly #layers = new Map<string, Layer>();
  #estimatedPromptTokens: number | undefined;
  /** Set once output has begun. */
  #skip: SkipRule | undefined;
  /** Of the last bytes. */
  #last: Arrival = { at: 0, isForwarded: false, isComplete: true };
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
   * @param isForwarded Whether the client gets them. Default: `true`.
   */
  push(bytes: Uint8Array, at: number, isForwarded = true): void {
    this.#last = { at, isForwarded, isComplete: true };
    this.#take(this.#framing.push(bytes, this.#skip), this.#last);
  }

  /**
   * Ends the body.
   *
   * @param isComplete Whether all of it arrived. Otherwise it is no fault of the last message that it cannot be parsed.
   * @throws {Error} What the dialect threw; what was read before it is lost.
   */
  async end(isComplete: boolean): Promise<Answer> {
    this.#take(this.#framing.end(), { ...this.#last, isComplete });
    await this.#done;
    const { report } = this.#answer;
    if (this.#layers.size > 0) report.transferBytes = this.#movedBytes();
    // Not of a response that ended before its usage: nothing tells whether its prompt was evaluated.
    if (report.outputTokens !== undefined && report.promptTokens === undefined) {
      report.promptTokens = this.#estimatedPromptTokens;
      this.#answer.hasEstimatedPrompt = report.promptTokens !== undefined;
    }
    return { ...this.#answer, parseErrors: this.#parseErrors };
  }

  #take({ text, skipped, oversized }: Framed, arrival: Arrival): void {
    if (oversized > 0) this.#countParseErrors("too_long", oversized);
    if (skipped > 0) this.#markOutput(skipped, arrival);
    if (text === "") return;
    this.#done = this.#done.then(() => this.#readText(text, arrival));
    // Whoever ends the body gets the error; until then it must not count as unhandled.
    this.#done.catch(() => {});
  }

  async #readText(text: string, arrival: Arrival): Promise<void> {
    for (const message of await this.#framing.split(text)) this.#readMessage(message, arrival);
  }

  #readMessage(text: string, arrival: Arrival): void {
    const message = parse(text);
    if (message === undefined) {
      if (arrival.isComplete) this.#countParseErrors("invalid_json");
      return;
    }
    if (!this.#read(message, arrival.at)) return;
    this.#markOutput(1, arrival);
    this.#skip = this.#dialect.skip;
  }

  /** Texts are read in order, but later than bytes are skipped. */
  #markOutput(messages: number, { at, isForwarded }: Arrival): void {
    const answer = this.#answer;
    if (isForwarded) answer.outputMessages += messages;
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
  #read(message: unknown, at: number): boolean {
    const dialect = this.#dialect;
    const answer = this.#answer;
    this.#readReport(message);
    if (dialect.progress !== undefined) this.#readProgress(dialect.progress(message));
    if (dialect.terminal(message)) answer.terminatedAt ??= at;
    if (dialect.failed(message)) answer.hasFailed = true;
    if (dialect.hasNoUsage?.(message)) answer.hasNoUsage = true;
    if (dialect.thinking?.(message)) answer.hasThinking = true;
    answer.isUnfinished = dialect.unfinished?.(message) ?? false;
    return dialect.output?.(message) ?? false;
  }

  #readReport(message: unknown): void {
    const dialect = this.#dialect;
    const { report } = this.#answer;
    report.model = dialect.model?.(message) ?? report.model;
    report.finishReason = dialect.finishReason?.(message) ?? report.finishReason;
    this.#estimatedPromptTokens ??= dialect.estimatedPromptTokens?.(message) || undefined;
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
    const { digest, completedBytes, totalBytes } = progress;
    if (Number.isNaN(completedBytes) || Number.isNaN(totalBytes)) return this.#countParseErrors("invalid_value");
    const layer = this.#layers.get(digest) ?? { firstBytes: completedBytes, completedBytes, totalBytes };
    // A retry may begin again below what was reached.
    layer.completedBytes = Math.max(layer.completedBytes, completedBytes);
    layer.totalBytes = totalBytes ?? layer.totalBytes;
    if (this.#layers.has(digest) || this.#layers.size < TRANSFER_DIGESTS_LIMIT) this.#layers.set(digest, layer);
  }

  /** Bytes that the transfer has moved. */
  #movedBytes(): number {
    const isWhole = this.#answer.terminatedAt !== undefined;
    let moved = 0;
    for (const { firstBytes, completedBytes, totalBytes = 0 } of this.#layers.values()) {
      // The last message of a layer is up to 60 ms old when the layer is complete, and there is none at its end (2.5).
      moved += (isWhole ? Math.max(completedBytes, totalBytes) : completedBytes) - firstBytes;
    }
    return moved;
  }
}

/** Progress of one layer. */
interface Layer {
  /**
   * Bytes that were in place at the first message. They were not moved by this transfer: the layer is there already, a
   * transfer is resumed, or one of another request goes on.
   */
  readonly firstBytes: number;
  /** Maximum of the bytes in place. */
  completedBytes: number;
  totalBytes: number | undefined;
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
