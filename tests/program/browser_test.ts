/**
 * The status page in a browser. Where there is no Chromium these tests are left out, except in CI.
 *
 * @module
 */

import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { OUTCOMES } from "../../lib/observation.ts";
import { LAST_REQUESTS } from "../../lib/status/last_requests.ts";
import { FIGURES_LIMIT } from "../../lib/status/slot.ts";
import { VIEWER_LIMIT } from "../../lib/status/feed.ts";
import { apiRequests } from "../support/api_requests.ts";
import { healthOf, legendOf, Stage, testStories, untilHealth, violationsOf } from "../support/browser_stage.ts";
import type { FakeModel } from "../fake_ollama/mod.ts";
import { CHAT, delay, Gate, GENERATE, until } from "../support/helpers.ts";
import { StatusViewer } from "../support/status_client.ts";

const DESKTOP = { width: 1280, height: 900 };
const TABLET = { width: 1024, height: 768 };
const PHONE = { width: 320, height: 640 };

/** A name that would be markup if it were not text. */
const MARKUP = "<img src=x onerror=alert(1)>";
const LONG_NAME = `hf.co/${"someone".repeat(4)}/${"Very-Long-Model-Name-".repeat(3)}GGUF:Q4_K_M`;

testStories("The status page in a browser", {
  "it loads without a complaint, and asks for nothing but itself and its events": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    await stage.post("/api/chat", CHAT);
    await until(
      async () => await page.text("#requests tbody .name") === "llama3.2:latest",
      "it is listed",
    );
    await delay(1500);
    const { complaints, addresses } = await page.report();
    assertEquals(complaints, []);
    const own = addresses.filter((address) => !address.startsWith("data:"));
    assertEquals(new Set(own), new Set([stage.pageUrl, `${stage.pageUrl}events`]));
    assertEquals(await page.evaluate("document.title"), "Ollama exporter");
    const links = await page.evaluate<string[]>("[...document.links].map(({ href }) => href)");
    const isOutside = (link: string): boolean => link.startsWith("https://example.com/exporter");
    assertEquals(links.filter(isOutside).length, 6, "documentation");
    for (const link of links.filter((link) => !isOutside(link))) {
      const response = await fetch(link);
      await response.body?.cancel();
      assertEquals(response.status, 200, link);
    }
  },

  "its figures move under traffic, and are those of the metrics": async (browser) => {
    await using stage = await Stage.start({ release: "0.40", tokenDelayMs: 2 });
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    assertEquals(await page.text("#in-flight"), "0");
    assertEquals(await page.evaluate("document.querySelector('#outcomes-empty').hidden"), false);
    const requests = apiRequests();
    for (const { endpoint: { route }, init } of requests) await (await fetch(stage.url + route, init)).text();
    await stage.post("/api/chat", { ...CHAT, model: "none" });
    await until(async () => (await legendOf(page, "outcomes")).client_error === "1", "the last one is counted");
    const scrape = await stage.scrape();
    const outcomes = await legendOf(page, "outcomes");
    for (const outcome of OUTCOMES) {
      const counted = scrape.value("ollama_request_outcomes_total", { outcome });
      assertEquals(Number(outcomes[outcome] ?? 0), counted, outcome);
    }
    const tokens = (title: string): number => Number(title.replace(/\D/g, ""));
    assertEquals(tokens(await page.title("#plot-output .sub span")), scrape.value("ollama_tokens_generated_total"));
    assertEquals(tokens(await page.title("#plot-prompt .sub span")), scrape.value("ollama_tokens_processed_total"));
    const load = Number((await legendOf(page, "phases")).load?.replace(" s", ""));
    assertEquals(load, Number(scrape.value("ollama_load_duration_seconds_sum")?.toFixed(6)));
    assertNotEquals(await page.evaluate("document.querySelector('#plot-output .line').getAttribute('d')"), null);
    assertMatch(await page.text("#plot-first .figure"), /^\d.* [mµ]?s$/);
  },

  "it shows open requests while they are open": async (browser) => {
    await using stage = await Stage.start();
    using gate = new Gate();
    stage.fake.behaviour.script = async ({ path }) => {
      if (path === "/api/generate") await gate.opened;
    };
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    const waiting = [1, 2].map(() => stage.post("/api/generate", GENERATE).catch(() => {}));
    await until(async () => await page.text("#in-flight") === "2", "two are in flight");
    assertEquals(await page.text("#waiting"), "2");
    const row = "#models [data-key='llama3.2:latest']";
    assertEquals(await page.text(`${row} .open`), "2");
    assertEquals(await page.text(`${row} .memory`), "3.34 GB");
    assertEquals(await page.title(`${row} .memory span`), "3,338,801,804 bytes");
    assertMatch(await page.text(`${row} .expiry`), /^4 min 5\d s$/);
    gate.open();
    await Promise.all(waiting);
    await until(async () => await page.text("#in-flight") === "0", "they have ended");
  },

  "it says that Ollama is away, and that it is back": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl);
    assertEquals(await untilHealth(page, "up"), "Ollama 0.33.0 is up");
    await stage.fake.close();
    assertMatch(await untilHealth(page, "down"), /^Ollama is down: .*refused/);
    assertEquals(await page.evaluate("document.title"), "Ollama is down · Ollama exporter");
    assertEquals(await page.text("#models-empty"), "Loaded models unknown: Ollama does not list them");
    await stage.ollamaComes();
    await untilHealth(page, "up");
    assertEquals(await page.evaluate("document.title"), "Ollama exporter");
  },

  "it says that the exporter is away, and goes on when it is back": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    await stage.goes();
    const lost = /^Connection to the exporter lost\. Last update: \d\d:\d\d:\d\d\. Retrying…$/;
    assertMatch(await untilHealth(page, "lost"), lost);
    stage.comes();
    await untilHealth(page, "up");
    await stage.post("/api/chat", CHAT);
    await until(async () => await page.text("#outcomes b") === "1", "its figures move again");
  },

  "it takes a connection that died without a word for lost, and makes a new one": async (browser) => {
    await using stage = await Stage.start();
    let streams = 0;
    // What stands between: it passes the first two events on and then nothing any more.
    await using between = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async ({ url }) => {
      const { pathname } = new URL(url);
      const response = await fetch(stage.url + pathname);
      if (pathname !== "/-/events") return response;
      streams++;
      const reader = response.body?.getReader();
      const first = [await reader?.read(), await reader?.read()];
      await reader?.cancel();
      const passOn = (controller: ReadableStreamDefaultController): void =>
        first.forEach((chunk) => controller.enqueue(chunk?.value));
      return new Response(new ReadableStream({ start: passOn }), response);
    });
    await using page = await browser.open(`http://127.0.0.1:${between.addr.port}/-/`);
    await until(async () => await page.text("#in-flight") === "0", "the first state is shown");
    assertEquals((await healthOf(page))[0], "connecting", "for a while nothing is said of it");
    await page.evaluate("now = performance.now.bind(performance); performance.now = () => now() + 6000");
    assertMatch(await untilHealth(page, "lost"), /^No updates from the exporter\. Last update: /);
    assertEquals(streams, 1);
    await page.evaluate("performance.now = () => now() + 16_000");
    await until(() => streams === 2, "another stream is opened");
  },

  "it says that there are too many viewers, and comes in when one leaves": async (browser) => {
    await using stage = await Stage.start();
    const viewers = await Promise.all(Array.from({ length: VIEWER_LIMIT }, () => StatusViewer.open(stage.url)));
    await using page = await browser.open(stage.pageUrl);
    assertMatch(await untilHealth(page, "lost"), /^Too many viewers: /);
    for (const viewer of viewers) await viewer[Symbol.asyncDispose]();
    await untilHealth(page, "up");
  },

  "it follows only while it is seen and wanted": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    await page.evaluate("document.querySelector('#pause').focus()");
    await page.ask("press", { key: "Enter" });
    assertMatch(await untilHealth(page, "paused"), /^Paused\. Last update: /);
    const room = async (): Promise<number> => {
      const viewers = await Promise.all(Array.from({ length: VIEWER_LIMIT }, () => fetch(`${stage.url}/-/events`)));
      for (const { body } of viewers) await body?.cancel();
      return viewers.filter(({ ok }) => ok).length;
    };
    await until(async () => await room() === VIEWER_LIMIT, "a page that pauses is no viewer");
    await page.ask("press", { key: "Enter" });
    await untilHealth(page, "up");
    await until(async () => await room() === VIEWER_LIMIT - 1, "it is one again");
    await page.evaluate(`Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
      document.dispatchEvent(new Event("visibilitychange"))`);
    await until(async () => await room() === VIEWER_LIMIT, "a page that nobody sees is no viewer");
    await page.evaluate("delete document.visibilityState; document.dispatchEvent(new Event('visibilitychange'))");
    await until(async () => await room() === VIEWER_LIMIT - 1, "it is one when it is seen again");
  },

  "names of models are text, whatever stands in them": async (browser) => {
    await using stage = await Stage.start();
    stage.fake.behaviour.models = stage.fake.behaviour.models.map((model) => ({
      ...model,
      name: MARKUP,
      loaded: true,
    }));
    stage.fake.state.loaded.clear();
    stage.fake.state.loaded.set(MARKUP, Date.now() + 60_000);
    stage.fake.behaviour.version = MARKUP;
    await using page = await browser.open(stage.pageUrl);
    await stage.post("/api/chat", { ...CHAT, model: MARKUP });
    await until(async () => await page.text("#models tbody .name") === MARKUP, "it is listed as a model");
    await until(async () => await page.text("#requests tbody .name") === MARKUP, "it is listed as a request");
    assertEquals(await untilHealth(page, "up"), `Ollama ${MARKUP} is up`);
    assertEquals(await page.evaluate("document.querySelectorAll('img').length"), 0);
    assertEquals((await page.report()).complaints, []);
  },

  "it can be read with the keyboard and the pointer": async (browser) => {
    await using stage = await Stage.start({ tokenDelayMs: 5 });
    await stage.post("/api/chat", CHAT);
    await using page = await browser.open(stage.pageUrl, { viewport: DESKTOP });
    await untilHealth(page, "up");
    for (const name of ["Metrics", "Healthy", "Ready", "Pause"]) {
      await page.ask("press", { key: "Tab" });
      assertEquals(await page.evaluate("document.activeElement.textContent"), name);
    }
    await page.ask("press", { key: "Tab" });
    const value = (name: string): Promise<string> =>
      page.evaluate(`document.activeElement.getAttribute("aria-${name}")`);
    assertEquals(await value("label"), "Requests per second over time");
    const last = Number(await value("valuemax"));
    await page.ask("press", { key: "ArrowLeft" });
    assertEquals(Number(await value("valuenow")), last);
    await page.ask("press", { key: "Home" });
    assertEquals(await value("valuenow"), "0");
    assertMatch(await value("valuetext"), /^\d\d:\d\d:\d\d: 0\/s$/);
    assertMatch(await page.text("#plot-requests .readout"), /^\d\d:\d\d:\d\d +0\/s$/);
    await page.ask("hover", { selector: "#plot-first .chart" });
    assertMatch(await page.text("#plot-first .readout"), /^\d\d:\d\d:\d\d +no data$/);
  },

  "it is dark or light as the reader likes, and accessible in both, also on a phone": async (browser) => {
    await using stage = await Stage.start({ tokenDelayMs: 2 });
    const model = { ...stage.fake.behaviour.models[0], name: LONG_NAME } as FakeModel;
    stage.fake.behaviour.models = [...stage.fake.behaviour.models, model];
    for (const { endpoint: { route }, init } of apiRequests()) await (await fetch(stage.url + route, init)).text();
    for (const name of [LONG_NAME, MARKUP, "x".repeat(500)]) await stage.post("/api/chat", { ...CHAT, model: name });
    const backgrounds = new Set<string>();
    for (const colorScheme of ["dark", "light"] as const) {
      for (const viewport of [DESKTOP, TABLET, PHONE]) {
        await using page = await browser.open(stage.pageUrl, { colorScheme, viewport });
        await untilHealth(page, "up");
        await until(
          async () => await page.evaluate<number>("document.querySelectorAll('#requests tbody tr').length") > 0,
          "filled",
        );
        backgrounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"));
        assertEquals(
          await page.evaluate("document.documentElement.scrollWidth"),
          viewport.width,
          "no sideways scrolling",
        );
        assertEquals(await violationsOf(page), [], `${colorScheme}, ${viewport.width} wide`);
      }
    }
    assertEquals(backgrounds.size, 2);
  },

  "it is accessible where there is nothing to show, and where everything is away": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    assertEquals(await violationsOf(page), []);
    await stage.fake.close();
    await untilHealth(page, "down");
    assertEquals(await violationsOf(page), []);
    await stage.goes();
    await untilHealth(page, "lost");
    assertEquals(await violationsOf(page), []);
    stage.comes();
  },

  "10,000 observations do not make it grow": async (browser) => {
    await using stage = await Stage.start({ keptRequests: 0, acceptAnyModel: true });
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    const send = async (count: number, from: number): Promise<void> => {
      for (let sent = 0; sent < count; sent += 50) {
        const models = Array.from({ length: 50 }, (_, index) => `m${from + sent + index}`);
        await Promise.all(models.map((model) => stage.post("/api/embeddings", { model, prompt: "Hello" })));
        stage.fake.state.loaded.clear();
      }
      const last = `m${from + count - 50}`;
      await until(async () => {
        const names = await page.evaluate<string>("document.querySelector('#requests tbody').textContent");
        return names.includes(last.slice(0, -2));
      }, `requests up to ${last} are shown`);
      // Models that were just loaded are shown until Ollama is asked again; they are not what must not grow.
      const loaded = "document.querySelectorAll('#models tbody tr').length";
      await until(async () => await page.evaluate<number>(loaded) === FIGURES_LIMIT + 1, "only models with requests");
    };
    const memory = async () =>
      await page.ask("memory") as { usedSize: number; nodes: number; jsEventListeners: number };
    await send(1000, 10_000);
    const before = await memory();
    await send(10_000, 20_000);
    // Removed nodes are counted until they are collected.
    await until(async () => {
      const { nodes, usedSize, jsEventListeners } = await memory();
      return nodes < before.nodes * 1.2 && usedSize < before.usedSize + 500_000 &&
        jsEventListeners === before.jsEventListeners;
    }, "nodes, bytes and listeners are as few as before");
    const rows = await page.evaluate<number>("document.querySelectorAll('#requests tbody tr').length");
    assertEquals(rows, LAST_REQUESTS);
  },
});
