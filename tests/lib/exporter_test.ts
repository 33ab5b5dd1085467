/** The parts of the exporter, put together: what one of them does reaches the others. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Observation } from "../../lib/observation.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, startExporter, until } from "../support/helpers.ts";
import { ask } from "../support/raw_client.ts";

Deno.test("createExporter() passes an observation to observers, metrics and log", async () => {
  await using fake = await startFakeOllama();
  const observed: Observation[] = [];
  await using exporter = startExporter(fake, { observe: (observation) => observed.push(observation) });
  await (await exporter.post("/api/chat", CHAT)).text();
  const observation = await exporter.observation();
  assertEquals(observed, [observation]);
  assertEquals((await exporter.scrape()).value("ollama_requests_total", { model: "llama3.2:latest" }), 1);
  const lines = exporter.logLines.filter((line) => line.includes("msg=Request"));
  assertEquals(lines.length, 1);
  assertStringIncludes(lines[0] ?? "", "route=/api/chat model=llama3.2 status=200 outcome=ok");
});

Deno.test("createExporter() keeps what an observer throws from other observers and the client", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake, {
    failsInside: true,
    observe: () => {
      throw new Error("The observer is broken");
    },
  });
  const direct = await ask(fake.port, "POST /api/generate", [], JSON.stringify({ model: "llama3.2", prompt: "" }));
  const response = await ask(
    exporter.port,
    "POST /api/generate",
    [],
    JSON.stringify({ model: "llama3.2", prompt: "" }),
  );
  assertEquals([response.status, response.end], [direct.status, "complete"]);
  await until(() => exporter.logLines.some((line) => line.includes("The observer is broken")), "it is logged");
  const scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_requests_total"), 1);
  assertEquals(scrape.value("ollama_exporter_internal_errors_total"), 1);
  const error = exporter.logLines.find((line) => line.includes("Internal error")) ?? "";
  assertStringIncludes(error, 'level=ERROR msg="Internal error" error="Error: The observer is broken" stack=');
});

Deno.test("createExporter() labels requests with model names as Ollama lists them", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  assertEquals((await exporter.scrape()).value("ollama_loaded_models"), 1);
  // A request that fails makes no label, but the lists have told of this one.
  fake.behaviour.status = 500;
  await (await exporter.post("/api/chat", { ...CHAT, model: "qwen3" })).text();
  await (await exporter.post("/api/chat", { ...CHAT, model: "nobody-knows" })).text();
  const scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_requests_total", { model: "qwen3:latest" }), 1);
  assertEquals(scrape.value("ollama_requests_total", { model: "unknown" }), 1);
});

Deno.test("createExporter() keeps exporters apart from each other", async () => {
  await using fake = await startFakeOllama();
  await using one = startExporter(fake);
  await using two = startExporter(fake);
  await (await one.post("/api/chat", CHAT)).text();
  await one.observation();
  assertEquals((await one.scrape()).value("ollama_requests_total"), 1);
  assertEquals((await two.scrape()).value("ollama_requests_total"), 0);
});

Deno.test("createExporter() closes its connections to Ollama", async () => {
  await using fake = await startFakeOllama();
  {
    await using exporter = startExporter(fake);
    await exporter.scrape();
    await (await fetch(`${exporter.url}/api/tags`)).text();
    await (await exporter.post("/api/chat", CHAT)).text();
    assert(fake.openConnections > 0, "connections are kept for reuse");
  }
  await fake.waitForIdle();
});
