/** Findings about the context of requests in the exposition. */

import { assertEquals } from "@std/assert";
import type { ContextFinding } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { API_LABELS, LABELS, metricsOf, scrape } from "../../support/metrics_scrape.ts";

const FOUND: ContextFinding = { model: "llama3.2", api: "chat", usedRatio: 0.3, overflow: undefined };

Deno.test("Metrics.observeContext() records ratios and overflows under the label of the model", async () => {
  const metrics = metricsOf([observationOf({ report: { model: "llama3.2" } })]);
  metrics.observeContext(FOUND);
  metrics.observeContext({ ...FOUND, usedRatio: 1, overflow: "truncated" });
  metrics.observeContext({ ...FOUND, usedRatio: 1.5 });
  metrics.observeContext({ ...FOUND, model: "LLAMA3.2:latest", usedRatio: undefined, overflow: "rejected" });
  const found = await scrape(metrics);
  const buckets = [0.25, 0.5, 0.95, 1, "+Inf"].map((le) =>
    found.value("ollama_context_used_ratio_bucket", { ...LABELS, le: String(le) })
  );
  assertEquals(buckets, [0, 1, 1, 2, 3]);
  assertEquals(found.value("ollama_context_used_ratio_sum", LABELS), 2.8);
  const kinds = ["truncated", "rejected"].map((kind) =>
    found.value("ollama_prompt_overflows_total", { ...API_LABELS, kind })
  );
  assertEquals(kinds, [1, 1]);
});

Deno.test("Metrics.observeContext() adds no label for a model that has none", async () => {
  const metrics = metricsOf([observationOf({ report: { model: "first" } })], { modelLimit: 1 });
  const before = (await scrape(metrics)).labelValues("model");
  for (const model of [undefined, "made up", "first"]) {
    metrics.observeContext({ ...FOUND, model, usedRatio: undefined, overflow: "rejected" });
  }
  const found = await scrape(metrics);
  assertEquals(before, ["first:latest"]);
  assertEquals(found.labelValues("model"), ["first:latest", "unknown"]);
  assertEquals(found.value("ollama_prompt_overflows_total", { model: "unknown", kind: "rejected" }), 2);
});

Deno.test("Metrics.observeContext() records a model over the limit as other, as its requests are", async () => {
  const observations = ["first", "second"].map((model) => observationOf({ report: { model } }));
  const metrics = metricsOf(observations, { modelLimit: 1 });
  metrics.observeContext({ ...FOUND, model: "second" });
  const found = await scrape(metrics);
  assertEquals(found.value("ollama_requests_total", { model: "other" }), 1);
  assertEquals(found.value("ollama_context_used_ratio_count", { model: "other" }), 1);
  assertEquals(found.labelValues("model"), ["first:latest", "other"]);
});
