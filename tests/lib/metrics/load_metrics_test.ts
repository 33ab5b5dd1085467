/** Series of loads and of streams at once: their labels, their start at 0, and where they are absent. */

import { assertEquals } from "@std/assert";
import { Generating } from "../../../lib/analysis/generating.ts";
import { LOAD_CAUSES, type OpenRequest } from "../../../lib/observation.ts";
import type { LoadedModel } from "../../../lib/ollama/state.ts";
import { observationOf, stateOf } from "../../support/fixtures.ts";
import { LABELS, metricsOf, scrape, scrapeOf } from "../../support/metrics_scrape.ts";

function loaded(name: string, contextTokens: number): LoadedModel {
  return {
    name,
    contextTokens,
    ...{ sizeBytes: undefined, vramBytes: undefined, expiresAtSeconds: undefined, runners: [] },
  };
}

/** Lines of a metric. */
function linesOf(text: string, name: string): string[] {
  return text.split("\n").filter((line) => line.startsWith(`${name}{`));
}

Deno.test("LoadMetrics counts loads by cause, and starts all causes at 0 for the APIs that report loads", async () => {
  const load = observationOf({ report: { model: "llama3.2", loadSeconds: 1 } });
  const counts = async (seconds: number[]): Promise<(number | undefined)[]> => {
    const observations = seconds.map((at) => ({ ...load, arrivedAt: at * 1000 }));
    const now = await scrapeOf(observations);
    return LOAD_CAUSES.map((cause) => now.value("ollama_model_loads_total", { ...LABELS, cause }));
  };
  assertEquals(await counts([0]), [1, 0, 0]);
  assertEquals(await counts([0, 0.5, 100, 1000]), [2, 0, 1]);
  for (const api of ["openai_chat", "embeddings", "anthropic_messages"] as const) {
    const now = await scrapeOf([observationOf({ api, report: { model: "llama3.2" } })]);
    assertEquals(linesOf(now.text, "ollama_model_loads_total"), [], api);
  }
});

Deno.test("LoadMetrics counts a load in the exposition whose state shows its cause", async () => {
  const metrics = metricsOf([]);
  await metrics.expose("text", stateOf({ at: 1000, loaded: [loaded("llama3.2", 4096)] }));
  const options = { contextTokens: 8192, keepTokens: undefined };
  const load = observationOf({ arrivedAt: 5000, options, report: { model: "llama3.2", loadSeconds: 1 } });
  metrics.observe(load);
  const state = stateOf({ at: 9000, loaded: [loaded("llama3.2", 8192)] });
  for (let scrape = 0; scrape < 2; scrape++) {
    assertEquals(linesOf(await metrics.expose("text", state), "ollama_model_loads_total"), [
      'ollama_model_loads_total{model="llama3.2:latest",cause="cold"} 0',
      'ollama_model_loads_total{model="llama3.2:latest",cause="context_changed"} 1',
      'ollama_model_loads_total{model="llama3.2:latest",cause="other"} 0',
    ]);
  }
});

Deno.test("LoadMetrics sums the loads of models over the limit as other", async () => {
  const loads = ["a", "b", "c"].map((model) => observationOf({ report: { model, loadSeconds: 2 } }));
  const now = await scrapeOf(loads, { modelLimit: 1 });
  assertEquals(now.value("ollama_model_loads_total", { model: "a:latest", cause: "cold" }), 1);
  assertEquals(now.value("ollama_model_loads_total", { model: "other", cause: "cold" }), 2);
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
