/**
 * A trial of the soak: an exporter in a process of its own between the clients and the bench's upstream, and the count
 * of what went through it, byte by byte and request by request.
 *
 * @module
 */

import type { WebServer } from "../lib/settings/settings.ts";
import { OUTCOMES } from "../lib/observation.ts";
import { delay, Scrape } from "../tests/support/helpers.ts";
import { type BulkCheck, lengthOf } from "./bulk.ts";
import { type Usage, usageOf } from "./child.ts";
import { type Proxy, startExporter } from "./proxies.ts";
import { APIS, Client, type Exchange } from "./soak_client.ts";

/** How long the exporter may take, once the last client has its answer, until its metrics show it. */
const SETTLE_LIMIT_MS = 10_000;
const SETTLE_RETRY_MS = 50;

/** Problems of one trial that are told; what is wrong once is often wrong always. */
const PROBLEM_LIMIT = 20;

/** What went through an exporter. */
export interface Tally {
  readonly exchanges: number;
  /** Of bodies that were to arrive whole, in both directions. */
  readonly bytesChecked: number;
  readonly bytesLost: number;
  readonly observationsMissing: number;
  readonly observationsDoubled: number;
  readonly peakRssBytes: number;
  /** What was not as it should be. */
  readonly problems: readonly string[];
}

/** A running exporter, and what is known of it. */
export class Trial implements AsyncDisposable {
  readonly #proxy: Proxy;
  readonly #before: Scrape;
  /** Requests that must have been observed, by endpoint and outcome. */
  readonly #expected = new Map<string, number>();
  readonly #problems: string[] = [];
  /** The counts are final: nothing more needs to be sent. */
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

  /** Exchanges that have ended. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /** A client of the exporter. */
  client(): Client {
    return new Client(this.#proxy.port);
  }

  /** What the exporter says of itself. */
  async scrape(): Promise<Scrape> {
    return await scrapeOf(this.#proxy);
  }

  /** What the exporter's process uses. */
  async usage(): Promise<Usage> {
    return await usageOf(this.#proxy.pid as number);
  }

  /** Says what is not as it should be. */
  problem(text: string): void {
    if (this.#problems.length < PROBLEM_LIMIT) this.#problems.push(text);
  }

  /** A whole exchange, or what there is of it until so many bytes of its answer have come, and the client leaves. */
  async exchange(client: Client, exchange: Exchange, leavesAt?: number): Promise<void> {
    try {
      await client.begin(exchange);
      if (leavesAt !== undefined) await client.read(leavesAt);
      this.ended(exchange, leavesAt === undefined ? await client.finish() : client.leave(), leavesAt !== undefined);
    } catch (error) {
      client.leave();
      const [line] = exchange.request.split("\r\n", 1);
      this.problem(`${line}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Counts an exchange that has ended so. */
  ended({ api, request, upload, outcome }: Exchange, check: BulkCheck, hasLeft = false): void {
    this.#exchanges++;
    if (api !== undefined) {
      const key = keyOf(api, hasLeft ? "client_closed" : outcome);
      this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    }
    this.#bytesChecked += check.received + (upload === undefined ? 0 : lengthOf(upload.body));
    const lost = hasLeft ? check.wrong : check.lost;
    this.#bytesLost += lost;
    if (lost > 0) this.problem(`${request.split("\r\n", 1)[0]}: ${lost} bytes are lost, ${check.received} have come`);
  }

  /** Waits until the exporter has observed everything, and counts. */
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

  /** Compares what the exporter has counted with what it should have. */
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
