/**
 * Reads messages through dialects.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { ParseErrorCounts, Report } from "../../lib/observation.ts";
import { type Answer, AnswerReader } from "../../lib/reading/answer_reader.ts";
import type { Dialect } from "../../lib/reading/dialects.ts";
import { endpointOf } from "../../lib/reading/endpoints.ts";
import { bytesOf } from "./fixtures.ts";

/** What an answer says besides its report: absent is no. */
export interface Said {
  readonly terminal?: true;
  readonly failed?: true;
  readonly unfinished?: true;
  readonly noUsage?: true;
  readonly estimated?: true;
  readonly parseErrors?: ParseErrorCounts;
  /** Messages with output. Default: 0. */
  readonly outputs?: number;
}

/** Reads messages one after the other, none of them skipped; one that is a text is `[DONE]`. */
export async function answerOf({ skip: _, ...dialect }: Dialect, messages: Iterable<unknown>): Promise<Answer> {
  const reader = new AnswerReader("sse", dialect);
  for (const message of messages) {
    reader.push(bytesOf(`data: ${message === "[DONE]" ? message : JSON.stringify(message)}\n\n`), 0);
  }
  return await reader.end(true);
}

/** The report of the messages, and what they say besides it. */
export async function readAll(dialect: Dialect, messages: readonly unknown[]): Promise<[Report, Said]> {
  const answer = await answerOf(dialect, messages);
  const outputs = messages.filter((message) => dialect.output?.(message)).length;
  return [answer.report, saidOf(answer, outputs)];
}

/** What an answer says besides its report. */
export function saidOf(answer: Answer, outputs: number): Said {
  return {
    ...(answer.terminatedAt !== undefined && { terminal: true }),
    ...(answer.hasFailed && { failed: true }),
    ...(answer.isUnfinished && { unfinished: true }),
    ...(answer.hasNoUsage && { noUsage: true }),
    ...(answer.hasEstimatedPrompt && { estimated: true }),
    ...(Object.keys(answer.parseErrors).length > 0 && { parseErrors: answer.parseErrors }),
    ...(outputs > 0 && { outputs }),
  };
}

/** The dialect of a POST to a path. */
export function dialectOf(path: string): Dialect {
  const { dialect } = endpointOf("POST", path);
  assert(dialect !== undefined, path);
  return dialect;
}
