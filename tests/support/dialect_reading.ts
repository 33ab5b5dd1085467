/**
 * Reads messages through dialects.
 *
 * @module
 */

import { assert } from "@std/assert";
import { type Dialect } from "../../lib/reading/dialects.ts";
import type { ParseErrorCounts, Report } from "../../lib/observation.ts";
import { Reading } from "../../lib/reading/answer_reader.ts";
import { endpointOf } from "../../lib/reading/endpoints.ts";

/** What an answer says, beside its report: absent is no. */
export interface Said {
  readonly terminal?: true;
  readonly failed?: true;
  readonly unfinished?: true;
  readonly countless?: true;
  readonly parseErrors?: ParseErrorCounts;
  /** Messages with output. Default: 0. */
  readonly outputs?: number;
}

/** Reads messages one after the other; one that is a text is `[DONE]`. */
export function readAll(dialect: Dialect, messages: Iterable<unknown>): [Report, Said] {
  const reading = new Reading(dialect);
  let outputs = 0;
  for (const message of messages) {
    if (reading.read(message)) outputs++;
  }
  return [reading.report, saidOf(reading, outputs)];
}

/** What a reading says beside its report. */
export function saidOf(reading: Reading, outputs: number): Said {
  return {
    ...(reading.terminal && { terminal: true }),
    ...(reading.failed && { failed: true }),
    ...(reading.unfinished && { unfinished: true }),
    ...(reading.countless && { countless: true }),
    ...(Object.keys(reading.parseErrors).length > 0 && { parseErrors: reading.parseErrors }),
    ...(outputs > 0 && { outputs }),
  };
}

/** The dialect of a POST to a path. */
export function dialectOf(path: string): Dialect {
  const { dialect } = endpointOf("POST", path);
  assert(dialect !== undefined, path);
  return dialect;
}
