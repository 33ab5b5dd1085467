/** What becomes of odd messages and of the progress of transfers, through every dialect. */

import { assert, assertEquals } from "@std/assert";
import type { Report } from "../../../lib/observation.ts";
import { TRANSFER_DIGESTS_LIMIT } from "../../../lib/reading/answer_reader.ts";
import { ENDPOINTS } from "../../../lib/reading/endpoints.ts";
import { answerOf, dialectOf, readAll, type Said } from "../../support/dialect_reading.ts";
import { reportOf } from "../../support/fixtures.ts";

/** One message for each dialect in which all numbers are `value`, and the fields that read them. */
const NUMBERS: [path: string, message: (value: unknown) => unknown, fields: (keyof Report)[]][] = [
  ["/api/chat", (value) => ({
    prompt_eval_count: value,
    prompt_eval_cached_count: value,
    eval_count: value,
    total_duration: value,
    load_duration: value,
    prompt_eval_duration: value,
    eval_duration: value,
  }), [
    "promptTokens",
    "cachedTokens",
    "outputTokens",
    "totalSeconds",
    "loadSeconds",
    "promptEvalSeconds",
    "evalSeconds",
  ]],
  ["/api/embed", (value) => ({ prompt_eval_count: value, total_duration: value, load_duration: value }), [
    "promptTokens",
    "totalSeconds",
    "loadSeconds",
  ]],
  ["/v1/chat/completions", (value) => ({
    usage: { prompt_tokens: value, completion_tokens: value, prompt_tokens_details: { cached_tokens: value } },
    timings: { prompt_ms: value, predicted_ms: value },
  }), ["promptTokens", "outputTokens", "cachedTokens", "promptEvalSeconds", "evalSeconds"]],
  ["/v1/completions", (value) => ({ usage: { prompt_tokens: value, completion_tokens: value, total_tokens: value } }), [
    "promptTokens",
    "outputTokens",
  ]],
  ["/v1/embeddings", (value) => ({ usage: { prompt_tokens: value } }), ["promptTokens"]],
  ["/v1/responses", (value) => ({
    type: "response.completed",
    response: {
      usage: { input_tokens: value, output_tokens: value, input_tokens_details: { cached_tokens: value } },
    },
  }), ["promptTokens", "outputTokens", "cachedTokens"]],
  ["/v1/messages", (value) => ({
    usage: { input_tokens: value, output_tokens: value, cache_read_input_tokens: value },
  }), ["promptTokens", "outputTokens", "cachedTokens"]],
  ["/v1/new", (value) => ({ usage: { prompt_tokens: value, completion_tokens: value } }), [
    "promptTokens",
    "outputTokens",
  ]],
];

/** What is no count and no duration. */
const ODD_VALUES = [-1, -1e9, 1e308, 2 ** 53, "7", "", "NaN", true, false, [], [7], {}, { value: 7 }, [[[]]]];

function assertSane(report: Report, what: string): void {
  for (const [field, value] of Object.entries(report)) {
    if (typeof value === "number") assert(Number.isFinite(value) && value >= 0, `${what}: ${field} is ${value}`);
  }
}

Deno.test("AnswerReader omits and counts numbers that are not usable", async () => {
  for (const [path, message, fields] of NUMBERS) {
    for (const value of ODD_VALUES) {
      const what = `${path} with ${JSON.stringify(value)}`;
      const [report, said] = await readAll(dialectOf(path), [message(value)]);
      assertSane(report, what);
      for (const field of fields) assertEquals(report[field], undefined, `${what}: ${field}`);
      assertEquals(said.parseErrors, { invalid_value: fields.length }, what);
    }
  }
});

Deno.test("AnswerReader treats null as absent, and keeps what an earlier message reported", async () => {
  for (const [path, message, fields] of NUMBERS) {
    const good = await readAll(dialectOf(path), [message(7)]);
    assertEquals(good[1].parseErrors, undefined, path);
    for (const field of fields) assert(typeof good[0][field] === "number", `${path}: ${field}`);
    const [report, said] = await readAll(dialectOf(path), [message(null)]);
    assertEquals([fields.map((field) => report[field]), said.parseErrors], [fields.map(() => undefined), undefined]);
    assertEquals((await readAll(dialectOf(path), [message(7), message(null), {}]))[0], good[0], path);
    assertEquals((await readAll(dialectOf(path), [message(7), message("x")]))[0], good[0], path);
    assertEquals(
      (await readAll(dialectOf(path), [message(6), message(7)]))[0],
      good[0],
      `${path}: the later one counts`,
    );
  }
});

Deno.test("AnswerReader accepts fractions in durations but not in counts", async () => {
  const message = { eval_count: 1.5, eval_duration: 1.5 };
  assertEquals(await readAll(dialectOf("/api/chat"), [message]), [reportOf({ evalSeconds: 1.5e-9 }), {
    parseErrors: { invalid_value: 1 },
  }]);
});

/** What is no message of any dialect: JSON of all kinds, and objects whose members are of the wrong type. */
function* oddMessages(): Generator<unknown> {
  yield* [null, true, 0, -1, "", "text", [], [[]], {}, [null], { "": null }];
  const values = [null, true, 0, -1, 1e308, "text", "", [], {}, [[]], [null], [{}], { 0: [] }, [1, "2", {
    function: 3,
  }]];
  const names = [
    ["model", "message", "done", "done_reason", "error", "response", "thinking", "type", "status", "object", "digest"],
    [
      "completed",
      "choices",
      "usage",
      "timings",
      "delta",
      "content",
      "content_block",
      "output",
      "embeddings",
      "stop_reason",
    ],
    ["__proto__", "constructor", "length"],
  ].flat();
  for (const value of values) {
    for (const name of names) {
      yield { [name]: value };
      yield { [name]: { [name]: value, usage: value, delta: value } };
      yield { choices: [{ [name]: value, delta: { [name]: value } }], message: { [name]: value, tool_calls: value } };
      yield { response: { [name]: value }, usage: { [name]: value }, type: "response.completed" };
    }
    yield Object.fromEntries(names.map((name) => [name, value]));
  }
}

Deno.test("AnswerReader accepts messages of any shape, in any order", async () => {
  const paths = [...ENDPOINTS.filter(({ dialect }) => dialect !== undefined).map(({ route }) => route), "/v1/new"];
  for (const path of paths) {
    for (const message of oddMessages()) {
      const what = `${path} with ${JSON.stringify(message)}`;
      const answer = await answerOf(dialectOf(path), [message]);
      assertSane(answer.report, what);
      assert(answer.report.model === undefined || typeof answer.report.model === "string", what);
      for (const flag of ["hasFailed", "isUnfinished", "hasThinking", "hasNoUsage", "hasEstimatedPrompt"] as const) {
        assertEquals(typeof answer[flag], "boolean", `${what}: ${flag}`);
      }
    }
    assertSane((await answerOf(dialectOf(path), oddMessages())).report, path);
  }
});

Deno.test("AnswerReader reads model names from strings only", async () => {
  for (const model of [7, null, true, {}, ["m"], ""]) {
    assertEquals((await readAll(dialectOf("/api/chat"), [{ model }]))[0], reportOf({}), JSON.stringify(model));
  }
});

// Transfers.

/** A progress message: the digest, and the bytes in place. The size is 1000 bytes. */
type Step = [digest: unknown, completed: unknown];

/** What comes of a transfer that is not completed. */
async function transferred(...steps: Step[]): Promise<[bytes: number | undefined, Said]> {
  const messages = steps.map(([digest, completed]) => ({ status: "pulling", digest, completed, total: 1000 }));
  const [{ transferBytes }, said] = await readAll(dialectOf("/api/pull"), messages);
  return [transferBytes, said];
}

Deno.test("AnswerReader counts each byte of a transfer once, by digest", async () => {
  const rows: [string, Step[], number | undefined][] = [
    ["cumulative", [["a", undefined], ["a", 25], ["a", 25], ["a", 100]], 100],
    ["two digests in turn", [["a", 0], ["b", null], ["a", 20], ["b", 50]], 70],
    ["a resumed transfer", [["a", 400], ["a", 450]], 50],
    ["a transfer that another request has begun", [["a", 0], ["b", 900], ["b", 1000]], 100],
    ["a retry from below", [["a", 0], ["a", 50], ["a", 10], ["a", 50], ["a", 60]], 60],
    ["a retry that gets nowhere", [["a", 0], ["a", 50], ["a", 10]], 50],
    ["nothing yet", [["a", undefined], ["a", null]], 0],
    ["a layer that is there already", [["a", 1000]], 0],
    ["no digest", [[undefined, 10], ["", 10], [7, 10], [null, 10]], undefined],
    ["a digest called as a member of objects", [["__proto__", 0], ["constructor", 0], ["__proto__", 5]], 5],
  ];
  for (const [what, progress, bytes] of rows) assertEquals(await transferred(...progress), [bytes, {}], what);
});

Deno.test("AnswerReader omits and counts progress that is not a count", async () => {
  for (const completed of [-1, 1.5, "10", 1e308, [], {}]) {
    const [bytes, said] = await transferred(["a", 10], ["a", completed], ["a", 40]);
    assertEquals([bytes, said.parseErrors], [30, { invalid_value: 1 }], JSON.stringify(completed));
  }
});

Deno.test("AnswerReader counts what a completed transfer has moved since its last progress message", async () => {
  const layer = (digest: string, total: unknown, completed?: number): unknown => ({ digest, total, completed });
  const rows: [string, unknown[], number | undefined][] = [
    ["the rest of a layer", [layer("a", 1000), layer("a", 1000, 930)], 1000],
    ["a layer of one message", [layer("a", 1000)], 1000],
    ["a resumed layer", [layer("a", 1000, 400)], 600],
    ["a layer that is there already, and a new one", [layer("a", 4700, 4700), layer("b", 90), layer("b", 90, 90)], 90],
    ["no more than was reported, without a size", [{ digest: "a", completed: 10 }, { digest: "a", completed: 30 }], 20],
    ["a size that is wrong", [layer("a", 50), layer("a", 50, 60)], 60],
    ["nothing without progress", [], undefined],
  ];
  for (const [what, messages, bytes] of rows) {
    const [{ transferBytes }] = await readAll(dialectOf("/api/pull"), [...messages, { status: "success" }]);
    assertEquals(transferBytes, bytes, what);
  }
});

Deno.test("AnswerReader keeps no more digests of a transfer than their limit", async () => {
  const first = Array.from({ length: TRANSFER_DIGESTS_LIMIT }, (_, index): Step => [`${index}`, 0]);
  const moved = first.map(([digest]): Step => [digest, 1]);
  assertEquals(await transferred(...first, ...moved), [TRANSFER_DIGESTS_LIMIT, {}]);
  assertEquals(await transferred(...first, ["more", 0], ...moved, ["more", 1]), [TRANSFER_DIGESTS_LIMIT, {}]);
});
