/** Every recorded answer of a measured route, cut at every byte. */

import { assert, assertEquals, fail } from "@std/assert";
import { type Answer, AnswerReader } from "../../../lib/reading/answer_reader.ts";
import { readRecordings } from "../../fake_ollama/recordings.ts";
import { type Fixture, readFixtures } from "../../support/fixtures.ts";
import { resultOf } from "../../support/framing_feed.ts";
import { figuresOf, type RecordedFigures } from "../../support/recorded_figures.ts";
import { canonicalModelName } from "../../../lib/model_name.ts";

const ANSWERS = readFixtures().filter(({ isRecorded }) => isRecorded);
const RECORDINGS = new Map(readRecordings().map((recording) => [recording.name, recording]));

/** Reads a body in two pieces. */
async function read({ endpoint, kind }: Fixture, ...pieces: Uint8Array[]): Promise<Answer> {
  assert(endpoint.dialect !== undefined);
  const reader = new AnswerReader(kind, endpoint.dialect);
  for (const [index, piece] of pieces.entries()) reader.push(piece, index);
  return await reader.end(true);
}

/** Figures that a report and a recording both have. */
const SHARED = [
  "promptTokens",
  "outputTokens",
  "totalSeconds",
  "loadSeconds",
  "promptEvalSeconds",
  "finishReason",
  "toolCalls",
] as const satisfies readonly (keyof RecordedFigures)[];

Deno.test("AnswerReader reads the figures of every recorded answer", async () => {
  for (const answer of ANSWERS) {
    const { name, endpoint, bytes } = answer;
    const recording = RECORDINGS.get(name.slice(0, name.lastIndexOf("."))) ?? fail(name);
    const { report, parseErrors, hasFailed } = await read(answer, bytes);
    const figures = figuresOf(recording);
    assertEquals(SHARED.map((field) => report[field]), SHARED.map((field) => figures[field]), name);
    const model = report.model === undefined ? undefined : canonicalModelName(report.model);
    // Answers of /api/embeddings and of transfers do not name the model.
    const hasName = endpoint.api !== undefined && endpoint.api !== "embeddings";
    assertEquals(model, hasName ? figures.model : undefined, name);
    assertEquals([parseErrors, hasFailed], [{}, figures.outcome === "stream_error"], name);
  }
});

Deno.test("AnswerReader returns the same answer wherever a recorded one is cut", async () => {
  for (const answer of ANSWERS) {
    const { name, bytes } = answer;
    const expected = resultOf(await read(answer, bytes));
    for (let at = 1; at < bytes.length; at++) {
      const result = resultOf(await read(answer, bytes.subarray(0, at), bytes.subarray(at)));
      assertEquals(result, expected, `${name} cut at byte ${at}`);
    }
  }
});
