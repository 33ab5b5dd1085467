/** What the times of an observation mean. That the speed is the metrics' own is shown in status_test.ts. */

import { assertEquals } from "@std/assert";
import { generationOf, type Observation, phasesOf, type Report } from "../../lib/observation.ts";
import { observationOf } from "../support/fixtures.ts";

const STREAM = { firstOutputSeconds: 0.5, lastOutputSeconds: 1.5, durationSeconds: 1.75 };

const GENERATIONS: [string, Partial<Observation>, Partial<Report>, ReturnType<typeof generationOf>][] = [
  ["the server's figures", STREAM, { outputTokens: 8, evalSeconds: 4 }, { tokens: 8, seconds: 4 }],
  ["the times of a stream, from the second token on", STREAM, { outputTokens: 5 }, { tokens: 4, seconds: 1 }],
  ["nothing for a single token", STREAM, { outputTokens: 1 }, undefined],
  ["nothing for an answer in one piece", {}, { outputTokens: 5 }, undefined],
  ["nothing without tokens", STREAM, { evalSeconds: 4 }, undefined],
  ["nothing where no time passed", STREAM, { outputTokens: 5, evalSeconds: 0 }, undefined],
];

for (const [name, observation, report, expected] of GENERATIONS) {
  Deno.test(`generationOf() takes ${name}`, () => {
    assertEquals(generationOf(observationOf({ ...observation, report })), expected);
  });
}

const TOLD = { totalSeconds: 10, loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 4 };

const PHASES: [string, Partial<Observation>, Partial<Report>, ReturnType<typeof phasesOf>][] = [
  ["as the server tells", STREAM, TOLD, { load: 1, prompt: 2, wait: 3, output: 4 }],
  ["so that no wait is below 0", STREAM, { ...TOLD, totalSeconds: 6 }, { load: 1, prompt: 2, wait: 0, output: 4 }],
  ["with a cached prompt that takes no time", STREAM, { ...TOLD, promptEvalSeconds: undefined }, {
    load: 1,
    prompt: 0,
    wait: 5,
    output: 4,
  }],
  ["of an embedding, which has no output", {}, { totalSeconds: 3, loadSeconds: 1 }, { load: 1, prompt: 0, other: 2 }],
  ["by the server's timings of a stream", STREAM, { promptEvalSeconds: 0.25, evalSeconds: 1 }, {
    prompt: 0.25,
    output: 1,
    firstToken: 0.5,
  }],
  ["by the server's timings alone", {}, { promptEvalSeconds: 0.5, evalSeconds: 1 }, {
    prompt: 0.5,
    output: 1,
    other: 0.5,
  }],
  ["at the first token of a stream that tells nothing", STREAM, {}, { firstToken: 0.5, output: 1, other: 0.25 }],
  ["not at all where nothing is known", { durationSeconds: 2 }, {}, { other: 2 }],
];

for (const [name, observation, report, expected] of PHASES) {
  Deno.test(`phasesOf() divides the time ${name}`, () => {
    assertEquals(phasesOf(observationOf({ ...observation, report })), expected);
  });
}
