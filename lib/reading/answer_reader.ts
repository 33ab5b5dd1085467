/**
 * From messages to the {@linkcode Report} of one answer.
 *
 * @module
 */

import type { Dialect, Progress } from "./dialects.ts";
import { emptyReport, type ParseError, type Report } from "../observation.ts";

/**
 * Distinct digests of one transfer whose progress is kept apart. The largest models have some dozens of layers; bytes
 * of digests over this bound are not counted.
 */
export const TRANSFER_DIGESTS_LIMIT = 1024;

/** What the messages of one answer say, read one after the other. */
export class Reading {
  readonly report: Report = emptyReport();
  /** Frames that were no message, and fields of messages that could not be used. */
  readonly parseErrors: Partial<Record<ParseError, number>> = {};
  /** The answer's terminal message has come. */
  terminal = false;
  /** A message told of a failure. */
  failed = false;
  /** The last message read says that the answer was cut short; meant for bodies that are one message. */
  unfinished = false;
  /** A message says that the answer has no token counts and should have none. */
  countless = false;
  readonly #dialect: Dialect;
  readonly #progress = new Map<string, number>();

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  /**
   * Takes what a message carries: of a fact that comes twice the later value, of tool calls the sum.
   *
   * @returns Whether the message carries output.
   */
  read(message: unknown): boolean {
    const dialect = this.#dialect;
    this.#take(message);
    if (dialect.progress !== undefined) this.#move(dialect.progress(message));
    if (dialect.terminal(message)) this.terminal = true;
    if (dialect.failed(message)) this.failed = true;
    if (dialect.countless?.(message)) this.countless = true;
    this.unfinished = dialect.unfinished?.(message) ?? false;
    return dialect.output?.(message) ?? false;
  }

  /** Counts something that could not be read. */
  parseError(reason: ParseError): void {
    this.parseErrors[reason] = (this.parseErrors[reason] ?? 0) + 1;
  }

  #take(message: unknown): void {
    const dialect = this.#dialect;
    const report = this.report;
    report.model = dialect.model?.(message) ?? report.model;
    report.finishReason = dialect.finishReason?.(message) ?? report.finishReason;
    for (const field of NUMBERS) {
      const value = dialect[field]?.(message);
      if (value === undefined) continue;
      if (Number.isNaN(value)) this.parseError("invalid_value");
      else if (field === "toolCalls") report.toolCalls = (report.toolCalls ?? 0) + value;
      else report[field] = value;
    }
    // Native and Anthropic answers say `stop` also for a turn that ends in a tool call (sections 2.3, 3.1).
    if (report.finishReason === "stop" && report.toolCalls !== undefined) {
      report.finishReason = "tool_calls";
    }
  }

  #move(progress: Progress | undefined): void {
    if (progress === undefined) return;
    const { digest, completedBytes } = progress;
    if (Number.isNaN(completedBytes)) {
      this.parseError("invalid_value");
      return;
    }
    const before = this.#progress.get(digest);
    if (before === undefined && this.#progress.size >= TRANSFER_DIGESTS_LIMIT) return;
    // The byte counters are cumulative for each digest; a retry may begin again below what was reached.
    const now = Math.max(before ?? 0, completedBytes);
    this.#progress.set(digest, now);
    this.report.transferBytes = (this.report.transferBytes ?? 0) + now - (before ?? 0);
  }
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
