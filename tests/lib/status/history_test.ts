/** The last minutes of traffic, on a clock that the tests set. */

import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import type { Observation, Report } from "../../../lib/observation.ts";
import { History, type Plots, SLOT_MS, SLOTS, type Totals } from "../../../lib/status/history.ts";
import { LAST_FAILURES, LAST_REQUESTS } from "../../../lib/status/last_requests.ts";
import { FIGURES_LIMIT, SAMPLES } from "../../../lib/status/slot.ts";
import { observationOf, random } from "../../support/fixtures.ts";

/** A slot in seconds. */
const SLOT = SLOT_MS / 1000;
/** Start of a slot. */
const START = Math.floor(Date.UTC(2026, 10, 22) / SLOT_MS) * SLOT_MS;

/** A history with a clock that can be set. */
class TestHistory extends History {
  readonly clock: { now: number };

  constructor() {
    const clock = { now: START };
    super(() => clock.now);
    this.clock = clock;
  }

  /** Adds a request that completes now. */
  ends(fields: Partial<Omit<Observation, "report">> & { report?: Partial<Report> }): void {
    const { durationSeconds = 1 } = fields;
    this.observe(observationOf({ startedAt: this.clock.now - durationSeconds * 1000, durationSeconds, ...fields }));
  }

  /** Plots and figures. */
  all(): Plots & Totals {
    return { ...this.plots(), ...this.totals() };
  }

  /** Advances the clock by this many slots. */
  passes(slots: number): void {
    this.clock.now += slots * SLOT_MS;
  }
}

/** Figures of a model without requests. */
const NO_FIGURES = {
  requests: 0,
  failures: 0,
  tokensPerSecond: undefined,
  firstTokenP95: undefined,
  overflows: {},
  contextUsed: undefined,
};

function sum(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Tokens of a series of rates. */
function tokensIn(rates: readonly number[]): number {
  return sum(rates) * SLOT_MS / 1000;
}

Deno.test("History distributes output tokens over the time of their generation", () => {
  const history = new TestHistory();
  history.passes(10);
  const report = { outputTokens: 80 * SLOT, promptTokens: 30 * SLOT };
  history.ends({ durationSeconds: 6 * SLOT, firstOutputSeconds: 2 * SLOT, lastOutputSeconds: 6 * SLOT, report });
  history.passes(1);
  const { outputTokens, promptTokens } = history.all();
  assertEquals(outputTokens.slice(-7), [0, 0, 20, 20, 20, 20, 0], "tokens a second, in four slots");
  assertEquals(promptTokens.slice(-7), [0, 0, 30, 0, 0, 0, 0], "the prompt where the first output is");
  assertEquals(tokensIn(outputTokens), 80 * SLOT);
});

Deno.test("History distributes the tokens of a response that is not streamed by the reported durations", () => {
  const history = new TestHistory();
  history.passes(10);
  history.ends({ durationSeconds: 3 * SLOT, report: { outputTokens: 20 * SLOT, evalSeconds: 2 * SLOT } });
  history.passes(1);
  assertEquals(history.all().outputTokens.slice(-4), [0, 10, 10, 0]);
});

Deno.test("History counts all tokens, however they lie across slots", () => {
  const history = new TestHistory();
  history.passes(20);
  const next = random(1);
  let expected = 0;
  for (let count = 0; count < 300; count++) {
    history.clock.now += Math.floor(next() * 500);
    const outputTokens = Math.ceil(next() * 500);
    const lastOutputSeconds = next() * 20;
    expected += outputTokens;
    const durationSeconds = lastOutputSeconds + next();
    const firstOutputSeconds = lastOutputSeconds * next();
    history.ends({ durationSeconds, firstOutputSeconds, lastOutputSeconds, report: { outputTokens } });
  }
  history.passes(1);
  assertEquals(history.all().total.outputTokens, expected);
  assertAlmostEquals(tokensIn(history.all().outputTokens), expected, 0.5);
});

Deno.test("History drops what is older than its slots", () => {
  const history = new TestHistory();
  history.clock.now = START + 1000;
  history.ends({ report: { outputTokens: 5, promptTokens: 7, evalSeconds: 0.5 } });
  history.clock.now = START + (SLOTS - 1) * SLOT_MS;
  assertEquals(history.all().total, { promptTokens: 7, outputTokens: 5 });
  history.passes(1);
  const { total, outcomes, phases, firstToken, outputTokens, from } = history.all();
  assertEquals({ total, outcomes, phases }, { total: { promptTokens: 0, outputTokens: 0 }, outcomes: {}, phases: {} });
  assertEquals([outputTokens.length, firstToken.median.length], [SLOTS - 1, SLOTS - 1]);
  assertEquals(from, history.clock.now - (SLOTS - 1) * SLOT_MS);
});

Deno.test("History counts a request that began before its slots for the part within them", () => {
  const history = new TestHistory();
  const minutes = SLOTS * SLOT_MS / 1000;
  history.ends({
    durationSeconds: 2 * minutes,
    firstOutputSeconds: 0,
    lastOutputSeconds: 2 * minutes,
    report: { outputTokens: 1000, promptTokens: 7 },
  });
  const { total, outcomes } = history.all();
  assertAlmostEquals(total.outputTokens, 500, 1000 / SLOTS);
  assertEquals([total.promptTokens, outcomes], [0, { ok: 1 }]);
});

Deno.test("History counts an end ahead of the clock in the newest slot", () => {
  const history = new TestHistory();
  history.clock.now = START + SLOT_MS - 1;
  // 500 ms by the time of day, 1 s by the clock that measures durations.
  const startedAt = history.clock.now - 500;
  const times = { firstOutputSeconds: 0.6, lastOutputSeconds: 0.9, durationSeconds: 1 };
  history.observe(observationOf({ startedAt, ...times, report: { outputTokens: 9, promptTokens: 3 } }));
  const { total, outcomes } = history.all();
  assertEquals([total, outcomes], [{ promptTokens: 3, outputTokens: 9 }, { ok: 1 }]);
});

Deno.test("History computes the quantiles of each slot and of the last values", () => {
  const history = new TestHistory();
  for (let milliseconds = 1; milliseconds <= 20; milliseconds++) {
    history.ends({ firstOutputSeconds: milliseconds / 1000, lastOutputSeconds: 1 });
  }
  history.passes(2);
  const { firstToken, now } = history.all();
  const at = firstToken.median.findIndex((value) => value !== null);
  assertEquals([firstToken.median[at], firstToken.p95[at]], [0.01, 0.019]);
  assertEquals(firstToken.median.filter((value) => value !== null).length, 1, "an empty slot has no value, and not 0");
  assertEquals(now.firstToken, { median: 0.01, p95: 0.019, of: 20 });
  assertEquals(now.perToken, undefined);
});

Deno.test("History keeps a random sample of a slot with too many values", () => {
  const history = new TestHistory();
  history.clock.now = START + 1000;
  for (let count = 0; count < 100 * SAMPLES; count++) history.ends({ firstOutputSeconds: count, lastOutputSeconds: 1 });
  const { firstToken } = history.all().now;
  assertEquals(firstToken?.of, SAMPLES);
  const middle = (firstToken?.median ?? 0) / (100 * SAMPLES);
  assert(middle > 0.1 && middle < 0.9, `the median of what is kept lies in the middle, not at ${middle}`);
});

Deno.test("History sums up outcomes and phases of measured requests only", () => {
  const history = new TestHistory();
  history.ends({ outcome: "client_error", durationSeconds: 0.25 });
  history.ends({ report: { totalSeconds: 4, loadSeconds: 1, evalSeconds: 2 } });
  history.ends({ api: undefined, operation: "pull", durationSeconds: 60 });
  history.ends({ api: undefined, route: "/api/tags" });
  const { outcomes, phases } = history.all();
  assertEquals(outcomes, { client_error: 1, ok: 1 });
  assertEquals(phases, { other: 0.25, load: 1, prompt: 0, wait: 1, output: 2 });
});

Deno.test("History counts requests and failures per second; a client that disconnects is no failure", () => {
  const history = new TestHistory();
  for (const outcome of ["ok", "ok", "client_closed", "server_error", "client_error"] as const) {
    history.ends({ outcome });
  }
  history.ends({ api: undefined, operation: "pull", outcome: "stream_error" });
  history.passes(1);
  const { requests, failures, now } = history.all();
  assertEquals([requests.at(-1), failures.at(-1)], [5 / SLOT, 2 / SLOT]);
  assertEquals([sum(requests), sum(failures)], [5 / SLOT, 2 / SLOT], "and none elsewhere");
  assertAlmostEquals(now.requests, 5 / 60, 1e-6);
});

Deno.test("History has figures by model, however its name is spelled, those with most requests first", () => {
  const history = new TestHistory();
  const report = { model: "qwen3:8b", outputTokens: 30 };
  for (const [first, seconds] of [[0.25, 1], [0.5, 2]] as const) {
    const times = { firstOutputSeconds: first, lastOutputSeconds: first + seconds };
    history.ends({ durationSeconds: 4, ...times, report: { ...report, evalSeconds: seconds } });
    history.passes(1);
  }
  history.ends({ requestedModel: "QWEN3:8B", outcome: "client_error", status: 404 });
  history.ends({ outcome: "client_error" });
  assertEquals(history.all().models, [
    { ...NO_FIGURES, model: "qwen3:8b", requests: 3, failures: 1, tokensPerSecond: 20, firstTokenP95: 0.5 },
    { ...NO_FIGURES, model: "unknown", requests: 1, failures: 1 },
  ]);
  history.passes(SLOTS);
  assertEquals(history.all().models, []);
});

Deno.test("History has the overflows of each model and the maximum of the context that its requests have used", () => {
  const history = new TestHistory();
  const finding = { model: "qwen3:8b", api: "chat", usedRatio: undefined, overflow: undefined } as const;
  for (const usedRatio of [0.25, 1.5, 0.123456]) history.observeContext({ ...finding, usedRatio });
  history.passes(1);
  history.observeContext({ ...finding, usedRatio: 1, overflow: "truncated" });
  history.observeContext({ ...finding, usedRatio: 1, overflow: "truncated" });
  history.observeContext({ ...finding, model: "QWEN3:8B", overflow: "rejected" });
  history.observeContext({ ...finding, model: "llama3.2", usedRatio: 0.123456 });
  history.observeContext({ ...finding, model: undefined, overflow: "rejected" });
  const figures = (): unknown[] =>
    history.totals().models.map(({ model, overflows, contextUsed }) => [model, overflows, contextUsed]);
  assertEquals(figures(), [
    ["qwen3:8b", { truncated: 2, rejected: 1 }, 1.5],
    ["llama3.2:latest", {}, 0.1235],
    ["unknown", { rejected: 1 }, undefined],
  ]);
  history.passes(SLOTS - 1);
  assertEquals(figures()[0], ["qwen3:8b", { truncated: 2, rejected: 1 }, 1], "the maximum of its slots");
  history.passes(1);
  assertEquals(figures(), []);
});

Deno.test("History keeps failures longer than other requests", () => {
  const history = new TestHistory();
  history.ends({ outcome: "upstream_unreachable", status: 502, upstreamError: "connect" });
  const version = history.failuresVersion;
  for (let count = 0; count < LAST_REQUESTS; count++) history.ends({});
  assertEquals(history.requests.some(({ outcome }) => outcome !== "ok"), false);
  const [failure] = history.failures;
  assertEquals([failure?.id, failure?.outcome, failure?.upstreamError], [1, "upstream_unreachable", "connect"]);
  assertEquals(history.failuresVersion, version, "requests that succeed do not change the failures");
});

Deno.test("History lists the last requests, transfers included, newest first", () => {
  const history = new TestHistory();
  const { requestsVersion } = history;
  history.ends({ api: undefined, route: "/api/tags" });
  assertEquals(history.requestsVersion, requestsVersion, "what is not measured is not listed");
  history.ends({
    durationSeconds: 3,
    firstOutputSeconds: 1,
    lastOutputSeconds: 3,
    requestedModel: "LLAMA3.2",
    client: "alice",
    report: { model: "llama3.2", promptTokens: 26, outputTokens: 5 },
  });
  history.ends({ api: undefined, operation: "pull", outcome: "stream_error", requestedModel: "qwen3" });
  const [pull, chat] = history.requests;
  assertEquals([pull?.api, pull?.model, pull?.outcome], ["pull", "qwen3:latest", "stream_error"]);
  assertEquals(chat, {
    id: 1,
    startedAt: START - 3000,
    api: "chat",
    model: "llama3.2:latest",
    client: "alice",
    status: 200,
    outcome: "ok",
    upstreamError: undefined,
    durationSeconds: 3,
    promptTokens: 26,
    outputTokens: 5,
    tokensPerSecond: 2,
    firstTokenSeconds: 1,
  });
});

Deno.test("History is bounded, whatever is observed", () => {
  const history = new TestHistory();
  const next = random(2);
  for (let count = 0; count < 20_000; count++) {
    history.clock.now += Math.floor(next() * 100);
    const requestedModel = count + "x".repeat(1000);
    const outcome = next() < 0.5 ? "ok" : "server_error";
    const report = { outputTokens: 7 };
    history.observeContext({ model: requestedModel, api: "chat", usedRatio: 1, overflow: "truncated" });
    history.ends({ requestedModel, outcome, firstOutputSeconds: next(), lastOutputSeconds: 1, report });
  }
  assertEquals(history.requests.length, LAST_REQUESTS);
  assertEquals(history.requests[0]?.id, 20_000);
  assertEquals(history.failures.length, LAST_FAILURES);
  const { models, outcomes } = history.all();
  assertEquals([models.length, models.at(-1)?.model], [FIGURES_LIMIT + 1, "other"]);
  assertEquals(sum(models.map(({ requests }) => requests)), sum(Object.values(outcomes)), "none is left out");
  assertEquals(sum(models.map(({ failures }) => failures)), outcomes.server_error);
  assertEquals(sum(models.map(({ overflows }) => overflows.truncated ?? 0)), sum(Object.values(outcomes)));
  assert(JSON.stringify(history.all()).length < 20_000);
  assert(JSON.stringify(history.requests).length < 20_000);
});

Deno.test("History changes its versions whenever its content changes, that of the plots once per slot", () => {
  const history = new TestHistory();
  const versions = (): [string, number] => [history.totalsVersion, history.plotsVersion];
  const [totals, plots] = versions();
  history.clock.now += SLOT_MS - 1;
  assertEquals(versions(), [totals, plots], "the same slot, and nothing was observed");
  history.ends({});
  assertNotEquals(history.totalsVersion, totals);
  assertEquals(history.plotsVersion, plots, "the slot is not complete");
  const [ended] = versions();
  history.observeContext({ model: undefined, api: "chat", usedRatio: 1, overflow: undefined });
  assertNotEquals(history.totalsVersion, ended, "a finding may come later than its request");
  const [after] = versions();
  history.clock.now += 1;
  assertNotEquals(history.totalsVersion, after);
  assertNotEquals(history.plotsVersion, plots);
});
