/** Speed, slot wait and phases derived from an observation. status_test.ts compares metrics and status page. */

import { assertEquals } from "@std/assert";
import { generationOf, type Observation, phasesOf, type Report, slotWaitSeconds } from "../../lib/observation.ts";
import { observationOf } from "../support/fixtures.ts";

const STREAM = { firstOutputSeconds: 0.5, lastOutputSeconds: 1.5, durationSeconds: 1.75 };

const GENERATIONS: [string, Partial<Observation>, Partial<Report>, ReturnType<typeof generationOf>][] = [
  ["what the server reports", STREAM, { outputTokens: 8, evalSeconds: 4 }, { tokens: 8, seconds: 4 }],
  ["the output times of a stream, from the second token", STREAM, { outputTokens: 5 }, { tokens: 4, seconds: 1 }],
  ["nothing for a single token", STREAM, { outputTokens: 1 }, undefined],
  ["nothing for the microsecond of a single token", STREAM, { outputTokens: 1, evalSeconds: 1e-6 }, undefined],
  ["what the server reports of two tokens", STREAM, { outputTokens: 2, evalSeconds: 1e-3 }, {
    tokens: 2,
    seconds: 1e-3,
  }],
  ["nothing for a response that is not streamed", {}, { outputTokens: 5 }, undefined],
  ["nothing without tokens", STREAM, { evalSeconds: 4 }, undefined],
  ["nothing without time", STREAM, { outputTokens: 5, evalSeconds: 0 }, undefined],
  ["nothing for an infinite speed", STREAM, { outputTokens: 2 ** 52, evalSeconds: 1e-309 }, undefined],
];

for (const [name, observation, report, expected] of GENERATIONS) {
  Deno.test(`generationOf() returns ${name}`, () => {
    assertEquals(generationOf(observationOf({ ...observation, report })), expected);
  });
}

const REPORTED = { totalSeconds: 10, loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 4 };

/** The report of a model on a remote host, which has no load duration (docs/ollama-api.md 3.9). */
const REMOTE = { ...REPORTED, loadSeconds: undefined };

const WAITS: [string, Partial<Report>, number | undefined][] = [
  ["the rest of the total", REPORTED, 3],
  ["0 if the parts exceed the total", { ...REPORTED, totalSeconds: 6 }, 0],
  ["the rest of the total for a fully cached prompt", { ...REPORTED, promptEvalSeconds: undefined }, 5],
  ["undefined for a remote model", REMOTE, undefined],
  ["undefined for an embedding", { totalSeconds: 3, loadSeconds: 1 }, undefined],
  ["undefined without a total", { ...REPORTED, totalSeconds: undefined }, undefined],
];

Deno.test("slotWaitSeconds() returns undefined for the second of two runs: the first is no wait", () => {
  const observation = observationOf({ ...STREAM, report: REPORTED, hasTwoRuns: true });
  assertEquals(slotWaitSeconds(observation), undefined);
  assertEquals(phasesOf(observation), { load: 1, prompt: 2, output: 4, other: 3 });
});

for (const [name, report, expected] of WAITS) {
  Deno.test(`slotWaitSeconds() returns ${name}`, () => {
    assertEquals(slotWaitSeconds(observationOf({ ...STREAM, report })), expected);
    assertEquals(phasesOf(observationOf({ ...STREAM, report })).wait, expected, "phasesOf() agrees");
  });
}

const PHASES: [string, Partial<Observation>, Partial<Report>, ReturnType<typeof phasesOf>][] = [
  ["as the server reports", STREAM, REPORTED, { load: 1, prompt: 2, wait: 3, output: 4 }],
  ["without a negative wait", STREAM, { ...REPORTED, totalSeconds: 6 }, { load: 1, prompt: 2, wait: 0, output: 4 }],
  ["of a fully cached prompt", STREAM, { ...REPORTED, promptEvalSeconds: undefined }, {
    load: 1,
    prompt: 0,
    wait: 5,
    output: 4,
  }],
  ["of a remote model, whose rest is not a wait", STREAM, REMOTE, { load: 0, prompt: 2, output: 4, other: 4 }],
  ["of an embedding, which has no output", {}, { totalSeconds: 3, loadSeconds: 1 }, { load: 1, prompt: 0, other: 2 }],
  ["by the reported durations of a stream without a total", STREAM, { promptEvalSeconds: 0.25, evalSeconds: 1 }, {
    prompt: 0.25,
    output: 1,
    firstToken: 0.5,
  }],
  ["by the reported durations alone", {}, { promptEvalSeconds: 0.5, evalSeconds: 1 }, {
    prompt: 0.5,
    output: 1,
    other: 0.5,
  }],
  ["at the first output of a stream without durations", STREAM, {}, { firstToken: 0.5, output: 1, other: 0.25 }],
  ["not at all without any figures", { durationSeconds: 2 }, {}, { other: 2 }],
];

for (const [name, observation, report, expected] of PHASES) {
  Deno.test(`phasesOf() divides the time ${name}`, () => {
    assertEquals(phasesOf(observationOf({ ...observation, report })), expected);
  });
}
