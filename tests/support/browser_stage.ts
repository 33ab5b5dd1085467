/**
 * The setting of the status page's stories, and the state that the page shows.
 *
 * @module
 */

import { createExporter, type Exporter, type ExporterOptions } from "../../lib/exporter.ts";
import type { Listener } from "../../lib/http.ts";
import { listen } from "../../lib/listen/deno_listener.ts";
import { createLog } from "../../lib/log/log.ts";
import { Browser, hasChromium, type Page, type Violation } from "./browser.ts";
import { type FakeOllama, type FakeOllamaOptions, startFakeOllama } from "../fake_ollama/mod.ts";
import { Scrape, until } from "./helpers.ts";

/** A fake Ollama, an exporter in front of it, and a listener, each of which can be stopped and restarted. */
export class Stage implements AsyncDisposable {
  readonly exporter: Exporter;
  readonly port: number;
  fake: FakeOllama;
  listener: Listener;

  private constructor(fake: FakeOllama, options: Partial<ExporterOptions>) {
    this.fake = fake;
    this.exporter = createExporter({
      upstream: new URL(fake.url),
      version: "0.0.0-test",
      homepage: "https://example.com/exporter",
      log: createLog({ level: "ERROR", format: "text" }),
      metricsPath: "/metrics",
      modelLimit: 200,
      probeTimeoutMs: 1000,
      openaiStreamUsage: true,
      allowedHosts: [],
      fetch,
      ...options,
    });
    this.listener = this.#listen(0);
    this.port = this.listener.address.port;
  }

  static async start(options: FakeOllamaOptions = {}, exporter: Partial<ExporterOptions> = {}): Promise<Stage> {
    return new Stage(await startFakeOllama(options), exporter);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pageUrl(): string {
    return `${this.url}/-/`;
  }

  #listen(port: number): Listener {
    return listen(this.exporter.handlers.combined, { hostname: "127.0.0.1", port });
  }

  /** Stops the exporter and closes all connections. */
  async goes(): Promise<void> {
    this.listener.abort();
    await this.listener.shutdown();
  }

  /** Starts the exporter again. */
  comes(): void {
    this.listener = this.#listen(this.port);
  }

  async ollamaComes(): Promise<void> {
    this.fake = await startFakeOllama({ port: this.fake.port });
  }

  async post(path: string, body: unknown): Promise<void> {
    await (await fetch(this.url + path, { method: "POST", body: JSON.stringify(body) })).text();
  }

  async scrape(): Promise<Scrape> {
    return new Scrape(await (await fetch(`${this.url}/metrics`)).text());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.goes();
    this.exporter.close();
    await this.fake.close();
  }
}

/** The states of the exporter and of Ollama on the page. */
export async function healthOf(page: Page): Promise<[state: string, text: string]> {
  return [await page.evaluate("document.querySelector('[data-state]').dataset.state"), await page.text("#health-text")];
}

/** Waits until the page shows these states, and returns its texts. */
export async function untilHealth(page: Page, state: string): Promise<string> {
  await until(async () => (await healthOf(page))[0] === state, `the page says ${state}`);
  return (await healthOf(page))[1];
}

/** Returns findings of axe of every impact: none is accepted. */
export async function violationsOf(page: Page): Promise<readonly Violation[]> {
  return await page.ask("axe") as Violation[];
}

/** Returns the exact values of a legend, by the names of its rows. */
export async function legendOf(page: Page, id: string): Promise<Record<string, string>> {
  const rows = await page.evaluate<[string, string][]>(
    `[...document.querySelectorAll("#${id} li")].map((li) => [li.dataset.key, li.querySelector("b").title])`,
  );
  return Object.fromEntries(rows);
}

/** Registers a test with a step for each story. Without Chromium it is left out, except in CI. */
export function testStories(name: string, stories: Record<string, (browser: Browser) => Promise<void>>): void {
  const isLeftOut = !hasChromium() && Deno.env.get("CI") !== "true";
  const note = isLeftOut ? " (left out: there is no /usr/bin/chromium; apt-get install chromium)" : "";
  Deno.test({
    name: `${name}${note}`,
    ignore: isLeftOut,
    fn: async (t) => {
      await using browser = new Browser();
      for (const [story, run] of Object.entries(stories)) await t.step(story, () => run(browser));
    },
  });
}
