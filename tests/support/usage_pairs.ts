/**
 * Recorded OpenAI streams of the same generation, once without usage and once with it.
 *
 * @module
 */

import { fail } from "@std/assert";
import { bodyOf, readRecordings, type Recording } from "../fake_ollama/recordings.ts";

/** The two streams. */
export interface UsagePair {
  readonly plain: Recording;
  readonly withUsage: Recording;
  /** Body of `plain` with the ID and the time of `withUsage`, which differ in each answer. */
  readonly plainText: string;
}

/** Reads all pairs. */
export function readUsagePairs(): UsagePair[] {
  const recordings = readRecordings();
  const recordingOf = (name: string) => recordings.find((recording) => recording.name === name) ?? fail(name);
  return recordings.filter(({ name }) => name.endsWith("_stream_usage")).map((withUsage) => {
    const plain = recordingOf(withUsage.name.replace(/_usage$/, ""));
    return { plain, withUsage, plainText: withIdOf(textOf(plain), textOf(withUsage)) };
  });
}

function textOf(recording: Recording): string {
  return new TextDecoder().decode(bodyOf(recording));
}

function withIdOf(text: string, other: string): string {
  const id = /"id":"[^"]+","object":"[^"]+","created":\d+/;
  const [otherId] = id.exec(other) ?? fail(other);
  return text.replace(new RegExp(id, "g"), otherId);
}
