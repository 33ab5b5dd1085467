/** Gauges of requests in flight, and expositions after unusual figures. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type OpenRequest, OUTCOMES } from "../../../lib/observation.ts";
import { endpointOf } from "../../../lib/reading/endpoints.ts";
import { answerOf, dialectOf } from "../../support/dialect_reading.ts";
import { observationOf, random, stateOf } from "../../support/fixtures.ts";
import { API_LABELS, LABELS, metricsOf, scrape, scrapeOf } from "../../support/metrics_scrape.ts";

Deno.test("Metrics.expose() counts the requests in flight, and their gauges return to 0", async () => {
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf([observationOf({ report: { model: "llama3.2" } })], { openRequests });
  const values = async (labels: Record<string, string>): Promise<(number | undefined)[]> => {
    const now = await scrape(metrics);
    return ["in_flight", "waiting"].map((name) => now.value(`ollama_requests_${name}`, labels));
  };
  assertEquals(await values(API_LABELS), [0, 0]);

  const known: OpenRequest = { api: "chat", model: "llama3.2", client: undefined, waiting: true };
  const missing: OpenRequest = { api: "chat", model: "missing", client: undefined, waiting: true };
  openRequests.add(known).add(missing);
  assertEquals(await values(API_LABELS), [1, 1]);
  assertEquals(await values({ model: "unknown", api: "chat" }), [1, 1]);
  assertEquals((await scrape(metrics)).labelValues("model"), ["llama3.2:latest", "unknown"]);

  known.waiting = false;
  openRequests.add({ api: "chat", model: "LLAMA3.2:latest", client: undefined, waiting: true });
  assertEquals(await values(API_LABELS), [2, 1]);
  openRequests.clear();
  assertEquals(await values(API_LABELS), [0, 0]);
  assertEquals(await values({ model: "unknown", api: "chat" }), [0, 0]);
});

Deno.test("Metrics.expose() labels a request in flight with a model that the server lists", async () => {
  const openRequests = new Set<OpenRequest>([
    { api: "chat", model: "loaded", client: undefined, waiting: true },
    { api: "chat", model: "missing", client: undefined, waiting: true },
  ]);
  const metrics = metricsOf([], { openRequests });
  const installed = [{ name: "loaded", sizeBytes: undefined }];
  const text = await metrics.expose("text", stateOf({ installed }));
  assertEquals(text.match(/^ollama_requests_in_flight.*$/gm), [
    'ollama_requests_in_flight{model="loaded:latest",api="chat"} 1',
    'ollama_requests_in_flight{model="unknown",api="chat"} 1',
  ]);
});

Deno.test("Metrics.expose() labels a request in flight with its model as soon as it is known", async () => {
  const open: { -readonly [Key in keyof OpenRequest]: OpenRequest[Key] } = {
    api: "chat",
    model: undefined,
    client: undefined,
    waiting: true,
  };
  const metrics = metricsOf([observationOf({ report: { model: "llama3.2" } })], { openRequests: new Set([open]) });
  assertEquals((await scrape(metrics)).value("ollama_requests_waiting", { model: "unknown" }), 1);
  open.model = "llama3.2";
  const later = await scrape(metrics);
  assertEquals(later.value("ollama_requests_waiting", { model: "unknown" }), 0);
  assertEquals(later.value("ollama_requests_waiting", LABELS), 1);
});

Deno.test("Metrics.expose() never renders NaN, infinity or a negative number, whatever the upstream reports", async () => {
  const next = random(7);
  const numbers = [0, -0, 1, 26, 1e-300, 5e-324, 1.5, 2 ** 53 - 1, 2 ** 53, 1e308, -1, -1e308, "7", null, {}, []];
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const metrics = metricsOf([]);
  for (let run = 0; run < 2000; run++) {
    const api = pick(["/api/chat", "/api/embed", "/v1/chat/completions", "/v1/messages", "/v1/responses"]);
    const endpoint = endpointOf("POST", api);
    const fields = [
      ...["prompt_eval_count", "eval_count", "total_duration", "load_duration", "eval_duration"],
      ...["prompt_eval_duration", "prompt_eval_cached_count"],
    ];
    const usage = { prompt_tokens: pick(numbers), completion_tokens: pick(numbers), input_tokens: pick(numbers) };
    const message = {
      model: pick(["llama3.2", "m", "\n", 7]),
      ...Object.fromEntries(fields.map((field) => [field, pick(numbers)])),
      usage: { ...usage, output_tokens: pick(numbers), cache_read_input_tokens: pick(numbers) },
      timings: { prompt_ms: pick(numbers), predicted_ms: pick(numbers) },
    };
    const { report, parseErrors } = await answerOf(dialectOf(api), [message]);
    const outcome = pick(OUTCOMES);
    const firstOutputSeconds = pick([undefined, 0, 0.1]);
    const lastOutputSeconds = firstOutputSeconds === undefined ? undefined : firstOutputSeconds + pick([0, 1e-12, 5]);
    const times = { durationSeconds: pick([0, 1e-9, 5, 1e6]), firstOutputSeconds, lastOutputSeconds };
    metrics.observe(observationOf({ api: endpoint.api, outcome, ...times, report, parseErrors }));
  }
  const { text } = await scrape(metrics);
  let samples = 0;
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    samples++;
    const value = Number(line.slice(line.lastIndexOf(" ") + 1));
    assert(Number.isFinite(value) && value >= 0, line);
  }
  assert(samples > 300);
});

Deno.test("Metrics.expose() renders cumulative histogram buckets", async () => {
  const observations = [0.01, 0.3, 5, 50, 5000].map((seconds) =>
    observationOf({ durationSeconds: seconds, report: { model: "llama3.2" } })
  );
  const scrape = await scrapeOf(observations);
  const bucket = (le: string): number | undefined => scrape.value("ollama_response_seconds_bucket", { ...LABELS, le });
  assertEquals(["0.05", "0.5", "5", "60", "600", "+Inf"].map(bucket), [1, 2, 3, 4, 4, 5]);
  assertEquals(scrape.value("ollama_response_seconds_count", LABELS), 5);
  assertAlmostEquals(scrape.value("ollama_response_seconds_sum", LABELS) ?? 0, 5055.31);
});
