/** Prompts that Ollama cuts or rejects, and the part of the context that a request takes, in /metrics. */

import { assertEquals, assertExists } from "@std/assert";
import { endpointOf } from "../../lib/reading/endpoints.ts";
import { DEFAULT_MODELS, type FakeModel, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { readRecordings, replaying } from "../fake_ollama/recordings.ts";
import { anyModel } from "../fake_ollama/state.ts";
import { apiRequest } from "../support/api_requests.ts";
import { CHAT, Scrape, startExporter, type TestExporter, until } from "../support/helpers.ts";

const MODEL = { model: "llama3.2:latest" };
/** Tokens of a prompt that fits into no context here, and a text of at least as many bytes as any has tokens. */
const LONG = { promptTokens: 50_000, text: "why is the sky blue? ".repeat(2000) };
const GENERATING = [
  "/api/chat",
  "/api/generate",
  ...["chat/completions", "completions", "responses", "messages"]
    .map((path) => `/v1/${path}`),
];
const EMBEDDING = ["/api/embed", "/v1/embeddings"];

/** The default models, the first of them with a context length and a token of its own. */
function modelsOf(loadedContext: number, hasBos: boolean): FakeModel[] {
  return DEFAULT_MODELS.map((model, index) => index === 0 ? { ...model, loadedContext, hasBos } : model);
}

/** A request to a route with a prompt of these bytes. Returns when the client has the whole response. */
async function send(exporter: TestExporter, route: string, changes: Record<string, unknown> = {}): Promise<number> {
  const messages = [{ role: "user", content: LONG.text }];
  const input = EMBEDDING.includes(route) ? { input: LONG.text } : { messages, prompt: LONG.text, input: LONG.text };
  const { init } = apiRequest(endpointOf("POST", route), changes["stream"] === true, { ...input, ...changes });
  const response = await fetch(exporter.url + route, init);
  await response.text();
  return response.status;
}

/** The counters of cut and of rejected prompts, and number and sum of the ratios. */
function contextOf(metrics: Scrape, labels: Record<string, string> = {}): (number | undefined)[] {
  const overflows = ["truncated", "rejected"].map((kind) =>
    metrics.value("ollama_prompt_overflows_total", { ...MODEL, ...labels, kind })
  );
  const ratios = ["count", "sum"].map((part) => metrics.value(`ollama_context_used_ratio_${part}`, MODEL));
  return [...overflows, ...ratios];
}

/** Context lengths, whether the model has a token of its own, and the tokens that are left of a long prompt. */
const CUTS: [context: number, hasBos: boolean, left: number][] = [
  // 4096 - floor(4092 / 2), 4096 - floor(4091 / 2), 255 - floor(251 / 2)
  [4096, false, 2050],
  [4096, true, 2051],
  [255, false, 130],
];

for (const route of GENERATING) {
  Deno.test(`createExporter() counts prompts that Ollama cuts on ${route}, streamed or not`, async () => {
    const { api = "" } = endpointOf("POST", route);
    for (const [context, hasBos, left] of CUTS) {
      for (const stream of [true, false]) {
        const what = `${context} ${hasBos} ${stream}`;
        await using fake = await startFakeOllama({ ...LONG, models: modelsOf(context, hasBos) });
        await using exporter = startExporter(fake, { openaiStreamUsage: true });
        assertEquals(await send(exporter, route, { stream }), 200);
        const { report } = await exporter.observation();
        assertEquals(report.promptTokens, left, what);
        assertEquals(contextOf(await exporter.scrape(), { api }), [1, 0, 1, 1], what);
        // A prompt that fits: 1000 and 24 tokens, 0.25 of 4096; of 255 it is cut.
        Object.assign(fake.behaviour, { promptTokens: 1000, outputTokens: 24 });
        await send(exporter, route, { stream });
        await exporter.observation(2);
        const expected = context === 4096 ? [1, 0, 2, 1.25] : [2, 0, 2, 2];
        assertEquals(contextOf(await exporter.scrape(), { api }), expected, what);
      }
    }
  });
}

/** Options of native requests, and the tokens that are left of a long prompt. */
const OPTIONS: [options: Record<string, unknown>, left: number][] = [
  // 2048 - floor(2044 / 2), 8192 - floor((8192 - 100) / 2), 4096 - floor(4096 / 2)
  [{ num_ctx: 2048 }, 1026],
  [{ num_ctx: 8192, num_keep: 100 }, 4146],
  [{ num_keep: 0 }, 2048],
];

Deno.test("createExporter() goes by num_ctx and num_keep of native requests, across the loads that they cause", async () => {
  for (const route of ["/api/chat", "/api/generate"]) {
    await using fake = await startFakeOllama({ ...LONG, loadNs: 2e9 });
    await using exporter = startExporter(fake);
    for (const [index, [options, left]] of OPTIONS.entries()) {
      await send(exporter, route, { options });
      assertEquals((await exporter.observation(index + 1)).report.promptTokens, left, JSON.stringify(options));
      const count = index + 1;
      assertEquals(contextOf(await exporter.scrape()), [count, 0, count, count], JSON.stringify(options));
    }
    // A context that is not listed: `num_ctx` beyond what the model can have is reduced to it.
    fake.behaviour.models = DEFAULT_MODELS.map((model) => ({ ...model, maxContext: 1024 }));
    await send(exporter, route, { options: { num_ctx: 131_072 } });
    assertEquals((await exporter.observation(4)).report.promptTokens, 514);
    assertEquals(contextOf(await exporter.scrape()), [4, 0, 4, 4]);
  }
});

/** Errors for prompts that do not fit, by what words them. */
const ERRORS = [
  "request (559 tokens) exceeds the available context size (256 tokens), try increasing it",
  "the prompt is longer than the context length currently available to the model",
  "the input length exceeds the context length",
];

Deno.test("createExporter() counts prompts that Ollama rejects, on each API and in each wording", async () => {
  for (const route of [...GENERATING, ...EMBEDDING]) {
    const { api = "" } = endpointOf("POST", route);
    await using fake = await startFakeOllama();
    await using exporter = startExporter(fake);
    await exporter.scrape();
    for (const [index, statusMessage] of ERRORS.entries()) {
      Object.assign(fake.behaviour, { status: 400, statusMessage });
      assertEquals(await send(exporter, route, { model: "llama3.2" }), 400);
      await exporter.observation(index + 1);
    }
    fake.behaviour.statusMessage = "invalid model name";
    await send(exporter, route, { model: "llama3.2" });
    await exporter.observation(ERRORS.length + 1);
    const metrics = await exporter.scrape();
    const count = metrics.value("ollama_prompt_overflows_total", { ...MODEL, api, kind: "rejected" });
    assertEquals([count, metrics.value("ollama_context_used_ratio_count", MODEL) ?? 0], [ERRORS.length, 0], route);
    assertEquals(metrics.value("ollama_exporter_parse_errors_total"), 0, route);
  }
});

Deno.test("createExporter() counts prompts that may not be cut and are rejected, by both engines", async () => {
  for (const engine of ["llama-server", "ollama"] as const) {
    await using fake = await startFakeOllama({ ...LONG, engine });
    await using exporter = startExporter(fake);
    await exporter.scrape();
    assertEquals(await send(exporter, "/api/chat", { truncate: false }), 400);
    await exporter.observation();
    assertEquals(contextOf(await exporter.scrape()), [0, 1, 0, 0], engine);
  }
});

Deno.test("createExporter() counts the recorded rejections of both engines", async () => {
  await using fake = await startFakeOllama({ models: [anyModel("tinyctx:latest")] });
  await using exporter = startExporter(fake);
  await exporter.scrape();
  const names = ["chat_overflow", "v0_24_chat_overflow"];
  for (const recording of readRecordings().filter(({ name }) => names.includes(name))) {
    fake.behaviour.script = replaying(recording, "whole");
    await (await exporter.post(recording.target, JSON.parse(recording.requestBody))).text();
  }
  fake.behaviour.script = undefined;
  await exporter.observation(2);
  const labels = { model: "tinyctx:latest", api: "chat", kind: "rejected" };
  assertEquals((await exporter.scrape()).value("ollama_prompt_overflows_total", labels), 2);
});

/** What leaves a long prompt without a verdict, and with a ratio or without. */
const ABSENT: [what: string, ratios: number, behave: (fake: FakeOllama) => void, changes: Record<string, unknown>][] = [
  ["a context length of 0", 0, ({ behaviour }) => behaviour.models = modelsOf(0, false), {}],
  ["a failed /api/ps", 0, ({ behaviour }) => behaviour.psProbe = { status: 500 }, {}],
  ["two runners of different lengths", 0, ({ behaviour }) => {
    behaviour.models = [...modelsOf(4096, false), ...modelsOf(8192, false)];
  }, {}],
  ["a model that is unloaded at once", 0, () => {}, { keep_alive: 0 }],
  ["a num_keep below 0", 1, () => {}, { options: { num_keep: -1 } }],
  ["a num_keep beyond the context", 1, () => {}, { options: { num_keep: 5000 } }],
  ["a request smaller than the context", 1, () => {}, { ...CHAT, prompt: undefined, input: undefined }],
  ["no token counts", 0, ({ behaviour }) => behaviour.omitUsage = true, {}],
];

Deno.test("createExporter() has no verdict, or no ratio either, where what they follow from is missing", async () => {
  for (const [what, ratios, behave, changes] of ABSENT) {
    await using fake = await startFakeOllama(LONG);
    behave(fake);
    await using exporter = startExporter(fake);
    assertEquals(await send(exporter, "/api/chat", changes), 200);
    await exporter.observation();
    const [truncated, rejected, count] = contextOf(await exporter.scrape());
    assertEquals([truncated, rejected, count], [0, 0, ratios], what);
  }
});

Deno.test("createExporter() cannot see that an embedding was cut", async () => {
  await using fake = await startFakeOllama({ promptTokens: 2048 });
  await using exporter = startExporter(fake);
  await send(exporter, "/api/embed");
  await exporter.observation();
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_tokens_processed_total"), 2048);
  assertEquals(metrics.value("ollama_prompt_overflows_total"), 0);
  assertEquals(metrics.value("ollama_prompt_overflows_total", { kind: "truncated" }), undefined);
  assertEquals(metrics.value("ollama_context_used_ratio_count"), undefined);
});

function probesOf(fake: FakeOllama): number {
  return fake.requests.filter(({ path }) => path === "/api/ps").length;
}

/** Returns the number of prompts counted as cut, without asking Ollama. */
async function toldSoFar({ metrics, ollama: { lastState } }: TestExporter): Promise<number | undefined> {
  assertExists(lastState);
  return contextOf(new Scrape(await metrics.expose("text", lastState)))[0];
}

Deno.test("createExporter() asks /api/ps for an unknown context once, and not if it was just told", async () => {
  await using fake = await startFakeOllama({ ...LONG, models: modelsOf(4096, false) });
  await using exporter = startExporter(fake);
  exporter.discoverModels();
  await until(() => exporter.metrics.models.all.length > 0, "the models are known");
  assertEquals(probesOf(fake), 1);
  // The model was loaded before the list: nothing is asked.
  await send(exporter, "/api/chat");
  await exporter.observation();
  assertEquals(probesOf(fake), 1);

  // It is loaded again, with another context: asked once. After one more load within ten seconds the scrape tells.
  fake.behaviour.loadNs = 1e9;
  await send(exporter, "/api/chat", { options: { num_ctx: 2048 } });
  await until(async () => await toldSoFar(exporter) === 2, "/api/ps is asked, and tells the context");
  assertEquals(probesOf(fake), 2);
  await send(exporter, "/api/chat", { options: { num_ctx: 1024 } });
  await exporter.observation(3);
  assertEquals([await toldSoFar(exporter), probesOf(fake)], [2, 2]);
  const [truncated] = contextOf(await exporter.scrape());
  assertEquals([truncated, probesOf(fake)], [3, 3]);
});
