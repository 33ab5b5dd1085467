/**
 * What the times of an observation mean: how long a generation took, and what the rest of the time went to.
 *
 * @module
 */

import type { Observation } from "./observation.ts";

/** Output tokens, and the seconds that it took to generate them. */
export interface Generation {
  readonly tokens: number;
  readonly seconds: number;
}

/**
 * The generation of an answer, from the server's figures or, for a stream without them, from the times of its output:
 * the tokens after the first, and the time from the first to the last. `undefined` where no speed can be told.
 */
export function generationOf(observation: Observation): Generation | undefined {
  const { report, firstOutputSeconds, lastOutputSeconds } = observation;
  let tokens = report.outputTokens ?? 0;
  let seconds = report.evalSeconds;
  if (seconds === undefined) {
    if (firstOutputSeconds === undefined || lastOutputSeconds === undefined) return undefined;
    tokens -= 1;
    seconds = lastOutputSeconds - firstOutputSeconds;
  }
  return tokens > 0 && seconds > 0 ? { tokens, seconds } : undefined;
}

/** What the time of a request can go to, in the order in which it does. */
export const PHASES = [
  /** Until a runner was ready: the queue, and loading the model. */
  "load",
  /** Waiting for a free slot of a loaded model. */
  "wait",
  /** Evaluation of the prompt. */
  "prompt",
  /** What of the three before this an API does not tell apart in a stream. */
  "firstToken",
  /** Generation of the output. */
  "output",
  /** What cannot be told. */
  "other",
] as const;
/** What the time of a request can go to. */
export type Phase = typeof PHASES[number];

/** What the time of a request went to, in seconds; a phase that it did not have is left out. */
export function phasesOf(observation: Observation): Partial<Record<Phase, number>> {
  const { report, durationSeconds, firstOutputSeconds, lastOutputSeconds } = observation;
  const { totalSeconds, loadSeconds, promptEvalSeconds: prompt = 0, evalSeconds: output } = report;
  if (totalSeconds !== undefined) {
    const load = loadSeconds ?? 0;
    const rest = Math.max(0, totalSeconds - load - prompt - (output ?? 0));
    return output === undefined ? { load, prompt, other: rest } : { load, prompt, wait: rest, output };
  }
  if (output !== undefined) {
    const rest = Math.max(0, durationSeconds - prompt - output);
    return firstOutputSeconds === undefined ? { prompt, output, other: rest } : { prompt, output, firstToken: rest };
  }
  if (firstOutputSeconds === undefined || lastOutputSeconds === undefined) return { other: durationSeconds };
  return {
    firstToken: firstOutputSeconds,
    output: lastOutputSeconds - firstOutputSeconds,
    other: Math.max(0, durationSeconds - lastOutputSeconds),
  };
}
