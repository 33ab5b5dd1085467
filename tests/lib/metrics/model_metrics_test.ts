/** The table of metrics that an API can fill agrees with what is read of its responses. */

import { assert, assertEquals } from "@std/assert";
import { ModelMetrics } from "../../../lib/metrics/model_metrics.ts";
import { Metrics } from "../../../lib/metrics/request_metrics.ts";
import { type Api, emptyReport, type OpenRequest, OVERFLOWS, type Report } from "../../../lib/observation.ts";
import { ENDPOINTS } from "../../../lib/reading/endpoints.ts";
import { observationOf, stateOf } from "../../support/fixtures.ts";
import { Scrape } from "../../support/helpers.ts";

/** A report with every field, as that of a native response. */
const FULL = {
  ...emptyReport(),
  model: "m",
  finishReason: "stop",
  promptTokens: 26,
  cachedTokens: 20,
  outputTokens: 5,
  toolCalls: 2,
  totalSeconds: 4,
  loadSeconds: 1,
  promptEvalSeconds: 0.5,
  evalSeconds: 2,
} as const satisfies Report;

/** Names and labels of all series of a model. */
function seriesOf(text: string): string[] {
  return text.split("\n").filter((line) => line.includes('model="m:latest"')).map((line) => line.split(" ")[0] ?? "")
    .sort();
}

for (const { api, route, dialect = {}, hasUsage = false } of ENDPOINTS) {
  if (api === undefined) continue;
  Deno.test(`ModelMetrics lists what a response of ${route} can fill, no more and no less`, async () => {
    const openRequests = new Set<OpenRequest>([{ api, model: "m", client: undefined, waiting: true }]);
    const metrics = new Metrics({ modelLimit: 1, openRequests });
    const installed = [{ name: "m", sizeBytes: undefined }];
    const before = seriesOf(await metrics.expose("text", stateOf({ installed })));
    assert(before.length > 20, String(before));

    // What is read of its responses; `/api/embeddings` has the dialect of `/api/embed`, and no figures.
    const fields = Object.entries(FULL).filter(([field]) => field === "model" || hasUsage && field in dialect);
    const times = "output" in dialect ? { firstOutputSeconds: 1, lastOutputSeconds: 2 } : {};
    metrics.observe(observationOf({ api, usageExpected: hasUsage, ...times, report: Object.fromEntries(fields) }));
    metrics.observe(observationOf({ api, usageExpected: hasUsage, report: { model: "m" } }));
    const overflows = "output" in dialect ? OVERFLOWS : ["rejected"] as const;
    for (const overflow of "model" in dialect ? overflows : []) {
      metrics.observeContext({ model: "m", api, usedRatio: "output" in dialect ? 1 : undefined, overflow });
    }
    metrics.observe(
      observationOf({ api, outcome: "client_closed", ...times, outputMessages: 3, report: { model: "m" } }),
    );
    const { text } = new Scrape(await metrics.expose("text", stateOf({})));
    assertEquals(seriesOf(text), before);

    const scrape = new Scrape(text);
    const families = new Set(
      before.filter((series) => /api=|_count/.test(series)).map((series) =>
        series.replace(/{.*/, "").replace(/_(bucket|sum)$/, "_count")
      ),
    );
    for (const name of families) {
      assert((scrape.value(name, { model: "m:latest" }) ?? 0) > 0, `${name} is never filled`);
    }
  });
}

Deno.test("ModelMetrics has each metric with the label `model` in its table once", () => {
  const { registry, modelCounters, apiCounters, histograms } = new ModelMetrics();
  const rows = [...modelCounters, ...apiCounters, ...histograms];
  const metrics = new Set(rows.map(({ metric }) => metric));
  assertEquals(metrics.size, rows.length);
  const declared = registry.declarations.filter(({ labels }) => labels.includes("model"));
  assertEquals(rows.length, declared.length);
  const names = new Set(
    rows.flatMap(({ labelSets }) => labelSets("m", "chat" as Api).map((set) => Object.keys(set).join())),
  );
  assertEquals(names, new Set(declared.map(({ labels }) => labels.join())));
});
