/** Series with a `model` label start at 0, early enough for `increase()`, and go away together. */

import { assertEquals } from "@std/assert";
import { type Api, APIS, FINISH_REASONS, type OpenRequest, OUTCOMES, OVERFLOWS } from "../../../lib/observation.ts";
import type { Metrics } from "../../../lib/metrics/request_metrics.ts";
import type { LoadedModel, ServerState } from "../../../lib/ollama/state.ts";
import { observationOf, stateOf } from "../../support/fixtures.ts";
import { LABELS, metricsOf } from "../../support/metrics_scrape.ts";
import { TestClock } from "../../support/test_clock.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Counters whose only label is `model`. */
const MODEL_COUNTERS = [
  "ollama_requests_total",
  "ollama_tokens_cached_total",
  "ollama_tokens_generated_total",
  "ollama_tokens_processed_total",
];
const API_COUNTERS = [
  "ollama_abandoned_output_messages_total",
  "ollama_abandoned_seconds_total",
  ...FINISH_REASONS.map(() => "ollama_finish_reasons_total"),
  ...OVERFLOWS.map(() => "ollama_prompt_overflows_total"),
  ...OUTCOMES.map(() => "ollama_request_outcomes_total"),
  "ollama_requests_in_flight",
  "ollama_requests_waiting",
  "ollama_tool_calls_total",
  "ollama_usage_missing_total",
];

function installed(...names: string[]): Partial<ServerState> {
  return { installed: names.map((name) => ({ name, sizeBytes: undefined })) };
}

function loaded(...names: string[]): Partial<ServerState> {
  const unknown = { sizeBytes: undefined, vramBytes: undefined, contextTokens: undefined, expiresAtSeconds: undefined };
  return { loaded: names.map((name): LoadedModel => ({ name, ...unknown, runners: [] })) };
}

/** Exposes a state. Returns the values by series, those of one model. */
async function seriesOf(metrics: Metrics, model: string, state: Partial<ServerState>): Promise<Map<string, number>> {
  const text = await metrics.expose("text", stateOf({ at: performance.now(), ...state }));
  const lines = text.split("\n").filter((line) => line.includes(`model="${model}"`));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

/** Names of metrics, without buckets. */
function names(series: ReadonlyMap<string, number>, filter = ""): string[] {
  return [...series.keys()].filter((key) => key.includes(filter) && !/_(bucket|sum)\{/.test(key))
    .map((key) => key.replace(/\{.*/, "")).sort();
}

function openRequest(api: Api, model: string): OpenRequest {
  return { api, model, client: undefined, waiting: true };
}

Deno.test("Metrics.expose() starts the counters with `model` alone at 0 for each listed model with a label", async () => {
  const metrics = metricsOf([], { modelLimit: 2 });
  const state = installed("a", "b", "c", "d");
  for (const model of ["a:latest", "b:latest", "other"]) {
    const series = await seriesOf(metrics, model, state);
    assertEquals(names(series), MODEL_COUNTERS, model);
    assertEquals(new Set(series.values()), new Set([0]), model);
  }
  assertEquals(await seriesOf(metrics, "c:latest", state), new Map());
});

Deno.test("Metrics.expose() starts everything that an API can fill at 0 when its request arrives", async () => {
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([], { openRequests });
  openRequests.add(openRequest("chat", "llama3.2"));
  const series = await seriesOf(metrics, LABELS.model, installed("llama3.2"));
  assertEquals([...series].filter(([, value]) => value !== 0), [
    [`ollama_requests_in_flight{model="llama3.2:latest",api="chat"}`, 1],
    [`ollama_requests_waiting{model="llama3.2:latest",api="chat"}`, 1],
  ]);
  const histograms = [...series.keys()].filter((key) => /_count\{/.test(key)).map((key) => key.replace(/_count.*/, ""));
  assertEquals(histograms.length, 11);
  openRequests.clear();
  const before = new Set(series.keys());
  // A response with all figures adds no series.
  metrics.observe(observationOf({
    firstOutputSeconds: 1,
    lastOutputSeconds: 2,
    usageExpected: true,
    report: {
      ...{ model: "llama3.2", finishReason: "stop", promptTokens: 26, outputTokens: 5, cachedTokens: 1, toolCalls: 1 },
      ...{ totalSeconds: 4, loadSeconds: 1, promptEvalSeconds: 0.5, evalSeconds: 2 },
    },
  }));
  for (const overflow of OVERFLOWS) {
    metrics.observeContext({
      model: "llama3.2",
      api: "chat",
      usedRatio: overflow === "truncated" ? 1 : undefined,
      overflow,
    });
  }
  const after = await seriesOf(metrics, LABELS.model, {});
  assertEquals(new Set(after.keys()), before);
  for (const name of histograms) assertEquals(after.get(`${name}_count{model="llama3.2:latest"}`) ?? 1, 1, name);
});

Deno.test("Metrics keeps what has been observed when another API starts the same series", async () => {
  const metrics = metricsOf([
    observationOf({ api: "openai_chat", durationSeconds: 7, report: { model: "llama3.2", promptTokens: 3 } }),
    observationOf({ api: "chat", durationSeconds: 2, report: { model: "llama3.2", promptTokens: 4, loadSeconds: 1 } }),
    observationOf({ api: "generate", durationSeconds: 1, report: { model: "llama3.2" } }),
  ]);
  const series = await seriesOf(metrics, LABELS.model, {});
  const value = (name: string): number | undefined => series.get(`ollama_${name}{model="llama3.2:latest"}`);
  assertEquals(["response_seconds_sum", "request_prompt_tokens_sum", "load_duration_seconds_count"].map(value), [
    10,
    7,
    1,
  ]);
  // A route that is not measured reports tokens before the model has been used by any API.
  const early = metricsOf([
    observationOf({ api: undefined, route: "other", report: { model: "llama3.2", promptTokens: 3 } }),
    observationOf({ report: { model: "llama3.2", promptTokens: 4 } }),
  ]);
  const tokens = await seriesOf(early, LABELS.model, {});
  assertEquals(tokens.get('ollama_request_prompt_tokens_sum{model="llama3.2:latest"}'), 7);
});

Deno.test("Metrics.expose() starts the counters of an API in use for each model that is loaded or used", async () => {
  const openRequests = new Set<OpenRequest>([openRequest("chat", "used")]);
  const metrics = metricsOf([observationOf({ api: "embed", report: { model: "used" } })], { openRequests });
  const state = { ...installed("used", "loaded", "idle"), ...loaded("loaded") };
  const series = await seriesOf(metrics, "loaded:latest", state);
  assertEquals(names(series, 'api="chat"'), API_COUNTERS);
  assertEquals(names(series, 'api="embed"').length, OUTCOMES.length + 4);
  assertEquals(names(series, 'api="generate"'), []);
  assertEquals(new Set(series.values()), new Set([0]));
  assertEquals(names(await seriesOf(metrics, "idle:latest", state)), MODEL_COUNTERS);
  assertEquals(names(await seriesOf(metrics, "used:latest", state), 'api="chat"').length, API_COUNTERS.length + 2);
});

Deno.test("Metrics starts no histograms for requests whose model is not known", async () => {
  const openRequests = new Set<OpenRequest>([openRequest("chat", "missing")]);
  const series = await seriesOf(metricsOf([], { openRequests }), "unknown", {});
  assertEquals(names(series, 'api="chat"'), API_COUNTERS);
  assertEquals([...series.keys()].filter((key) => key.includes("_bucket")), []);
});

Deno.test("Metrics starts no series for an API that a response of this API does not fill", async () => {
  const absent: Partial<Record<Api, string[]>> = {
    embed: ["eval_duration", "generated_tokens", "first_token", "finish_reasons", "tool_calls", "wait_duration"],
    embeddings: ["load_duration", "prompt_tokens", "usage_missing"],
    openai_chat: ["load_duration", "wait_duration"],
    openai_transcriptions: ["prompt_tokens", "usage_missing", "first_token"],
    anthropic_messages: ["load_duration", "wait_duration", "prompt_eval_duration", "{eval_duration"],
  };
  for (const api of APIS) {
    const series = await seriesOf(metricsOf([observationOf({ api, report: { model: "llama3.2" } })]), LABELS.model, {});
    const found = [...series.keys()].filter((key) => absent[api]?.some((part) => key.includes(part)));
    assertEquals(found, [], api);
  }
});

Deno.test("Metrics removes all series of a model whose label goes to another, gauges and histograms too", async () => {
  using clock = new TestClock();
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([], { modelLimit: 1, openRequests });
  for (const api of APIS) {
    openRequests.add(openRequest(api, "old"));
    for (const outcome of OUTCOMES) {
      for (const finishReason of FINISH_REASONS) {
        metrics.observe(observationOf({
          api,
          outcome,
          firstOutputSeconds: 1,
          lastOutputSeconds: 2,
          traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
          report: { model: "old", finishReason, promptTokens: 1, outputTokens: 5, cachedTokens: 1, toolCalls: 1 },
        }));
      }
    }
  }
  const before = await seriesOf(metrics, "old:latest", {});
  assertEquals(names(before).includes("ollama_requests_in_flight"), true);
  clock.now += 2 * DAY_MS;
  const fresh = observationOf({ report: { model: "new" } });
  metrics.observe(fresh);
  assertEquals(
    (await seriesOf(metrics, "other", {})).get('ollama_requests_total{model="other"}'),
    1,
    "it is in flight",
  );
  clock.now += 2 * DAY_MS;
  openRequests.clear();
  metrics.observe(fresh);
  assertEquals(await seriesOf(metrics, "old:latest", {}), new Map());
  assertEquals((await metrics.expose("openMetrics", stateOf({}))).match(/model="old:latest"/g), null);
  assertEquals((await seriesOf(metrics, "new:latest", {})).get('ollama_requests_total{model="new:latest"}'), 1);
  // It begins again at 0.
  clock.now += 2 * DAY_MS;
  metrics.observe(observationOf({ durationSeconds: 3, report: { model: "old" } }));
  const again = await seriesOf(metrics, "old:latest", {});
  assertEquals(again.get('ollama_requests_total{model="old:latest"}'), 1);
  assertEquals(again.get('ollama_response_seconds_sum{model="old:latest"}'), 3);
  assertEquals(again.get('ollama_request_prompt_tokens_count{model="old:latest"}'), 0);
});
