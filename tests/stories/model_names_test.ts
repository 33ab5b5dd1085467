/** The names of models in labels are known before the first scrape, and belong to the models in use. */

import { assertEquals } from "@std/assert";
import { DEFAULT_MODELS, type FakeModel, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, startExporter, type TestExporter, until } from "../support/helpers.ts";
import { TestClock } from "../support/test_clock.ts";

const MINUTE_MS = 60_000;

/** The number of times that Ollama was asked for its models. */
function listings(fake: FakeOllama): number {
  return fake.requests.filter(({ path }) => path === "/api/tags").length;
}

/** Waits until the exporter has the lists of models. */
async function discover(exporter: TestExporter): Promise<void> {
  exporter.discoverModels();
  await until(() => exporter.ollama.lastState?.installed !== undefined, "the lists have arrived");
}

async function failWith(exporter: TestExporter, model: string): Promise<void> {
  const seen = exporter.observations.length;
  await (await exporter.post("/api/chat", { ...CHAT, model })).text();
  await exporter.observation(seen + 1);
}

function installed(name: string): FakeModel {
  return { ...DEFAULT_MODELS[1] as FakeModel, name };
}

Deno.test("createExporter() labels the failure of an installed model with its name before the first scrape", async () => {
  await using fake = await startFakeOllama({ status: 500 });
  await using exporter = startExporter(fake);
  await discover(exporter);
  await failWith(exporter, "qwen3");
  const scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_requests_total", { model: "qwen3:latest" }), 1);
  assertEquals(scrape.value("ollama_request_outcomes_total", { model: "qwen3:latest", outcome: "server_error" }), 1);
  assertEquals(scrape.labelValues("model").includes("unknown"), false);
});

Deno.test("createExporter() resolves a name when the request ends: it asks for a new model when it is met", async () => {
  using clock = new TestClock({ stepMs: 10 });
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await discover(exporter);
  assertEquals(listings(fake), 1);
  clock.now += MINUTE_MS;
  fake.behaviour.models = [...DEFAULT_MODELS, installed("new:latest")];
  // The request fails after the lists have arrived.
  fake.behaviour.choose = ({ method }) => method === "POST" ? { status: 500 } : undefined;
  fake.behaviour.script = async ({ method }) => {
    if (method === "POST") await until(() => (exporter.ollama.lastState?.installed?.length ?? 0) > 3, "it was listed");
  };
  await failWith(exporter, "new");
  assertEquals(listings(fake), 2);
  fake.behaviour.script = undefined;
  for (let index = 0; index < 5; index++) await failWith(exporter, `missing-${index}`);
  await failWith(exporter, "llama3.2");
  assertEquals(listings(fake), 2, "at most once a minute");
  const scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_requests_total", { model: "new:latest" }), 1);
  assertEquals(scrape.value("ollama_requests_total", { model: "unknown" }), 5);
});

Deno.test("createExporter() gives labels to the models in use, whatever is installed besides them", async () => {
  const names = Array.from({ length: 260 }, (_, index) => `m${index}:latest`);
  await using fake = await startFakeOllama({ models: names.map(installed) });
  await using exporter = startExporter(fake);
  await discover(exporter);
  const used = names.filter((_, index) => index % 52 === 51);
  for (const model of used) await (await exporter.post("/api/chat", { ...CHAT, model })).text();
  await exporter.observation(used.length);
  const scrape = await exporter.scrape();
  assertEquals(used.map((model) => scrape.value("ollama_requests_total", { model })), used.map(() => 1));
  assertEquals(scrape.value("ollama_requests_total", { model: "other" }), 0);
  assertEquals(scrape.labelValues("model").length, 201);
  assertEquals(scrape.value("ollama_installed_model_size_bytes", { model: "other" }), 60 * installed("").size);
});
