/**
 * Trial of the soak: an exporter in a process of its own between the clients and the bench's upstream, the requests of
 * the clients, whose responses are known byte by byte, and the tally of bytes and requests that passed through it.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import type { WebServer } from "../lib/settings/settings.ts";
import { type Outcome, OUTCOMES } from "../lib/observation.ts";
import { delay, Scrape } from "../tests/support/helpers.ts";
import { type BulkCheck, bulkOf, lengthOf, patternOf } from "./bulk.ts";
import { type Usage, usageOf } from "./child.ts";
import * as payloads from "./payloads.ts";
import { type Proxy, startExporter } from "./proxies.ts";
import { Tally } from "./tally.ts";
import { Client, type Sent } from "./wire.ts";

/** Maximum time from the end of the last response until the metrics include it. */
const SETTLE_LIMIT_MS = 10_000;
const SETTLE_RETRY_MS = 50;

/** Measured endpoints of the bench's upstream, by dialect. */
const APIS: Readonly<Record<payloads.Dialect, string>> = {
  native: "chat",
  openai: "openai_chat",
  anthropic: "anthropic_messages",
};

/** Request, and its expected results. */
export interface Exchange extends Sent {
  /** Measured endpoint; `undefined` if the request is not measured. */
  readonly api?: string;
  /** Expected outcome if the client reads to the end. */
  readonly outcome: Outcome;
}

/** Options of {@linkcode generation}. */
interface Generation extends payloads.Wanted {
  /** Model. Default: the bench's first. */
  readonly model?: string;
  /** OpenAI: whether the client requests usage. Default: `false`; usage requested by the exporter must be hidden. */
  readonly usage?: boolean;
  /** Whether the response is streamed. Default: `true`. */
  readonly stream?: boolean;
}

/** Returns a measured request. */
export function generation(dialect: payloads.Dialect, options: Generation = {}): Exchange {
  const { model = payloads.modelName(0), usage = false, stream = true, ...wanted } = options;
  const { num_predict: tokens = 1, token_bytes, status = 200, fails } = wanted;
  const shape = { dialect, model, tokens, usage, fails };
  const isError = status !== 200;
  const whole = isError ? payloads.ERROR_BODY : stream ? undefined : payloads.wholeBody(shape);
  return {
    request: payloads.generationRequest(shape, wanted, stream),
    status,
    body: whole === undefined ? payloads.streamBody(shape, token_bytes) : bulkOf(whole),
    api: APIS[dialect],
    outcome: status >= 500 ? "server_error" : isError ? "client_error" : fails ? "stream_error" : "ok",
  };
}

/** Returns a download of that many bytes. */
export function download(bytes: number): Exchange {
  const request = payloads.get(`/bench/download?bytes=${bytes}`);
  return { request, status: 200, body: patternOf(bytes), outcome: "ok" };
}

/** Returns an upload of a blob of that many bytes. */
export function upload(bytes: number, chunked: boolean): Exchange {
  return {
    request: payloads.uploadHead(`?check=${bytes}`, bytes, chunked),
    upload: { body: patternOf(bytes), chunked },
    status: 200,
    body: bulkOf(payloads.checkedBody(0)),
    outcome: "ok",
  };
}

/** Running exporter, and its expected observations. */
export class Trial implements AsyncDisposable {
  readonly #proxy: Proxy;
  readonly #before: Scrape;
  /** Expected observations by endpoint and outcome. */
  readonly #expected = new Map<string, number>();
  readonly tally = new Tally();
  /** Whether the tally is final and clients may stop. */
  isOver = false;

  private constructor(proxy: Proxy, before: Scrape) {
    this.#proxy = proxy;
    this.#before = before;
  }

  /** Starts an exporter as `deno task start` does. */
  static async start(upstreamPort: number, server: WebServer): Promise<Trial> {
    const proxy = await startExporter(upstreamPort, { WEB_SERVER: server });
    return new Trial(proxy, await scrapeOf(proxy));
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
    this.tally.problems.push(text);
  }

  /** Runs an exchange to its end, or until the client disconnects after a number of response bytes. */
  async exchange(client: Client, exchange: Exchange, leavesAt?: number): Promise<void> {
    try {
      await client.begin(exchange);
      if (leavesAt !== undefined) await client.read(leavesAt);
      const hasLeft = leavesAt !== undefined;
      this.ended(exchange, hasLeft ? client.disconnect() : await client.finish(), hasLeft);
    } catch (error) {
      client.disconnect();
      const [line] = exchange.request.split("\r\n", 1);
      this.problem(`${line}: ${messageOf(error)}`);
    }
  }

  /** Counts an exchange with its outcome. */
  ended({ api, request, upload, outcome }: Exchange, check: BulkCheck, hasLeft = false): void {
    this.tally.exchanges++;
    if (api !== undefined) {
      const key = keyOf(api, hasLeft ? "client_closed" : outcome);
      this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    }
    this.tally.bytesChecked += check.received + (upload === undefined ? 0 : lengthOf(upload.body));
    const lost = hasLeft ? check.wrong : check.lost;
    this.tally.bytesLost += lost;
    if (lost > 0) this.problem(`${request.split("\r\n", 1)[0]}: ${lost} bytes lost, ${check.received} received`);
  }

  /** Waits until the exporter has observed everything, and completes the tally. */
  async end(): Promise<void> {
    this.isOver = true;
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    let counted = this.#count(await this.scrape());
    while (counted.problems.length > 0 && performance.now() < deadline) {
      await delay(SETTLE_RETRY_MS);
      counted = this.#count(await this.scrape());
    }
    this.tally.observationsMissing = counted.missing;
    this.tally.observationsDoubled = counted.doubled;
    this.tally.problems.push(...counted.problems);
    this.tally.peakRssBytes = (await this.usage()).peakRssBytes;
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
    count("other requests", increase("ollama_http_requests_total") - foundMeasured, this.tally.exchanges - measured);
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
