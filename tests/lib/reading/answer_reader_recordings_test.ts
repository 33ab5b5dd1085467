/** Every recorded answer of a measured route, cut at every byte. */

import { assert, assertEquals } from "@std/assert";
import { type Answer, AnswerReader } from "../../../lib/reading/answer_reader.ts";
import { type Endpoint, endpointOf } from "../../../lib/reading/endpoints.ts";
import { type FramingKind, framingKind } from "../../../lib/reading/framing.ts";
import { bodyOf, readRecordings, type Recording } from "../../fake_ollama/recordings.ts";
import { resultOf } from "../../support/framing_feed.ts";
import { figuresOf, type RecordedFigures } from "../../support/recorded_figures.ts";
import { canonicalModelName } from "../../../lib/model_name.ts";

/** A recorded answer that is read. */
interface RecordedAnswer {
  readonly recording: Recording;
  readonly endpoint: Endpoint;
  readonly kind: FramingKind;
}

const ANSWERS: RecordedAnswer[] = readRecordings().flatMap((recording) => {
  const endpoint = endpointOf(recording.method, recording.target);
  const kind = framingKind(new Map(recording.headers).get("Content-Type") ?? null);
  if (recording.status !== 200 || endpoint.dialect === undefined || kind === undefined) return [];
  return [{ recording, endpoint, kind }];
});

/** Reads a body in two pieces. */
async function read({ endpoint, kind }: RecordedAnswer, ...pieces: Uint8Array[]): Promise<Answer> {
  assert(endpoint.dialect !== undefined);
  const reader = new AnswerReader(kind, endpoint.dialect);
  for (const [index, piece] of pieces.entries()) reader.push(piece, index);
  return await reader.end(true, pieces.length);
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
    const { recording, endpoint } = answer;
    const { report, parseErrors, hasFailed } = await read(answer, bodyOf(recording));
    const figures = figuresOf(recording);
    assertEquals(SHARED.map((name) => report[name]), SHARED.map((name) => figures[name]), recording.name);
    const model = report.model === undefined ? undefined : canonicalModelName(report.model);
    // Answers of /api/embeddings and of transfers do not name the model.
    const hasName = endpoint.api !== undefined && endpoint.api !== "embeddings";
    assertEquals(model, hasName ? figures.model : undefined, recording.name);
    assertEquals([parseErrors, hasFailed], [{}, figures.outcome === "stream_error"], recording.name);
  }
});

Deno.test("AnswerReader returns the same answer wherever a recorded one is cut", async () => {
  for (const answer of ANSWERS) {
    const bytes = bodyOf(answer.recording);
    const expected = resultOf(await read(answer, bytes));
    for (let at = 1; at < bytes.length; at++) {
      const result = resultOf(await read(answer, bytes.subarray(0, at), bytes.subarray(at)));
      assertEquals(result, expected, `${answer.recording.name} cut at byte ${at}`);
    }
  }
});
