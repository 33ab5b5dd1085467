/** Series of loads and of streams at once: their labels, their start at 0, and where they are absent. */

import { assertEquals } from "@std/assert";
import { Generating } from "../../../lib/analysis/generating.ts";
import { LOAD_CAUSES, type OpenRequest } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { metricsOf, scrape, scrapeOf } from "../../support/metrics_scrape.ts";

/** Lines of a metric. */
function linesOf(text: string, name: string): string[] {
  return text.split("\n").filter((line) => line.startsWith(`${name}{`));
}

Deno.test("Metrics.observeLoad() counts loads by cause; all causes start at 0 for the APIs that report loads", async () => {
  const metrics = metricsOf([observationOf({ report: { model: "llama3.2" } })]);
  const counts = async (): Promise<string[]> => linesOf((await scrape(metrics)).text, "ollama_model_loads_total");
  const expected = (cold: number, changed: number, other: number): string[] => [
    `ollama_model_loads_total{model="llama3.2:latest",cause="cold"} ${cold}`,
    `ollama_model_loads_total{model="llama3.2:latest",cause="context_changed"} ${changed}`,
    `ollama_model_loads_total{model="llama3.2:latest",cause="other"} ${other}`,
  ];
  assertEquals(await counts(), expected(0, 0, 0));
  for (const cause of [...LOAD_CAUSES, "context_changed"] as const) metrics.observeLoad({ model: "LLAMA3.2", cause });
  assertEquals(await counts(), expected(1, 2, 1));
  for (const api of ["openai_chat", "embeddings", "anthropic_messages"] as const) {
    const now = await scrapeOf([observationOf({ api, report: { model: "llama3.2" } })]);
    assertEquals(linesOf(now.text, "ollama_model_loads_total"), [], api);
  }
});

Deno.test("Metrics.observeLoad() sums the loads of models over the limit as other, listed or not", async () => {
  const metrics = metricsOf(["a", "b"].map((model) => observationOf({ report: { model } })), { modelLimit: 1 });
  for (const model of ["a", "b", "c"]) metrics.observeLoad({ model, cause: "cold" });
  const now = await scrape(metrics);
  assertEquals(now.value("ollama_model_loads_total", { model: "a:latest", cause: "cold" }), 1);
  assertEquals(now.value("ollama_model_loads_total", { model: "other", cause: "cold" }), 2);
  assertEquals(now.labelValues("model"), ["a:latest", "other"]);
});

Deno.test("declareGenerating() exposes the maximum of each used model, 0 without streams, none of other and unknown", async () => {
  let now = 0;
  const generating = new Generating(() => now);
  const openRequests = new Set<OpenRequest>();
  const metrics = metricsOf(
    ["a", "b", "c"].map((model) => observationOf({ report: { model } })),
    { modelLimit: 2, openRequests, streams: generating },
  );
  const lines = async (): Promise<string[]> => linesOf((await scrape(metrics)).text, "ollama_requests_generating_max");
  assertEquals(await lines(), [
    'ollama_requests_generating_max{model="a:latest"} 0',
    'ollama_requests_generating_max{model="b:latest"} 0',
  ]);
  for (const model of ["a", "A:latest", "c", "missing"]) {
    const open: OpenRequest = { api: "chat", model, client: undefined, waiting: false };
    openRequests.add(open);
    generating.add(open);
  }
  const expected = [
    'ollama_requests_generating_max{model="a:latest"} 2',
    'ollama_requests_generating_max{model="b:latest"} 0',
  ];
  assertEquals([await lines(), await lines()], [expected, expected]);
  for (const open of openRequests) generating.delete(open);
  now = 59_000;
  assertEquals(await lines(), expected);
  now = 60_000;
  assertEquals(await lines(), expected.map((line) => line.replace(/2$/, "0")));
});
