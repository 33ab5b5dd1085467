/** Events of the status page over real sockets, compared with the metrics. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { createExporter, type Exporter, type ExporterOptions } from "../../../lib/exporter.ts";
import type { RequestInfo } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { createLog } from "../../../lib/log/log.ts";
import { OUTCOMES, OVERFLOWS } from "../../../lib/observation.ts";
import type { ModelFigures } from "../../../lib/status/history.ts";
import { LAST_REQUESTS } from "../../../lib/status/last_requests.ts";
import { MODEL_ROWS, REFRESH_MS, STATE_LIMIT_MS } from "../../../lib/status/status.ts";
import { VIEWER_LIMIT } from "../../../lib/status/feed.ts";
import { apiRequests } from "../../support/api_requests.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { ANY_PORT, CHAT, Gate, GENERATE, startExporter, startExporterOn, until } from "../../support/helpers.ts";
import { StatusViewer } from "../../support/status_client.ts";
import { TestClock } from "../../support/test_clock.ts";

const INFO: RequestInfo = {
  remoteAddr: { transport: "tcp", hostname: "127.0.0.1", port: 1 },
  completed: Promise.resolve(),
};

/** An exporter without listeners. */
class BareExporter implements Disposable {
  readonly exporter: Exporter;

  constructor(upstream: string, options: Partial<ExporterOptions> = {}) {
    this.exporter = createExporter({
      upstream: new URL(upstream),
      version: "0.0.0-test",
      homepage: "https://example.com/exporter",
      log: createLog({ level: "ERROR", format: "text" }),
      metricsPath: "/metrics",
      modelLimit: 10,
      probeTimeoutMs: 1000,
      openaiStreamUsage: false,
      allowedHosts: [],
      fetch,
      ...options,
    });
  }

  [Symbol.dispose](): void {
    this.exporter.close();
  }
}

for (const server of ["deno", "node"] as const) {
  Deno.test(`Status events show open requests and loaded models by model, over ${server}`, async () => {
    await using fake = await startFakeOllama();
    using gate = new Gate();
    fake.behaviour.script = async (request) => {
      if (request.text.includes("wait") || request.path === "/api/generate") await gate.opened;
    };
    fake.behaviour.fault = { kind: "stall", afterMessages: 1 };
    await using exporter = await startExporterOn(server, fake);
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = exporter.post("/api/generate", { ...GENERATE, model: "qwen3" }, { signal }).catch(() => {});
    const answered = await exporter.post("/api/chat", CHAT, { signal });
    await until(() => exporter.openRequests.size === 2, "both are in flight");
    {
      await using viewer = await StatusViewer.open(exporter.url);
      assertEquals(viewer.response.headers.get("content-type"), "text/event-stream");
      const present = await viewer.next("present", ({ ollama }) => ollama.isUp === true);
      const scrape = await exporter.scrape();
      assertEquals(present.inFlight, scrape.value("ollama_requests_in_flight"));
      assertEquals(present.waiting, scrape.value("ollama_requests_waiting"));
      assertEquals<unknown>(present.ollama, { isUp: true, version: "0.33.0", installedModels: 3, listsLoaded: true });
      const [llama, qwen] = present.models;
      assertEquals([qwen?.model, qwen?.inFlight, qwen?.waiting, qwen?.loaded], ["qwen3:latest", 1, 1, undefined]);
      assertEquals([llama?.model, llama?.inFlight, llama?.waiting], ["llama3.2:latest", 1, 0]);
      const model = { model: "llama3.2:latest" };
      assertEquals(llama?.loaded?.sizeBytes, scrape.value("ollama_loaded_model_size_bytes", model));
      assertEquals(llama?.loaded?.vramBytes, scrape.value("ollama_loaded_model_vram_bytes", model));
      assertEquals([llama?.loaded?.parameterSize, llama?.loaded?.quantization], ["3.2B", "Q4_K_M"]);
      assertEquals(llama?.loaded?.contextTokens, scrape.value("ollama_loaded_model_context_tokens", model));
    }
    gate.open();
    controller.abort();
    await Promise.all([waiting, answered.body?.cancel().catch(() => {})]);
  });
}

Deno.test("Status events have the same figures as the metrics, for all APIs", async () => {
  await using fake = await startFakeOllama({ release: "0.40", tokenDelayMs: 2, promptTokens: 31 });
  await using exporter = startExporter(fake);
  await using viewer = await StatusViewer.open(exporter.url);
  const requests = [
    ...apiRequests(),
    { endpoint: { route: "/api/chat" }, init: { method: "POST", body: '{"model":"none","messages":[]}' } },
  ];
  for (const { endpoint: { route }, init } of requests) {
    await (await fetch(exporter.url + route, init)).text();
  }
  await exporter.observation(requests.length);
  const listed = await viewer.next("requests", ([last]) => last?.id === requests.length);
  const totals = await viewer.next("totals");
  const scrape = await exporter.scrape();
  for (const outcome of OUTCOMES) {
    const counted = scrape.value("ollama_request_outcomes_total", { outcome }) ?? 0;
    assertEquals(totals.outcomes[outcome] ?? 0, counted, outcome);
  }
  assertEquals(totals.total, {
    promptTokens: scrape.value("ollama_tokens_processed_total"),
    outputTokens: scrape.value("ollama_tokens_generated_total"),
  });
  const sum = (of: (request: typeof listed[number]) => number | undefined): number =>
    listed.reduce((sum, request) => sum + (of(request) ?? 0), 0);
  assertEquals(listed.length, requests.length);
  assertAlmostEquals(sum((of) => of.tokensPerSecond), scrape.value("ollama_tokens_per_second_sum") ?? 0, 0.01);
  assertAlmostEquals(
    sum((of) => of.firstTokenSeconds),
    scrape.value("ollama_time_to_first_token_seconds_sum") ?? 0,
    1e-4,
  );
  const phases: [number | undefined, string][] = [
    [totals.phases.load, "load"],
    [totals.phases.wait, "wait"],
    [totals.phases.prompt, "prompt_eval"],
  ];
  for (const [seconds, name] of phases) {
    assertAlmostEquals(seconds ?? 0, scrape.value(`ollama_${name}_duration_seconds_sum`) ?? 0, 1e-6, name);
  }
});

Deno.test("Status events show how much of the context was used, and prompts that did not fit, as the metrics", async () => {
  await using fake = await startFakeOllama({ tokens: 1, tokenDelayMs: 1, promptTokens: 1000, outputTokens: 24 });
  await using exporter = startExporter(fake);
  await using viewer = await StatusViewer.open(exporter.url);
  const long = { ...GENERATE, prompt: "why is the sky blue? ".repeat(500) };
  const send = async (body: Record<string, unknown>): Promise<void> => {
    await (await exporter.post("/api/generate", body)).text();
  };
  const figures = async (accepts: (model: ModelFigures) => boolean): Promise<ModelFigures | undefined> =>
    (await viewer.next("totals", ({ models: [model] }) => model !== undefined && accepts(model))).models[0];
  await send(GENERATE);
  const fitting = await figures(({ contextUsed }) => contextUsed !== undefined);
  assertEquals([fitting?.contextUsed, fitting?.overflows], [0.25, {}], "1024 tokens of 4096");
  fake.behaviour.promptTokens = 50_000;
  await send(long);
  await send({ ...long, truncate: false });
  const full = await figures(({ overflows }) => overflows.rejected !== undefined);
  assertEquals([full?.contextUsed, full?.overflows], [1, { truncated: 1, rejected: 1 }]);
  const scrape = await exporter.scrape();
  for (const kind of OVERFLOWS) assertEquals(scrape.value("ollama_prompt_overflows_total", { kind }), 1, kind);
});

Deno.test("Status events show why Ollama is down, and that it is up again", async () => {
  await using fake = await startFakeOllama({ versionProbe: { status: 502 }, psProbe: "invalid_json" });
  await using exporter = startExporter(fake);
  await using viewer = await StatusViewer.open(exporter.url);
  assertEquals<unknown>(
    (await viewer.next("present")).ollama,
    { listsLoaded: false },
    "there is no state before the first response",
  );
  const { ollama } = await viewer.next("present", ({ ollama }) => ollama.isUp === false);
  assertEquals<unknown>(ollama, {
    isUp: false,
    error: "/api/version: unexpected status 502",
    cause: `A proxy answers on 127.0.0.1:${fake.port}, but Ollama behind it does not`,
    installedModels: 3,
    listsLoaded: false,
  });
  fake.behaviour.versionProbe = "normal";
  await viewer.next("present", ({ ollama }) => ollama.isUp === true);
});

Deno.test("Status events tell the exporter's start and the address of Ollama once, without credentials", async () => {
  const before = Date.now();
  using bare = new BareExporter("http://user:secret@127.0.0.1:1/base/");
  const listener = listen(bare.exporter.handlers.combined, ANY_PORT);
  {
    await using viewer = await StatusViewer.open(`http://127.0.0.1:${listener.address.port}`);
    const { startedAt, upstream } = await viewer.next("exporter");
    assertEquals(upstream, "http://***@127.0.0.1:1/base");
    assert(startedAt >= before && startedAt <= Date.now());
  }
  bare.exporter.endViewers();
  await listener.shutdown();
});

Deno.test("Status events list failures that later requests have displaced", async () => {
  await using fake = await startFakeOllama({ tokens: 1, tokenDelayMs: 1 });
  await using exporter = startExporter(fake);
  await using viewer = await StatusViewer.open(exporter.url);
  await (await exporter.post("/api/chat", { ...CHAT, model: "none" })).text();
  for (let count = 0; count < LAST_REQUESTS; count++) {
    await (await exporter.post("/api/chat", { ...CHAT, stream: false })).text();
  }
  const listed = await viewer.next("requests", ([last]) => last?.id === LAST_REQUESTS + 1);
  assertEquals(listed.some(({ outcome }) => outcome === "client_error"), false);
  await using later = await StatusViewer.open(exporter.url);
  const [failure] = await later.next("failures");
  assertEquals([failure?.id, failure?.outcome, failure?.status], [1, "client_error", 404]);
});

Deno.test("createStatus() probes Ollama only while there are viewers, and not more often than needed", async () => {
  using clock = new TestClock();
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await (await exporter.post("/api/chat", CHAT)).text();
  const probes = (): number => fake.requests.filter(({ path }) => path === "/api/ps").length;
  assertEquals(probes(), 0);
  await exporter.scrape();
  const scraped = exporter.ollama.lastState;
  {
    await using first = await StatusViewer.open(exporter.url);
    await using second = await StatusViewer.open(exporter.url);
    for (const viewer of [first, second]) assertEquals((await viewer.next("present")).ollama.version, "0.33.0");
    clock.now = REFRESH_MS;
    await first.next("present");
    assertEquals(probes(), 1, "the state is that of the scrape");
    clock.now = REFRESH_MS + 1;
    await until(() => exporter.ollama.lastState !== scraped, "the state is fetched again");
    assertEquals(probes(), 2);
  }
  await exporter.scrape();
  assertEquals(probes(), 3, "a scrape always probes");
});

Deno.test("Status events do not show an outdated state of Ollama", async () => {
  using clock = new TestClock();
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await exporter.scrape();
  fake.behaviour.versionProbe = "hang";
  clock.now = STATE_LIMIT_MS;
  await using viewer = await StatusViewer.open(exporter.url);
  const { ollama } = await viewer.next("present");
  assertEquals<unknown>(ollama, { listsLoaded: false });
  fake.behaviour.versionProbe = "normal";
});

Deno.test("Status events contain an invalid model name as it is, and limit the number of models", async () => {
  const name = "<img src=x onerror=alert(1)>";
  const models = Array.from({ length: MODEL_ROWS + 5 }, (_, index) => ({
    name: index === 0 ? name : `m${index}:latest`,
    size: 1,
    family: "",
    parameterSize: "",
    quantization: "",
    maxContext: 1,
    embeddingLength: 1,
    capabilities: [],
    loaded: true,
    modifiedAt: "2026-08-01T09:00:00Z",
    withoutDetails: true,
  }));
  await using fake = await startFakeOllama({ models });
  fake.state.loaded.delete(`${name}:latest`);
  fake.state.loaded.set(name, Date.now() + 60_000);
  await using exporter = startExporter(fake);
  await using viewer = await StatusViewer.open(exporter.url);
  await (await exporter.post("/api/chat", { ...CHAT, model: name })).text();
  const [request] = await viewer.next("requests", ({ length }) => length > 0);
  assertEquals([request?.model, request?.outcome], [name, "client_error"]);
  const present = await viewer.next("present", ({ models }) => models.length > 0);
  assertEquals(present.models.length, MODEL_ROWS + 1);
  assertEquals<unknown>(present.models.at(-1), { model: "other", inFlight: 0, waiting: 0 });
});

Deno.test("Status.events() responds with 503 at the maximum number of viewers", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const viewers = await Promise.all(Array.from({ length: VIEWER_LIMIT }, () => StatusViewer.open(exporter.url)));
  const refused = await fetch(`${exporter.url}/-/events`);
  assertEquals([refused.status, refused.headers.get("content-type")], [503, "text/plain; charset=utf-8"]);
  assert((await refused.text()).startsWith("Too many viewers"));
  const head = await fetch(`${exporter.url}/-/events`, { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""], "HEAD does not add a viewer");
  for (const viewer of viewers) await viewer[Symbol.asyncDispose]();
  await until(async () => {
    const response = await fetch(`${exporter.url}/-/events`);
    await response.body?.cancel();
    return response.ok;
  }, "another viewer is accepted");
});

Deno.test("The status page and its events are guarded like all admin endpoints", async () => {
  using bare = new BareExporter("http://127.0.0.1:1", {
    guard: (request) => request.headers.has("authorization") ? undefined : new Response("No.\n", { status: 401 }),
  });
  const { combined } = bare.exporter.handlers;
  const status = async (path: string, init: RequestInit, host = "127.0.0.1"): Promise<number> => {
    const response = await combined(new Request(`http://${host}${path}`, init), INFO);
    await response.body?.cancel();
    return response.status;
  };
  const known = { authorization: "Basic x" };
  for (const path of ["/-/", "/-/events"]) {
    assertEquals(await status(path, {}), 401);
    assertEquals(await status(path, { headers: known }), 200);
    assertEquals(await status(path, { headers: known, method: "POST" }), 405);
    const foreign = { ...known, "sec-fetch-site": "same-origin" };
    assertEquals(await status(path, { headers: foreign }, "evil.example.com"), 403);
  }
});

Deno.test("The status page is served with the admin endpoints only", async () => {
  await using fake = await startFakeOllama();
  using bare = new BareExporter(fake.url);
  const { admin, proxy } = bare.exporter.handlers;
  for (const path of ["/-/", "/-/events"]) {
    const request = (): Request => new Request(`http://127.0.0.1${path}`);
    const [here, there] = [await admin(request(), INFO), await proxy(request(), INFO)];
    assertEquals([here.status, there.status], [200, 404]);
    assertEquals(await there.text(), "404 page not found", "the response comes from Ollama");
    await here.body?.cancel();
  }
});

Deno.test("endViewers() ends the events, so that a listener can shut down", async () => {
  await using fake = await startFakeOllama();
  using bare = new BareExporter(fake.url);
  const listener = listen(bare.exporter.handlers.combined, ANY_PORT);
  await using viewer = await StatusViewer.open(`http://127.0.0.1:${listener.address.port}`);
  await viewer.next("requests");
  let isDown = false;
  const down = listener.shutdown().then(() => isDown = true);
  await viewer.next("present");
  assertEquals(isDown, false, "it waits for open responses");
  bare.exporter.endViewers();
  await viewer.end();
  await down;
});
