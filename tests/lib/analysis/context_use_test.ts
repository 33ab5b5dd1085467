/** What is known of the context of requests, and when: the formula, the loads, and the answers that wait for a list. */

import { assertEquals } from "@std/assert";
import { ContextUse, REMEMBERED_LOADS_LIMIT, WAITING_ANSWERS_LIMIT } from "../../../lib/analysis/context_use.ts";
import type { ContextFinding, Observation, Report } from "../../../lib/observation.ts";
import type { LoadedList, LoadedModel } from "../../../lib/ollama/state.ts";
import { observationOf } from "../../support/fixtures.ts";
import { TestClock } from "../../support/test_clock.ts";

const MINUTE_MS = 60_000;
const NO_OPTIONS = { contextTokens: undefined, keepTokens: undefined };

/** A model in memory, with the context length of each runner. */
function model(name: string, ...lengths: (number | undefined)[]): LoadedModel {
  const details = { digest: "", family: "", format: "", parameterSize: "", quantizationLevel: "" };
  return {
    name,
    sizeBytes: undefined,
    vramBytes: undefined,
    contextTokens: undefined,
    expiresAtSeconds: undefined,
    runners: lengths.map((contextTokens) => ({ ...details, contextTokens })),
  };
}

/** A list that was requested now. */
function listOf(...models: LoadedModel[]): LoadedList {
  return { models, requestedAt: performance.now() };
}

type Fields = Partial<Omit<Observation, "report">> & { report?: Partial<Report> };

/** An answer of a warm model of 100 prompt tokens, 20 output tokens and 9000 bytes, but for these fields. */
function answer(fields: Fields = {}): Observation {
  const report = { model: "m", promptTokens: 100, outputTokens: 20, loadSeconds: 0.005, ...fields.report };
  return observationOf({ options: NO_OPTIONS, requestBytes: 9000, ...fields, report });
}

/** The finding of one answer with a list of its time. */
function findingOf(observation: Observation, ...lengths: (number | undefined)[]): ContextFinding | undefined {
  const use = new ContextUse();
  use.update(listOf(model("m:latest", ...lengths)));
  return use.observe(observation);
}

/** A prompt of so many tokens, with these options. */
function prompt(promptTokens: number, contextTokens?: number, keepTokens?: number): Observation {
  return answer({ options: { contextTokens, keepTokens }, report: { promptTokens, outputTokens: 0 } });
}

/** Prompts that were cut: the listed context length, `num_ctx`, `num_keep`, and the tokens that are left. */
const CUT: [listed: number, asked: number | undefined, keep: number | undefined, left: number][] = [
  // 4 are kept, of the other 252 half is cut; with a token of the model's own 5, and of 251 half.
  [256, undefined, undefined, 256 - 126],
  [256, undefined, undefined, 256 - 125],
  [2048, undefined, undefined, 2048 - 1022],
  [2048, undefined, undefined, 2048 - 1021],
  [4096, undefined, undefined, 4096 - 2046],
  [8192, 4096, undefined, 4096 - 2046],
  [8192, 8192, undefined, 8192 - 4094],
  [8192, 8192, undefined, 8192 - 4093],
  // More than the model can have is not given.
  [2048, 131_072, undefined, 2048 - 1022],
  [256, undefined, 0, 256 - 128],
  [256, undefined, 0, 256 - 127],
  [256, undefined, 24, 256 - 116],
  [256, undefined, 24, 256 - 115],
  [256, undefined, 254, 255],
  [256, undefined, 255, 255],
  [256, undefined, 256, 255],
  [255, undefined, undefined, 255 - 125],
  [8192, 512, 100, 512 - 206],
];

Deno.test("ContextUse finds prompts that were cut, by the context, num_ctx, num_keep and either token count", () => {
  for (const [listed, asked, keep, left] of CUT) {
    const what = `${left} of ${listed}, num_ctx ${asked}, num_keep ${keep}`;
    const found = { model: "m", api: "chat", usedRatio: 1, overflow: "truncated" };
    assertEquals(findingOf(prompt(left, asked, keep), listed), found as ContextFinding, what);
    // The tokens next to the two counts are of prompts that fit.
    const others = [left - 2, left + 2].map((tokens) => findingOf(prompt(tokens, asked, keep), listed)?.overflow);
    assertEquals(others, [undefined, undefined], what);
  }
});

Deno.test("ContextUse takes no prompt for cut whose request is smaller than the context, or has a num_keep beyond it", () => {
  const bytes = (requestBytes: number): Observation =>
    answer({ requestBytes, report: { promptTokens: 130, outputTokens: 0 } });
  assertEquals([findingOf(bytes(256), 256)?.overflow, findingOf(bytes(255), 256)?.overflow], ["truncated", undefined]);
  assertEquals(findingOf(bytes(255), 256)?.usedRatio, 130 / 256);
  for (const keep of [-1, 257]) {
    for (let tokens = 1; tokens <= 256; tokens++) {
      assertEquals(findingOf(prompt(tokens, undefined, keep), 256)?.overflow, undefined, `${keep}, ${tokens}`);
    }
  }
});

Deno.test("ContextUse finds the part of the context that prompt and output take", () => {
  assertEquals(findingOf(answer(), 1000)?.usedRatio, 0.12);
  assertEquals(findingOf(answer({ report: { outputTokens: undefined } }), 1000)?.usedRatio, 0.1);
  assertEquals(findingOf(answer({ options: { contextTokens: 500, keepTokens: undefined } }), 1000)?.usedRatio, 0.24);
  assertEquals(findingOf(answer({ report: { outputTokens: 1100 } }), 1000)?.usedRatio, 1.2);
  assertEquals(findingOf(answer({ report: { cachedTokens: 90 } }), 1000)?.usedRatio, 0.12);
});

/** Answers of which nothing is known, although their model is listed with a context length of 1000. */
const SILENT: [what: string, observation: Observation][] = [
  ["no prompt tokens", answer({ report: { promptTokens: undefined } })],
  ["estimated prompt tokens", answer({ hasEstimatedPrompt: true })],
  ["two runs", answer({ hasTwoRuns: true })],
  ["options that were not read", answer({ options: undefined })],
  ["embeddings", answer({ api: "embed" })],
  ["embeddings of OpenAI's API", answer({ api: "openai_embeddings" })],
  ["no model", answer({ report: { model: undefined } })],
  ["a route that is not measured", answer({ api: undefined })],
  ["a model elsewhere", answer({ report: { model: "m:120b-cloud" } })],
  ["an error", answer({ outcome: "server_error", status: 500 })],
];

Deno.test("ContextUse knows nothing of answers without exact tokens of one generation, nor waits for a list", () => {
  for (const [what, observation] of SILENT) {
    const use = new ContextUse();
    use.update(listOf(model("m:latest", 1000), model("m:120b-cloud", 1000)));
    assertEquals([use.observe(observation), use.isWaiting], [undefined, false], what);
    const early = new ContextUse();
    assertEquals([early.observe(observation), early.isWaiting], [undefined, false], what);
  }
});

Deno.test("ContextUse knows nothing if the context length is 0 or absent, or that of one of several runners", () => {
  for (const lengths of [[0], [undefined], [], [1000, 2000], [1000, undefined]]) {
    assertEquals(findingOf(answer(), ...lengths), undefined, String(lengths));
  }
  const asked = answer({ options: { contextTokens: 2000, keepTokens: undefined } });
  assertEquals(findingOf(asked, 1000, 2000)?.usedRatio, 0.06, "the runner that was asked for");
  assertEquals(findingOf(asked, 1000, 3000), undefined);
  assertEquals(findingOf(answer(), 1000, 1000)?.usedRatio, 0.12);
});

Deno.test("ContextUse finds rejected prompts without a list, also where the model is not known", () => {
  const rejected = { isContextExceeded: true, outcome: "client_error", status: 400 } as const;
  const use = new ContextUse();
  const found = { usedRatio: undefined, overflow: "rejected" } as const;
  const named = observationOf({ ...rejected, api: "embed", requestedModel: "M" });
  assertEquals(use.observe(named), { ...found, model: "M", api: "embed" });
  assertEquals(use.observe(observationOf(rejected)), { ...found, model: undefined, api: "chat" });
  assertEquals(use.isWaiting, false);
});

Deno.test("ContextUse waits for the first list, and for one after each load", () => {
  using clock = new TestClock();
  clock.now = 100_000;
  const use = new ContextUse();
  assertEquals([use.observe(answer()), use.isWaiting], [undefined, true]);
  assertEquals(use.update(listOf(model("M:latest", 1000))).map(({ usedRatio }) => usedRatio), [0.12]);
  assertEquals(use.isWaiting, false);

  // Arrived at 108 s, loaded by 110 s, ended at 120 s: the list of 109 s is too old, that of 111 s is not.
  const loading = answer({ durationSeconds: 12, report: { loadSeconds: 2 } });
  for (const [at, ratio] of [[109_000, undefined], [111_000, 0.06]] as const) {
    const other = new ContextUse();
    clock.now = at;
    other.update(listOf(model("m:latest", 2000)));
    clock.now = 120_000;
    assertEquals([other.observe(loading)?.usedRatio, other.isWaiting], [ratio, ratio === undefined], String(at));
  }
  // No load ends after its answer.
  const other = new ContextUse();
  other.observe(answer({ durationSeconds: 1, report: { loadSeconds: 60 } }));
  assertEquals(other.update(listOf(model("m:latest", 2000)))[0]?.usedRatio, 0.06);
  // A list that was requested before the load has ended keeps it waiting.
  use.observe(loading);
  assertEquals(use.update({ models: [model("m:latest", 1000)], requestedAt: 109_999 }), []);
  assertEquals(use.isWaiting, true);
  assertEquals(use.update({ models: [model("m:latest", 2000)], requestedAt: 110_000 })[0]?.usedRatio, 0.06);
});

Deno.test("ContextUse takes another num_ctx for a load where the API does not report loads", () => {
  using clock = new TestClock();
  const use = new ContextUse();
  const openai = answer({ api: "openai_chat", report: { loadSeconds: undefined }, durationSeconds: 1 });
  const native = (contextTokens: number | undefined): Observation =>
    answer({ options: { contextTokens, keepTokens: undefined }, report: { loadSeconds: 1 }, durationSeconds: 2 });
  /** Whether an answer has to wait for a list, which comes at once. */
  const waits = (observation: Observation, length: number): boolean => {
    clock.now += 10_000;
    use.observe(observation);
    const { isWaiting } = use;
    use.update(listOf(model("m:latest", length)));
    return isWaiting;
  };
  assertEquals([waits(openai, 4096), waits(openai, 4096)], [true, false]);
  assertEquals([waits(native(8192), 8192), waits(openai, 4096), waits(openai, 4096)], [true, true, false]);
});

Deno.test("ContextUse takes a model for loaded from the first output of a stream on", () => {
  using clock = new TestClock();
  // Arrived at 10 s, began at 15 s.
  const stream = answer({
    api: "openai_chat",
    durationSeconds: 10,
    firstOutputSeconds: 5,
    report: { loadSeconds: undefined },
  });
  for (const [at, ratio] of [[14_999, undefined], [15_000, 0.12]] as const) {
    const use = new ContextUse();
    clock.now = at;
    use.update(listOf(model("m:latest", 1000)));
    clock.now = 20_000;
    assertEquals(use.observe(stream)?.usedRatio, ratio, String(at));
  }
});

Deno.test("ContextUse knows nothing of an answer whose model was loaded for another num_ctx since", () => {
  using clock = new TestClock();
  clock.now = 10_000;
  const use = new ContextUse();
  const asking = (contextTokens: number): Observation =>
    answer({ options: { contextTokens, keepTokens: undefined }, report: { loadSeconds: 1 } });
  for (const contextTokens of [500, 1000, 1000]) use.observe(asking(contextTokens));
  assertEquals(use.update(listOf(model("m:latest", 1000))).map(({ usedRatio }) => usedRatio), [0.12, 0.12]);
});

Deno.test("ContextUse does not wait for a model that a list of after its answer's beginning lacks", () => {
  using clock = new TestClock();
  const use = new ContextUse();
  clock.now = 10_000;
  use.update(listOf(model("other", 1000)));
  clock.now = 12_000;
  assertEquals([use.observe(answer({ durationSeconds: 5 })), use.isWaiting], [undefined, false]);
  // This one began to be answered after the list.
  clock.now = 20_000;
  assertEquals([use.observe(answer({ durationSeconds: 5 })), use.isWaiting], [undefined, true]);
  assertEquals([use.update(listOf()), use.isWaiting], [[], false]);
});

Deno.test("ContextUse drops what waits when a list cannot be fetched, and keeps the last one for five minutes", () => {
  using clock = new TestClock();
  clock.now = MINUTE_MS;
  const use = new ContextUse();
  use.observe(answer());
  assertEquals([use.update(undefined), use.isWaiting], [[], false]);
  assertEquals(use.update(listOf(model("m:latest", 1000))), []);
  assertEquals([use.update(undefined), use.observe(answer())?.usedRatio], [[], 0.12]);
  clock.now += 5 * MINUTE_MS;
  assertEquals([use.observe(answer())?.usedRatio, use.isWaiting], [0.12, false]);
  clock.now += 1;
  assertEquals([use.observe(answer())?.usedRatio, use.isWaiting], [undefined, true]);
  clock.now += 5 * MINUTE_MS + 1;
  assertEquals([use.update(listOf(model("m:latest", 1000))), use.isWaiting], [[], false], "it waited too long");
});

Deno.test("ContextUse keeps no more answers waiting than its limit", () => {
  const use = new ContextUse();
  for (let count = 0; count < WAITING_ANSWERS_LIMIT + 5; count++) use.observe(answer());
  assertEquals(use.update(listOf(model("m:latest", 1000))).length, WAITING_ANSWERS_LIMIT);
});

Deno.test("ContextUse remembers the loads of the models used last, up to its limit", () => {
  using clock = new TestClock();
  const use = new ContextUse();
  const named = (name: string): Observation =>
    answer({ api: "openai_chat", report: { model: name, loadSeconds: undefined } });
  const listed = ["first", "second"].map((name) => model(`${name}:latest`, 1000));
  for (const name of ["first", "second"]) use.observe(named(name));
  clock.now = 10_000;
  use.update(listOf(...listed));
  clock.now = 20_000;
  for (let index = 0; index < REMEMBERED_LOADS_LIMIT - 1; index++) {
    use.observe(observationOf({ requestedModel: `m${index}` }));
    if (index === 0) use.observe(named("first"));
  }
  assertEquals([use.observe(named("first"))?.usedRatio, use.observe(named("second"))], [0.12, undefined]);
});
