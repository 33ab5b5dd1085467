/** Why a model was loaded, and how many streams it served at once: over real sockets, with values computed by hand. */

import { assertEquals } from "@std/assert";
import { LOAD_CAUSES } from "../../lib/observation.ts";
import { DEFAULT_MODELS, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, Gate, GENERATE, startExporter, type TestExporter, until } from "../support/helpers.ts";
import { TestClock } from "../support/test_clock.ts";

const SECOND_MS = 1000;
const SECOND_NS = 1e9;
const MODEL = "qwen3:latest";

/** What the fake does with a request: how long the model loads, and with which context length it is loaded then. */
interface Load {
  readonly seconds: number;
  readonly contextTokens: number;
}

/** A fake Ollama that loads a model, and an exporter in front of it. Only loads take time. */
class Stage {
  readonly fake: FakeOllama;
  readonly exporter: TestExporter;
  readonly #clock: TestClock;
  #sent = 0;

  constructor(fake: FakeOllama, exporter: TestExporter, clock: TestClock) {
    this.fake = fake;
    this.exporter = exporter;
    this.#clock = clock;
  }

  /** Sends requests that arrive together and wait for one load, and reads the responses. */
  async load({ seconds, contextTokens }: Load, ...requests: [path: string, body: unknown][]): Promise<void> {
    const { fake, exporter } = this;
    const all = fake.requestCount + requests.length;
    let isLoaded = false;
    fake.behaviour.loadNs = seconds * SECOND_NS;
    fake.behaviour.script = async () => {
      await until(() => fake.requestCount === all, "all requests have arrived");
      if (isLoaded) return;
      isLoaded = true;
      this.#clock.now += seconds * SECOND_MS;
    };
    await Promise.all(requests.map(async ([path, body]) => (await exporter.post(path, body)).text()));
    fake.behaviour.script = undefined;
    fake.behaviour.models = DEFAULT_MODELS.map((model) => ({ ...model, loadedContext: contextTokens }));
    await exporter.observation(this.#sent += requests.length);
    this.#clock.now += 10 * SECOND_MS;
  }

  /** Scrapes; returns the loads of the model by cause. */
  async counts(): Promise<(number | undefined)[]> {
    const scrape = await this.exporter.scrape();
    return LOAD_CAUSES.map((cause) => scrape.value("ollama_model_loads_total", { model: MODEL, cause }));
  }

  /** The model is unloaded, and an hour passes. */
  async expire(): Promise<void> {
    this.fake.state.loaded.delete(MODEL);
    await this.exporter.scrape();
    this.#clock.now += 3600 * SECOND_MS;
  }
}

Deno.test("createExporter() counts loads by cause: cold, another num_ctx, and others", async () => {
  using clock = new TestClock({ stepMs: 0.1 });
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const stage = new Stage(fake, exporter, clock);
  const chat: [string, unknown] = ["/api/chat", { ...CHAT, model: "qwen3" }];
  const generate: [string, unknown] = ["/api/generate", { ...GENERATE, model: "QWEN3:latest" }];
  const long: [string, unknown] = ["/api/chat", { ...CHAT, model: "qwen3", options: { num_ctx: 8192 } }];

  assertEquals(await stage.counts(), [undefined, undefined, undefined]);
  await stage.load({ seconds: 10, contextTokens: 4096 }, chat, chat, generate);
  assertEquals(await stage.counts(), [1, 0, 0], "three responses, one load");
  await stage.load({ seconds: 0.5, contextTokens: 4096 }, chat);
  assertEquals(await stage.counts(), [1, 0, 0], "not a second");
  await stage.load({ seconds: 5, contextTokens: 8192 }, long);
  assertEquals(await stage.counts(), [1, 1, 0], "from 4096 to 8192");
  await stage.load({ seconds: 5, contextTokens: 4096 }, chat);
  assertEquals(await stage.counts(), [1, 2, 0], "back to the default");
  await stage.load({ seconds: 3, contextTokens: 4096 }, generate, chat);
  assertEquals(await stage.counts(), [1, 2, 1], "the same: evicted");
  await stage.expire();
  await stage.load({ seconds: 4, contextTokens: 4096 }, ["/api/generate", { model: "qwen3" }]);
  assertEquals(await stage.counts(), [2, 2, 1], "`ollama run` loads without a prompt");
  await stage.load({ seconds: 2, contextTokens: 4096 }, ["/v1/chat/completions", { ...CHAT, model: "qwen3" }]);
  assertEquals(await stage.counts(), [2, 2, 1], "an API that reports no loads");
});

Deno.test("createExporter() judges a load by no list that was requested before it", async () => {
  using clock = new TestClock({ stepMs: 0.1 });
  using gate = new Gate();
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const stage = new Stage(fake, exporter, clock);
  await stage.load({ seconds: 10, contextTokens: 8192 }, ["/api/chat", {
    ...CHAT,
    model: "qwen3",
    options: { num_ctx: 8192 },
  }]);
  // The models in memory are listed, then the model is loaded again, and the scrape ends after that.
  fake.behaviour.script = async ({ path }) => {
    if (path === "/api/tags") await gate.opened;
    if (path === "/api/chat") clock.now += 5 * SECOND_MS;
  };
  fake.behaviour.loadNs = 5 * SECOND_NS;
  const before = fake.requestCount;
  const scrape = stage.counts();
  await until(() => fake.requestCount === before + 3, "the server is being probed");
  await (await exporter.post("/api/chat", { ...CHAT, model: "qwen3" })).text();
  await exporter.observation(2);
  fake.behaviour.models = DEFAULT_MODELS.map((model) => ({ ...model, loadedContext: 4096 }));
  gate.open();
  assertEquals(await scrape, [1, 0, 0]);
  assertEquals(await stage.counts(), [1, 1, 0]);
});

Deno.test("createExporter() counts no loads of failed requests and of APIs that do not report them", async () => {
  using clock = new TestClock({ stepMs: 0.1 });
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const stage = new Stage(fake, exporter, clock);
  for (const path of ["/v1/chat/completions", "/v1/messages"]) {
    await stage.load({ seconds: 10, contextTokens: 4096 }, [path, { ...CHAT, model: "qwen3", max_tokens: 9 }]);
  }
  assertEquals(await stage.counts(), [undefined, undefined, undefined]);
  fake.behaviour.status = 500;
  await stage.load({ seconds: 10, contextTokens: 4096 }, ["/api/chat", { ...CHAT, model: "qwen3" }]);
  assertEquals(await stage.counts(), [0, 0, 0]);
});

Deno.test("createExporter() exposes the most streams at once of the last minute, whoever scrapes how often", async () => {
  using clock = new TestClock({ stepMs: 0.01 });
  clock.now = 100_000;
  using gate = new Gate();
  await using fake = await startFakeOllama({ hold: gate.opened });
  await using exporter = startExporter(fake);
  const streams = await Promise.all(Array.from({ length: 3 }, () => exporter.post("/api/chat", CHAT)));
  // Has no beginning.
  await (await exporter.post("/api/chat", { ...CHAT, stream: false })).text();
  const max = async (): Promise<number | undefined> =>
    (await exporter.scrape()).value("ollama_requests_generating_max", { model: "llama3.2:latest" });
  assertEquals([await max(), await max()], [3, 3]);
  gate.open();
  await Promise.all(streams.map((stream) => stream.text()));
  await exporter.observation(4);
  clock.now = 159_000;
  assertEquals([await max(), await max()], [3, 3]);
  clock.now = 160_000;
  assertEquals(await max(), 0);
});

Deno.test("createExporter() shows that Ollama runs one request at a time, although more are in flight", async () => {
  using gate = new Gate();
  await using fake = await startFakeOllama({ hold: gate.opened, slots: 1 });
  await using exporter = startExporter(fake);
  const responses = Array.from({ length: 3 }, async () => (await exporter.post("/api/chat", CHAT)).text());
  const labels = { model: "llama3.2:latest" };
  await until(() => exporter.openRequests.size === 3, "all have arrived");
  await until(() => [...exporter.openRequests].some(({ waiting }) => !waiting), "one has begun");
  const during = await exporter.scrape();
  assertEquals(["in_flight", "generating_max"].map((name) => during.value(`ollama_requests_${name}`, labels)), [3, 1]);
  gate.open();
  await Promise.all(responses);
  await exporter.observation(3);
});
