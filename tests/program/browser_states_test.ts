/**
 * What the status page shows in each state, on each screen, in a browser. Without Chromium these tests are left out,
 * except in CI.
 *
 * @module
 */

import { assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { LAST_REQUESTS } from "../../lib/status/last_requests.ts";
import type { ClientOf } from "../../lib/clients/client_identity.ts";
import type { Browser, Page } from "../support/browser.ts";
import { legendOf, Stage, testStories, untilHealth, violationsOf } from "../support/browser_stage.ts";
import { CHAT, GENERATE, until } from "../support/helpers.ts";

const TABLET = { width: 1024, height: 768 };
/** Widths in pixels at which the layout is narrowest for its columns. */
const NARROW_WIDTHS = [913, 993, 1089, 1185];
const PHONE = { width: 390, height: 844 };

/** Requires that nothing on the page is wider than the window, however wide that is. */
async function fitsIntoAnyWindow(browser: Browser, url: string): Promise<void> {
  for (const width of NARROW_WIDTHS) {
    await using page = await browser.open(url, { viewport: { width, height: 800 } });
    await until(
      async () => await page.text("#models tbody .name") + await page.text("#requests tbody") !== "",
      "filled",
    );
    assertEquals(await page.evaluate("document.documentElement.scrollWidth"), width);
  }
}

testStories("The states of the status page in a browser", {
  "it says what was tried and what is likely wrong while Ollama is away": async (browser) => {
    await using stage = await Stage.start();
    const { port } = stage.fake;
    await stage.fake.close();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "down");
    assertEquals(await page.text("#upstream"), `http://127.0.0.1:${port}`);
    assertMatch(await page.text("#tried"), new RegExp(`^GET http://127\\.0\\.0\\.1:${port}/api/version, every 3 s`));
    assertEquals(await page.text("#reason"), "Connection refused");
    assertMatch(await page.title("#reason"), /^\/api\/version: .*tcp connect error/);
    assertMatch(await page.text("#cause"), new RegExp(`^Nothing listens on port ${port} of this machine: `));
    const help = "document.querySelector('#problem a')";
    assertMatch(await page.evaluate(`${help}.href`), /\/blob\/v0\.0\.0-test\/docs\/troubleshooting\.md$/);
    assertEquals(await page.evaluate(`${help}.checkVisibility()`), true);
    await stage.ollamaComes();
    await untilHealth(page, "up");
    assertEquals(await page.evaluate("document.querySelector('#problem').hidden"), true);
  },

  "it says in words that there is nothing, where no requests came": async (browser) => {
    await using stage = await Stage.start();
    stage.fake.state.loaded.clear();
    await using page = await browser.open(stage.pageUrl);
    await untilHealth(page, "up");
    assertMatch(await page.text("#uptime"), /^[\d.]+ m?s$/);
    assertMatch(await page.text("#requests-empty"), /^No requests yet\. Point a client at the exporter/);
    assertMatch(await page.text("#models-empty"), /^No models in memory: Ollama loads one/);
    const shown = await page.evaluate<string[]>(
      "[...document.querySelectorAll('.none, .empty')].filter((e) => e.checkVisibility()).map((e) => e.textContent)",
    );
    assertEquals(shown.length, 9, `${shown}`);
    for (const text of shown) assertMatch(text, /^No /);
    assertEquals(await page.evaluate("document.querySelector('#filters').checkVisibility()"), false);
  },

  "it shows failures first, with their class, their reason and the total": async (browser) => {
    await using stage = await Stage.start({ tokens: 2, tokenDelayMs: 1 });
    await stage.post("/api/chat", CHAT);
    await stage.post("/api/chat", { ...CHAT, model: "none" });
    stage.fake.behaviour.status = 503;
    await stage.post("/api/chat", CHAT);
    await using page = await browser.open(stage.pageUrl);
    await until(async () => await page.text("#outcomes-total") === "3 in 5 min, 2 failed", "all are counted");
    assertEquals(Object.keys(await legendOf(page, "outcomes")), ["server_error", "client_error", "ok"]);
    assertEquals(await page.text("#requests tbody .result"), "server errorqueue full: server busy");
    assertEquals(await page.text("#models [data-key='llama3.2:latest'] .errors"), "1");
    assertEquals(await page.text("#models [data-key='llama3.2:latest'] .count"), "2");
    assertEquals(await page.text("#models [data-key='none:latest'] .errors"), "1");
    assertEquals(await page.text("#models tfoot .errors"), "2");
    await until(async () => await page.text("#models tfoot .memory") === "3.34 GB", "the sum of memory");
    assertNotEquals(await page.evaluate("document.querySelector('#plot-requests .part').getAttribute('d')"), "");
  },

  "it says how much of the context was used, and that prompts did not fit": async (browser) => {
    await using stage = await Stage.start({ tokens: 1, tokenDelayMs: 1, promptTokens: 1000, outputTokens: 24 });
    const prompt = "why is the sky blue? ".repeat(500);
    const cell = (part: string): string => `#models [data-key='llama3.2:latest'] .used ${part}`;
    const isShown = (page: Page, selector: string) =>
      page.evaluate<boolean>(`document.querySelector("${selector}").checkVisibility()`);
    await using page = await browser.open(stage.pageUrl, { viewport: TABLET });
    await untilHealth(page, "up");
    assertEquals([await isShown(page, "#models th.used"), await isShown(page, "#notice")], [false, false]);
    await stage.post("/api/generate", GENERATE);
    await until(async () => await page.text(cell("span")) === "25%", "1024 tokens of 4096");
    assertEquals(await page.title(cell("span")), "The most that a request has used in 5 min: 25% of its context");
    assertEquals([await page.text(cell("small")), await isShown(page, "#notice")], ["", false]);
    stage.fake.behaviour.promptTokens = 50_000;
    for (let count = 0; count < 2; count++) await stage.post("/api/generate", { ...GENERATE, prompt });
    await until(async () => await page.text("#overflows") === "Prompts truncated: at least 2", "it says so");
    assertEquals([await page.text(cell("span")), await page.text(cell("small"))], ["100%", "2 truncated"]);
    assertEquals(await isShown(page, "#notice a"), true);
    await stage.post("/api/generate", { ...GENERATE, prompt, truncate: false });
    const both = "Prompts truncated: at least 2, rejected: 1";
    await until(async () => await page.text("#overflows") === both, "and that one was rejected");
    assertEquals(await page.text(cell("small")), "2 truncated, 1 rejected");
    assertEquals(await violationsOf(page), []);
    await fitsIntoAnyWindow(browser, stage.pageUrl);
  },

  "it filters the last requests by result, model and API, and keeps the choice": async (browser) => {
    await using stage = await Stage.start({ tokens: 2, tokenDelayMs: 1 });
    await stage.post("/api/chat", { ...CHAT, model: "none" });
    for (let count = 0; count < LAST_REQUESTS; count++) await stage.post("/api/chat", CHAT);
    await stage.post("/api/generate", GENERATE);
    await using page = await browser.open(stage.pageUrl);
    const rows = () =>
      page.evaluate<string[]>(
        "[...document.querySelectorAll('#requests tbody tr')].map((tr) => tr.dataset.key)",
      );
    await until(async () => (await rows()).length === LAST_REQUESTS, "the last ones are listed");
    const choose = (title: string, value: string) =>
      page.ask("select", { selector: `#filters select[aria-label='${title}']`, value });
    await choose("Result", "Errors");
    assertEquals(await rows(), ["1"], "a failure that the last requests have displaced");
    assertEquals(await page.text("#requests-total"), `1 of ${LAST_REQUESTS + 1}`);
    await choose("API", "generate");
    assertEquals(await rows(), []);
    assertMatch(await page.text("#requests-empty"), /^None of the last 31 requests matches the filter$/);
    await choose("Result", "");
    assertEquals(await rows(), [String(LAST_REQUESTS + 2)]);
    await stage.post("/api/generate", GENERATE);
    await until(async () => (await rows()).length === 2, "later ones are filtered as well");
    await choose("API", "");
    await choose("Model", "none:latest");
    assertEquals(await rows(), ["1"]);
    assertEquals(await violationsOf(page), []);
  },

  "it shows clients and filters by them where they are told apart, and has no column for them elsewhere": async (
    browser,
  ) => {
    const isShown = (page: Page) =>
      page.evaluate<boolean[]>(`["#requests th.client", "#filters select[aria-label='Client']"]
        .map((selector) => document.querySelector(selector).checkVisibility())`);
    {
      await using stage = await Stage.start({ tokens: 2, tokenDelayMs: 1 });
      await stage.post("/api/chat", CHAT);
      await using page = await browser.open(stage.pageUrl);
      await until(async () => await page.text("#requests tbody .name") !== "", "it is listed");
      assertEquals(await isShown(page), [false, false]);
    }
    const clientOf: ClientOf = (headers) => headers.get("x-client") ?? "unknown";
    const clients = { clientOf, limit: 10 };
    await using stage = await Stage.start({ tokens: 2, tokenDelayMs: 1 }, { clients });
    const send = async (client: string, path: string, body: unknown) => {
      const init = { method: "POST", headers: { "x-client": client }, body: JSON.stringify(body) };
      await (await fetch(stage.url + path, init)).text();
    };
    for (const name of ["alice", "<b>bob</b>"]) await send(name, "/api/chat", CHAT);
    await using page = await browser.open(stage.pageUrl);
    await until(async () => await page.text("#requests tbody .client") === "<b>bob</b>", "the client is text");
    assertEquals(await isShown(page), [true, true]);
    await page.ask("select", { selector: "#filters select[aria-label='Client']", value: "alice" });
    assertEquals(await page.text("#requests tbody"), await page.text("#requests tbody [data-key='1']"));
    assertEquals(await violationsOf(page), []);
    for (const name of ["ollama-python", "x".repeat(64)]) await send(name, "/v1/audio/transcriptions", CHAT);
    await using tablet = await browser.open(stage.pageUrl, { viewport: TABLET });
    await until(async () => await tablet.text("#requests [data-key='4'] .client") !== "", "the long one is listed");
    const lines = await tablet.evaluate<number>(
      `(({ height }, line) => height / line)(
        document.querySelector("#requests [data-key='3'] .client span").getBoundingClientRect(),
        document.querySelector("#requests [data-key='3'] .status span").getBoundingClientRect().height)`,
    );
    assertEquals(lines <= 2.5, true, `"ollama-python" in ${lines} lines`);
    await fitsIntoAnyWindow(browser, stage.pageUrl);
  },

  "it shows at most 15 requests on a phone, in columns that are the same for all": async (browser) => {
    await using stage = await Stage.start({ tokens: 2, tokenDelayMs: 1 });
    for (let count = 0; count < 20; count++) await stage.post(count % 2 ? "/api/chat" : "/api/embeddings", CHAT);
    await using page = await browser.open(stage.pageUrl, { viewport: PHONE });
    const rows = "[...document.querySelectorAll('#requests tbody tr')].filter((row) => row.checkVisibility())";
    await until(async () => await page.evaluate<number>(`${rows}.length`) > 0, "it is filled");
    assertEquals(await page.evaluate(`${rows}.length`), 15);
    for (const column of ["ended", "name", "duration", "status", "api", "speed"]) {
      const left = await page.evaluate<number[]>(
        `[document.querySelector("#requests thead tr"), ...${rows}].map((row) =>
          row.querySelector(".${column}").getBoundingClientRect().left)`,
      );
      assertEquals(new Set(left).size, 1, `${column}: ${left}`);
    }
    const results = "[...document.querySelectorAll('#requests tbody tr:nth-child(-n + 15) .result')]";
    const isShown = `${results}.map((cell) => cell.checkVisibility() === (cell.dataset.tone === "failed"))`;
    assertEquals(new Set(await page.evaluate<boolean[]>(isShown)), new Set([true]), "results of failures only");
  },

  "its cards fill each row at tablet width": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl, { viewport: TABLET });
    await untilHealth(page, "up");
    const right = await page.evaluate<number[]>(
      "[...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect().right)",
    );
    const last = await page.evaluate<number[]>(
      "[...document.querySelectorAll('.row')].map((row) => row.lastElementChild.getBoundingClientRect().right)",
    );
    assertEquals(last, right);
    const plot = await page.evaluate<number>("document.querySelector('#plot-requests .chart').clientWidth");
    assertEquals(plot > TABLET.width / 2, true, `the plot fills the wide card: ${plot}`);
  },

  "it has a sentence, a link and nothing else without JavaScript": async (browser) => {
    await using stage = await Stage.start();
    await using page = await browser.open(stage.pageUrl, { javaScriptEnabled: false });
    const text = await page.ask("visibleText") as string;
    assertMatch(text, /The live figures require JavaScript\. Metrics has all of them/);
    assertEquals(/Connecting|in flight|Pause/i.test(text), false, text);
  },
});
