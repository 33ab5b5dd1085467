import { assert, assertEquals } from "@std/assert";
import {
  APIS,
  FINISH_REASONS,
  type Observation,
  OPERATIONS,
  OUTCOMES,
  PARSE_ERRORS,
  type Report,
  UPSTREAM_ERRORS,
} from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { API_LABELS, LABELS, metricsOf, scrape, scrapeOf } from "../../support/metrics_scrape.ts";

/** The report of a chat, with all figures. */
const REPORT = {
  model: "llama3.2",
  finishReason: "stop",
  promptTokens: 26,
  outputTokens: 5,
  totalSeconds: 4,
  loadSeconds: 1,
  promptEvalSeconds: 0.5,
  evalSeconds: 2,
} as const satisfies Partial<Report>;

/** All samples of the model after one such chat. */
const CHAT_METRICS: [name: string, labels: Record<string, string>, value: number][] = [
  ["ollama_requests_total", LABELS, 1],
  ["ollama_tokens_processed_total", LABELS, 26],
  ["ollama_tokens_generated_total", LABELS, 5],
  ["ollama_response_seconds_sum", LABELS, 4],
  ["ollama_response_seconds_count", LABELS, 1],
  ["ollama_load_duration_seconds_sum", LABELS, 1],
  ["ollama_prompt_eval_duration_seconds_sum", LABELS, 0.5],
  ["ollama_eval_duration_seconds_sum", LABELS, 2],
  ["ollama_tokens_per_second_sum", LABELS, 2.5],
  ["ollama_request_outcomes_total", { ...API_LABELS, outcome: "ok" }, 1],
  ["ollama_time_per_output_token_seconds_sum", API_LABELS, 0.4],
  ["ollama_wait_duration_seconds_sum", LABELS, 0.5],
  ["ollama_request_prompt_tokens_sum", LABELS, 26],
  ["ollama_request_generated_tokens_sum", LABELS, 5],
  ["ollama_finish_reasons_total", { ...API_LABELS, reason: "stop" }, 1],
];

Deno.test("Metrics.observe() records each figure of a response once, under its own name", async () => {
  const scrape = await scrapeOf([observationOf({ report: REPORT })]);
  for (const [name, labels, value] of CHAT_METRICS) assertEquals(scrape.value(name, labels), value, name);
  const names = scrape.text.matchAll(/^(\w+){.*model="llama3.2:latest".*} (?!0$)/gm);
  const metrics = new Set([...names].map(([, name = ""]) => name.replace(/_(bucket|sum|count)$/, "")));
  const expected = new Set(CHAT_METRICS.map(([name]) => name.replace(/_(sum|count)$/, "")));
  assertEquals(metrics, expected, "all others of the model are 0");
});

Deno.test("Metrics.observe() leaves the series of figures that the response lacks at 0", async () => {
  const scrape = await scrapeOf([observationOf({ report: { model: "llama3.2" }, outcome: "incomplete" })]);
  const names = [...scrape.text.matchAll(/^(\w+){.*model="llama3.2:latest".*} (?!0$)/gm)].map(([, name]) => name);
  assertEquals(names, ["ollama_requests_total", "ollama_request_outcomes_total"]);
});

Deno.test("Metrics keeps the names, types and the single label of the original exporter", async () => {
  const { text } = await scrapeOf([observationOf({ report: REPORT })]);
  const counters = ["requests_total", "tokens_processed_total", "tokens_generated_total"];
  const histograms = [
    "response_seconds",
    "load_duration_seconds",
    "prompt_eval_duration_seconds",
    "eval_duration_seconds",
    "tokens_per_second",
  ];
  for (const name of counters) {
    assert(text.includes(`# TYPE ollama_${name} counter\n`), name);
    assert(new RegExp(`^ollama_${name}{model="llama3.2:latest"} `, "m").test(text), name);
  }
  for (const name of histograms) {
    assert(text.includes(`# TYPE ollama_${name} histogram\n`), name);
    assert(new RegExp(`^ollama_${name}_sum{model="llama3.2:latest"} `, "m").test(text), name);
  }
});

Deno.test("Metrics has buckets beyond ten seconds and a hundred tokens per second", async () => {
  const slow = { ...REPORT, totalSeconds: 599, loadSeconds: 599, promptEvalSeconds: 599, evalSeconds: 599 };
  const fast = { ...REPORT, outputTokens: 999, evalSeconds: 1 };
  const scrape = await scrapeOf([slow, fast].map((report) => observationOf({ report })));
  for (const name of ["response", "load_duration", "prompt_eval_duration", "eval_duration"]) {
    assertEquals(scrape.value(`ollama_${name}_seconds_bucket`, { ...LABELS, le: "300" }), 1, name);
    assertEquals(scrape.value(`ollama_${name}_seconds_bucket`, { ...LABELS, le: "600" }), 2, name);
  }
  assertEquals(scrape.value("ollama_tokens_per_second_bucket", { ...LABELS, le: "500" }), 1);
  assertEquals(scrape.value("ollama_tokens_per_second_bucket", { ...LABELS, le: "1000" }), 2);
});

Deno.test("Metrics.observe() counts a request once by outcome, and records the duration of successful ones", async () => {
  for (const outcome of OUTCOMES) {
    const scrape = await scrapeOf([observationOf({ outcome, durationSeconds: 7, report: { model: "llama3.2" } })]);
    assertEquals(scrape.value("ollama_requests_total", LABELS), 1, outcome);
    assertEquals(scrape.value("ollama_request_outcomes_total", API_LABELS), 1, outcome);
    assertEquals(scrape.value("ollama_request_outcomes_total", { ...API_LABELS, outcome }), 1, outcome);
    const isOk = outcome === "ok";
    assertEquals(scrape.value("ollama_response_seconds_count", LABELS), isOk ? 1 : 0, outcome);
    assertEquals(scrape.value("ollama_response_seconds_sum", LABELS), isOk ? 7 : 0, outcome);
  }
});

Deno.test("Metrics.observe() counts the tokens of unsuccessful responses", async () => {
  const scrape = await scrapeOf([observationOf({ outcome: "client_closed", report: REPORT })]);
  assertEquals(scrape.value("ollama_tokens_generated_total", LABELS), 5);
  assertEquals(scrape.value("ollama_eval_duration_seconds_count", LABELS), 1);
});

/** The request, the model in its response, and the resulting label if only `known` was confirmed before. */
const MODEL_LABELS: [string, Partial<Observation>, answered: string | undefined, label: string][] = [
  ["the response names it", {}, "llama3.2", "llama3.2:latest"],
  ["the response and the request differ", { requestedModel: "known" }, "llama3.2", "llama3.2:latest"],
  ["a stream that failed", { outcome: "stream_error" }, "llama3.2", "llama3.2:latest"],
  ["only a successful request names it", { requestedModel: "new" }, undefined, "new:latest"],
  ["only a failed request names it", { requestedModel: "new", outcome: "client_error" }, undefined, "unknown"],
  [
    "a request whose client disconnected names it",
    { requestedModel: "new", outcome: "client_closed" },
    undefined,
    "unknown",
  ],
  [
    "a failed request names a confirmed one",
    { requestedModel: "KNOWN", outcome: "client_error" },
    undefined,
    "known:latest",
  ],
  ["an unreachable upstream", { requestedModel: "known", outcome: "upstream_unreachable" }, undefined, "known:latest"],
  ["neither names it", {}, undefined, "unknown"],
  ["the request's name is not valid", { requestedModel: "a\nb{}" }, undefined, "unknown"],
  ["the response's name is not valid", { requestedModel: "known" }, 'a" b', "unknown"],
];

Deno.test("Metrics.observe() labels requests with models that Ollama has confirmed", async () => {
  for (const [what, fields, model, label] of MODEL_LABELS) {
    const learnt = observationOf({ report: { model: "known" } });
    const scrape = await scrapeOf([learnt, observationOf({ ...fields, report: { model } })]);
    const labels = scrape.labelValues("model").filter((value) => value !== "known:latest" || label === value);
    assertEquals(labels, [label], what);
    assertEquals(scrape.value("ollama_requests_total", { model: label }), label === "known:latest" ? 2 : 1, what);
  }
});

Deno.test("Metrics.observe() adds no labels for 60 models that do not exist", async () => {
  const observations = Array.from(
    { length: 60 },
    (_, index) => observationOf({ requestedModel: `missing-${index}`, status: 404, outcome: "client_error" }),
  );
  const scrape = await scrapeOf(observations);
  assertEquals(scrape.labelValues("model"), ["unknown"]);
  assertEquals(scrape.value("ollama_requests_total", { model: "unknown" }), 60);
});

Deno.test("Metrics.observe() labels all models over the limit as `other`", async () => {
  const observations = Array.from({ length: 20 }, (_, index) => observationOf({ report: { model: `m${index}` } }));
  const scrape = await scrapeOf([...observations, ...observations], { modelLimit: 3 });
  assertEquals(scrape.labelValues("model"), ["m0:latest", "m1:latest", "m2:latest", "other"]);
  assertEquals(scrape.value("ollama_requests_total", { model: "other" }), 34);
  assertEquals(scrape.value("ollama_requests_total", { model: "m0:latest" }), 2);
});

/** Reported durations, and the resulting wait. */
const WAITS: [string, Partial<Report>, wait: number | undefined][] = [
  ["all durations", { totalSeconds: 10, loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 3 }, 4],
  ["nothing left", { totalSeconds: 6, loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 3 }, 0],
  ["parts longer than the whole", { totalSeconds: 1, loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 3 }, 0],
  ["a fully cached prompt", { totalSeconds: 10, loadSeconds: 1, evalSeconds: 3 }, 6],
  ["no load, as of a remote model", { totalSeconds: 10, promptEvalSeconds: 2, evalSeconds: 3 }, undefined],
  ["no total", { loadSeconds: 1, promptEvalSeconds: 2, evalSeconds: 3 }, undefined],
  ["an embedding", { totalSeconds: 10, loadSeconds: 1 }, undefined],
];

Deno.test("Metrics.observe() records the slot wait, which is what the other durations leave of the total", async () => {
  for (const [what, report, wait] of WAITS) {
    const scrape = await scrapeOf([observationOf({ report: { model: "llama3.2", ...report } })]);
    assertEquals(scrape.value("ollama_wait_duration_seconds_sum", LABELS), wait ?? 0, what);
    assertEquals(scrape.value("ollama_wait_duration_seconds_count", LABELS), wait === undefined ? 0 : 1, what);
  }
});

/** Observations, and the resulting speed in tokens per second. */
const SPEEDS: [string, Partial<Observation>, Partial<Report>, speed: number | undefined][] = [
  ["durations", {}, { outputTokens: 10, evalSeconds: 4 }, 2.5],
  ["durations and times", { firstOutputSeconds: 1, lastOutputSeconds: 2 }, { outputTokens: 10, evalSeconds: 4 }, 2.5],
  ["times only", { firstOutputSeconds: 1, lastOutputSeconds: 3 }, { outputTokens: 11 }, 5],
  [
    "times of a stream that broke off",
    { firstOutputSeconds: 1, lastOutputSeconds: 3, outcome: "upstream_broken" },
    {},
    undefined,
  ],
  ["one token", { firstOutputSeconds: 1, lastOutputSeconds: 1 }, { outputTokens: 1 }, undefined],
  ["one token, long ends", { firstOutputSeconds: 1, lastOutputSeconds: 9 }, { outputTokens: 1 }, undefined],
  ["all output at once", { firstOutputSeconds: 1, lastOutputSeconds: 1 }, { outputTokens: 11 }, undefined],
  ["no token count", { firstOutputSeconds: 1, lastOutputSeconds: 3 }, {}, undefined],
  ["no times, no durations", {}, { outputTokens: 11 }, undefined],
  ["no tokens", {}, { outputTokens: 0, evalSeconds: 4 }, undefined],
  ["no time", {}, { outputTokens: 10, evalSeconds: 0 }, undefined],
];

Deno.test("Metrics.observe() records the speed that the server reports, or that of a stream's output", async () => {
  for (const [what, fields, report, speed] of SPEEDS) {
    const scrape = await scrapeOf([observationOf({ ...fields, report: { model: "llama3.2", ...report } })]);
    assertEquals(scrape.value("ollama_tokens_per_second_sum", LABELS), speed ?? 0, what);
    const perToken = scrape.value("ollama_time_per_output_token_seconds_sum", API_LABELS);
    assertEquals(perToken, speed === undefined ? 0 : 1 / speed, what);
    const count = scrape.value("ollama_tokens_per_second_count", LABELS);
    assertEquals(count, speed === undefined ? 0 : 1, what);
  }
});

Deno.test("Metrics.observe() records no infinite speed", async () => {
  const report = { ...REPORT, outputTokens: 2 ** 52, evalSeconds: 1e-309 };
  const scrape = await scrapeOf([observationOf({ report })]);
  assertEquals(scrape.value("ollama_requests_total", LABELS), 1);
  assertEquals(scrape.value("ollama_tokens_per_second_count", LABELS), 0);
  assertEquals(scrape.value("ollama_http_requests_total"), 1);
});

Deno.test("Metrics.observe() records the time to first token of streams", async () => {
  const first = await scrapeOf([observationOf({ firstOutputSeconds: 0.25, report: { model: "llama3.2" } })]);
  assertEquals(first.value("ollama_time_to_first_token_seconds_sum", API_LABELS), 0.25);
  const none = await scrapeOf([observationOf({ report: { model: "llama3.2" } })]);
  assertEquals(none.value("ollama_time_to_first_token_seconds_count"), 0);
});

/** Responses, and whether their usage counts as missing. */
const USAGE: [string, Partial<Observation>, Partial<Report>, missing: number | undefined][] = [
  ["nothing", { usageExpected: true }, {}, 1],
  ["prompt tokens only", { usageExpected: true }, { promptTokens: 0 }, undefined],
  ["output tokens only", { usageExpected: true }, { outputTokens: 0 }, undefined],
  ["not expected", { usageExpected: false }, {}, undefined],
  ["not ok", { usageExpected: true, outcome: "incomplete" }, {}, undefined],
  ["cached tokens only", { usageExpected: true }, { cachedTokens: 3 }, 1],
];

Deno.test("Metrics.observe() counts successful responses that lack expected token counts", async () => {
  for (const [what, fields, report, missing] of USAGE) {
    const scrape = await scrapeOf([observationOf({ ...fields, report: { model: "llama3.2", ...report } })]);
    assertEquals(scrape.value("ollama_usage_missing_total", API_LABELS), missing ?? 0, what);
  }
});

Deno.test("Metrics.observe() distinguishes absent figures from 0", async () => {
  const zero = { model: "llama3.2", promptTokens: 0, cachedTokens: 0, outputTokens: 0, toolCalls: 0, loadSeconds: 0 };
  const [absent, present] = [
    await scrapeOf([observationOf({ report: { model: "llama3.2" } })]),
    await scrapeOf([observationOf({ report: zero })]),
  ];
  const names = ["load_duration_seconds", "request_prompt_tokens", "request_generated_tokens"];
  for (const name of names) {
    const counts = [absent, present].map((scrape) => scrape.value(`ollama_${name}_count`, LABELS));
    assertEquals(counts, [0, 1], name);
  }
});

Deno.test("Metrics.observe() counts finish reasons and tool calls by model and API", async () => {
  const observations = FINISH_REASONS.map((finishReason) =>
    observationOf({ api: "openai_chat", report: { model: "llama3.2", finishReason, toolCalls: 2 } })
  );
  const scrape = await scrapeOf(observations);
  const labels = { ...LABELS, api: "openai_chat" };
  for (const reason of FINISH_REASONS) {
    assertEquals(scrape.value("ollama_finish_reasons_total", { ...labels, reason }), 1, reason);
  }
  assertEquals(scrape.value("ollama_tool_calls_total", labels), 2 * FINISH_REASONS.length);
});

Deno.test("Metrics.observe() counts all requests by route, method and status, and their bytes", async () => {
  const fields = { api: undefined, route: "/api/tags", method: "GET", status: 200, durationSeconds: 0.5 };
  const scrape = await scrapeOf([
    observationOf({ ...fields, requestBytes: 3, responseBytes: 40 }),
    observationOf({ ...fields, requestBytes: 4, responseBytes: 2 }),
    observationOf({ ...fields, method: "FROBNICATE", status: 405 }),
    observationOf({ ...fields, method: "get\n", status: 405 }),
  ]);
  const route = { route: "/api/tags" };
  assertEquals(scrape.value("ollama_http_requests_total", { ...route, method: "GET", code: "200" }), 2);
  assertEquals(scrape.value("ollama_http_requests_total", { ...route, method: "other", code: "405" }), 2);
  assertEquals(scrape.value("ollama_http_request_duration_seconds_sum", route), 2);
  assertEquals(scrape.value("ollama_http_request_bytes_total", route), 7);
  assertEquals(scrape.value("ollama_http_response_bytes_total", route), 42);
  assertEquals(scrape.value("ollama_requests_total"), undefined, "requests that are not measured do not count");
  assertEquals(scrape.labelValues("model"), []);
});

Deno.test("Metrics.observe() counts transfers by operation and outcome, and their bytes", async () => {
  const fields = { api: undefined, route: "/api/pull", operation: "pull" } as const;
  const scrape = await scrapeOf([
    observationOf({ ...fields, report: { transferBytes: 100 } }),
    observationOf({ ...fields, outcome: "stream_error", report: { transferBytes: 7 } }),
    observationOf({ ...fields, outcome: "client_error" }),
  ]);
  assertEquals(scrape.value("ollama_transfers_total", { operation: "pull", outcome: "ok" }), 1);
  assertEquals(scrape.value("ollama_transfers_total", { operation: "pull" }), 3);
  assertEquals(scrape.value("ollama_transfer_bytes_total", { operation: "pull" }), 107);
  assertEquals(scrape.value("ollama_requests_total"), undefined);
});

Deno.test("Metrics.observe() counts the tokens of unknown APIs, but not their requests", async () => {
  const report = { model: "llama3.2", promptTokens: 3, outputTokens: 4 };
  const scrape = await scrapeOf([observationOf({ api: undefined, route: "other", report })]);
  assertEquals(scrape.value("ollama_tokens_processed_total", LABELS), 3);
  assertEquals(scrape.value("ollama_tokens_generated_total", LABELS), 4);
  assertEquals(scrape.value("ollama_requests_total"), 0);
});

Deno.test("Metrics.observe() counts parse errors by API or operation, and upstream errors by reason", async () => {
  const parseErrors = { invalid_json: 2, too_long: 1 };
  const scrape = await scrapeOf([
    observationOf({ parseErrors }),
    observationOf({ api: undefined, operation: "pull", parseErrors }),
    observationOf({ api: undefined, route: "other", parseErrors }),
    observationOf({ upstreamError: "reset", outcome: "upstream_broken" }),
  ]);
  for (const api of ["chat", "pull", "other"]) {
    const value = (reason: string): number | undefined =>
      scrape.value("ollama_exporter_parse_errors_total", { api, reason });
    assertEquals([value("invalid_json"), value("too_long"), value("invalid_value")], [2, 1, 0], api);
  }
  assertEquals(scrape.value("ollama_exporter_upstream_errors_total", { reason: "reset" }), 1);
  assertEquals(scrape.value("ollama_exporter_upstream_errors_total"), 1);
});

Deno.test("Metrics initializes the label sets that are known in advance to 0", async () => {
  const scrape = await scrapeOf([]);
  for (const reason of UPSTREAM_ERRORS) {
    assertEquals(scrape.value("ollama_exporter_upstream_errors_total", { reason }), 0, reason);
  }
  for (const reason of PARSE_ERRORS) {
    for (const api of [...APIS, ...OPERATIONS, "other"]) {
      assertEquals(scrape.value("ollama_exporter_parse_errors_total", { api, reason }), 0, `${api} ${reason}`);
    }
  }
  for (const operation of OPERATIONS) {
    assertEquals(scrape.value("ollama_transfer_bytes_total", { operation }), 0, operation);
    for (const outcome of OUTCOMES) {
      assertEquals(scrape.value("ollama_transfers_total", { operation, outcome }), 0, `${operation} ${outcome}`);
    }
  }
  assertEquals(scrape.value("ollama_exporter_internal_errors_total"), 0);
  assertEquals(scrape.labelValues("model"), [], "models are not known in advance");
});

Deno.test("Metrics.internalError() increments the counter", async () => {
  const metrics = metricsOf([]);
  metrics.internalError();
  metrics.internalError();
  assertEquals((await scrape(metrics)).value("ollama_exporter_internal_errors_total"), 2);
});
