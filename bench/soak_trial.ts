/**
 * Trial of the soak: an exporter in a process of its own between the clients and the bench's upstream, and the tally of
 * bytes and requests that passed through it.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import type { WebServer } from "../lib/settings/settings.ts";
import { OUTCOMES } from "../lib/observation.ts";
import { delay, Scrape } from "../tests/support/helpers.ts";
import { type BulkCheck, lengthOf } from "./bulk.ts";
import { type Usage, usageOf } from "./child.ts";
import { type Proxy, startExporter } from "./proxies.ts";
import { APIS, Client, type Exchange } from "./soak_client.ts";

/** Maximum time from the end of the last response until the metrics include it. */
const SETTLE_LIMIT_MS = 10_000;
const SETTLE_RETRY_MS = 50;

/** Maximum number of problems reported per trial, since one cause often has many. */
const PROBLEM_LIMIT = 20;

/** Tally of what passed through an exporter. */
export interface Tally {
  readonly exchanges: number;
  /** Bytes of bodies that must arrive completely, in both directions. */
  readonly bytesChecked: number;
  readonly bytesLost: number;
  readonly observationsMissing: number;
  readonly observationsDoubled: number;
  readonly peakRssBytes: number;
  /** Problems found. */
  readonly problems: readonly string[];
}

/** Running exporter, and its expected observations. */
export class Trial implements AsyncDisposable {
  readonly #proxy: Proxy;
  readonly #before: Scrape;
  /** Expected observations by endpoint and outcome. */
  readonly #expected = new Map<string, number>();
  readonly #problems: string[] = [];
  /** Whether the tally is final and clients may stop. */
  isOver = false;
  #exchanges = 0;
  #bytesChecked = 0;
  #bytesLost = 0;

  private constructor(proxy: Proxy, before: Scrape) {
    this.#proxy = proxy;
    this.#before = before;
  }

  /** Starts an exporter as `deno task start` does. */
  static async start(upstreamPort: number, server: WebServer): Promise<Trial> {
    const proxy = await startExporter(upstreamPort, undefined, { WEB_SERVER: server });
    return new Trial(proxy, await scrapeOf(proxy));
  }

  /** Number of exchanges that have ended. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /** Returns a client of the exporter. */
  client(): Client {
    return new Client(this.#proxy.port);
  }

  /** Scrapes the exporter's metrics. */
  async scrape(): Promise<Scrape> {
    return await scrapeOf(this.#proxy);
  }

  /** Returns the time of a request that asks nothing of the upstream, in ms. */
  async responseMs(): Promise<number> {
    const startedAt = performance.now();
    await (await fetch(`http://127.0.0.1:${this.#proxy.port}/-/healthy`)).body?.cancel();
    return performance.now() - startedAt;
  }

  /** Returns the resource usage of the exporter's process. */
  async usage(): Promise<Usage> {
    return await usageOf(this.#proxy.pid as number);
  }

  /** Reports a problem. */
  problem(text: string): void {
    if (this.#problems.length < PROBLEM_LIMIT) this.#problems.push(text);
  }

  /** Runs an exchange to its end, or until the client disconnects after a number of response bytes. */
  async exchange(client: Client, exchange: Exchange, leavesAt?: number): Promise<void> {
    try {
      await client.begin(exchange);
      if (leavesAt !== undefined) await client.read(leavesAt);
      this.ended(
        exchange,
        leavesAt === undefined ? await client.finish() : client.disconnect(),
        leavesAt !== undefined,
      );
    } catch (error) {
      client.disconnect();
      const [line] = exchange.request.split("\r\n", 1);
      this.problem(`${line}: ${messageOf(error)}`);
    }
  }

  /** Counts an exchange with its outcome. */
  ended({ api, request, upload, outcome }: Exchange, check: BulkCheck, hasLeft = false): void {
    this.#exchanges++;
    if (api !== undefined) {
      const key = keyOf(api, hasLeft ? "client_closed" : outcome);
      this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    }
    this.#bytesChecked += check.received + (upload === undefined ? 0 : lengthOf(upload.body));
    const lost = hasLeft ? check.wrong : check.lost;
    this.#bytesLost += lost;
    if (lost > 0) this.problem(`${request.split("\r\n", 1)[0]}: ${lost} bytes lost, ${check.received} received`);
  }

  /** Waits until the exporter has observed everything, and completes the tally. */
  async end(): Promise<Tally> {
    this.isOver = true;
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    let counted = this.#count(await this.scrape());
    while (counted.problems.length > 0 && performance.now() < deadline) {
      await delay(SETTLE_RETRY_MS);
      counted = this.#count(await this.scrape());
    }
    return {
      exchanges: this.#exchanges,
      bytesChecked: this.#bytesChecked,
      bytesLost: this.#bytesLost,
      observationsMissing: counted.missing,
      observationsDoubled: counted.doubled,
      peakRssBytes: (await this.usage()).peakRssBytes,
      problems: [...this.#problems, ...counted.problems],
    };
  }

  /** Compares a count of the exporter with the expected one. */
  #count(scrape: Scrape): { missing: number; doubled: number; problems: string[] } {
    const problems: string[] = [];
    let [missing, doubled] = [0, 0];
    const increase = (name: string, labels?: Record<string, string>): number =>
      (scrape.value(name, labels) ?? 0) - (this.#before.value(name, labels) ?? 0);
    const compare = (what: string, found: number, expected: number): void => {
      if (found !== expected) problems.push(`${what}: ${found}, not ${expected}`);
    };
    const count = (what: string, found: number, expected: number): void => {
      compare(what, found, expected);
      missing += Math.max(expected - found, 0);
      doubled += Math.max(found - expected, 0);
    };
    for (const api of Object.values(APIS)) {
      for (const outcome of OUTCOMES) {
        const found = increase("ollama_request_outcomes_total", { api, outcome });
        count(`requests of ${api} that are ${outcome}`, found, this.#expected.get(keyOf(api, outcome)) ?? 0);
      }
    }
    const measured = [...this.#expected.values()].reduce((a, b) => a + b, 0);
    const foundMeasured = increase("ollama_requests_total");
    compare("measured requests", foundMeasured, measured);
    count("other requests", increase("ollama_http_requests_total") - foundMeasured, this.#exchanges - measured);
    for (const name of ["ollama_requests_in_flight", "ollama_requests_waiting"]) {
      compare(name, scrape.value(name) ?? 0, 0);
    }
    compare("internal errors", scrape.value("ollama_exporter_internal_errors_total") ?? NaN, 0);
    return { missing, doubled, problems };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#proxy.stop();
  }
}

async function scrapeOf({ port }: Proxy): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  return new Scrape(await response.text());
}

function keyOf(api: string, outcome: string): string {
  return `${api} ${outcome}`;
}
