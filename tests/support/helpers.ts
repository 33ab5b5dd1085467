/**
 * An exporter for stories over real sockets, built as main.ts builds it, and a parser of its metrics.
 *
 * @module
 */

import { fail } from "@std/assert";
import type { WebServer } from "../../lib/settings/settings.ts";
import { createExporter, type Exporter, type ExporterOptions } from "../../lib/exporter.ts";
import type { Handler, Listener } from "../../lib/http.ts";
import { listen } from "../../lib/listen/deno_listener.ts";
import { createLog } from "../../lib/log/log.ts";
import type { Metrics } from "../../lib/metrics/request_metrics.ts";
import { listenNode } from "../../lib/listen/node_listener.ts";
import type { Observation, OpenRequest } from "../../lib/observation.ts";
import type { Ollama } from "../../lib/ollama/probes.ts";
import type { Script } from "../fake_ollama/mod.ts";

/** Timeout for events that must happen. Long, since machines may be busy; a test that passes never waits for it. */
export const PATIENCE_MS = 20_000;

/** A chat request that the fake Ollama answers with a stream. */
export const CHAT = { model: "llama3.2", messages: [{ role: "user", content: "Hello" }] };
/** A generate request that the fake Ollama answers with a stream. */
export const GENERATE = { model: "llama3.2", prompt: "Hello" };

/** Any free port on localhost. */
export const ANY_PORT = { hostname: "127.0.0.1", port: 0 };

/** Paths of the exporter's own status requests. */
const PROBES = ["/api/version", "/api/ps", "/api/tags"];

/**
 * Returns a script of the fake Ollama that reads every request, except the exporter's status requests, and responds
 * with these bytes.
 *
 * @param bytes One byte per character.
 * @param end Whether the connection is closed afterwards.
 */
export function answering(bytes: string, end: "keep" | "close" = "keep"): Script {
  return async (request, connection) => {
    if (PROBES.includes(request.path)) return;
    await connection.readBody();
    if (end === "close") await connection.write(bytes);
    else await connection.writeLast(bytes);
    if (end === "close") connection.close();
    return true;
  };
}

/** Waits for a time. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Waits until a condition is true. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!await condition()) {
    if (performance.now() > deadline) fail(`not within ${PATIENCE_MS} ms: ${what}`);
    await delay(5);
  }
}

/** Blocks until the test opens it, at the latest at the end of its block. */
export class Gate implements Disposable {
  readonly #opened = Promise.withResolvers<void>();

  /** Resolves when the gate is open. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  open(): void {
    this.#opened.resolve();
  }

  [Symbol.dispose](): void {
    this.open();
  }
}

/** Options of an exporter in a test. */
export interface TestExporterOptions extends Partial<Omit<ExporterOptions, "upstream" | "version" | "log">> {
  /** Path behind the upstream's address, as `OLLAMA_HOST` may have one. Default: none. */
  readonly basePath?: string;
  /** Called with each observation before the metrics are. */
  readonly observe?: (observation: Observation) => void;
  /** Whether the test provokes internal errors. Otherwise there must be none. */
  readonly failsInside?: boolean;
}

/** An exporter in a test. At the end of its block it must have observed each request once, and have none open. */
export class TestExporter implements AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  readonly metrics: Metrics;
  readonly ollama: Ollama;
  readonly listener: Listener;
  /** One for each completed request, in order of completion. */
  readonly observations: Observation[] = [];
  /** The measured requests in flight. */
  readonly openRequests: ReadonlySet<OpenRequest>;
  /** Log lines of all levels. */
  readonly logLines: string[] = [];
  /** Number of requests that the proxy has forwarded. */
  proxied = 0;
  readonly #options: TestExporterOptions;
  readonly #exporter: Exporter;

  /** @param listenWith Starts the listener that calls the handler. Default: `Deno.serve`. */
  constructor(
    upstreamUrl: string,
    options: TestExporterOptions,
    listenWith: (handler: Handler) => Listener = (handler) => listen(handler, ANY_PORT),
  ) {
    this.#options = options;
    const { basePath = "", observe, failsInside: _, ...changed } = options;
    this.#exporter = createExporter({
      upstream: new URL(upstreamUrl + basePath),
      version: "0.0.0-test",
      homepage: "https://example.com/exporter",
      log: createLog({ level: "DEBUG", format: "text", write: (line) => this.logLines.push(line) }),
      metricsPath: "/metrics",
      modelLimit: 200,
      probeTimeoutMs: PATIENCE_MS,
      // So that bodies are not touched.
      openaiStreamUsage: false,
      allowedHosts: [],
      fetch,
      observers: [(observation) => this.observations.push(observation), (observation) => observe?.(observation)],
      ...changed,
    });
    this.metrics = this.#exporter.metrics;
    this.ollama = this.#exporter.ollama;
    this.openRequests = this.#exporter.openRequests;
    this.listener = listenWith(this.#counted(this.#exporter.handlers.combined));
    this.port = this.listener.address.port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  #counted(handler: Handler): Handler {
    return async (request, info) => {
      this.proxied++;
      const response = await handler(request, info);
      // The exporter's own responses have this header. The proxy rejects a path that escapes the base path.
      const isOwn = response.headers.get("x-content-type-options") === "nosniff";
      if (isOwn || this.#options.basePath !== undefined && response.status === 400) this.proxied--;
      return response;
    };
  }

  /** Waits for the observation of the n-th completed request, counted from 1, and returns it. */
  async observation(n = 1): Promise<Observation> {
    await until(() => this.observations.length >= n, `${n} requests were observed`);
    return this.observations[n - 1] ?? fail();
  }

  /** Scrapes the exporter. */
  async scrape(): Promise<Scrape> {
    const response = await fetch(this.url + (this.#options.metricsPath ?? "/metrics"));
    return new Scrape(await response.text());
  }

  /** Asks Ollama for its models, as the program does at its start. */
  discoverModels(): void {
    this.#exporter.discoverModels();
  }

  /** Sends a JSON body with `fetch`. */
  post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, { method: "POST", body: JSON.stringify(body), ...init });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const once = `each of ${this.proxied} requests is observed once`;
      await until(() => this.observations.length >= this.proxied, once);
      if (this.observations.length > this.proxied) fail(`It is not true that ${once}`);
      if (this.openRequests.size > 0) fail(`${this.openRequests.size} requests are still open`);
      const internalError = this.logLines.find((line) => line.includes("Internal error"));
      if (this.#options.failsInside !== true && internalError !== undefined) fail(internalError);
    } finally {
      this.listener.abort();
      await this.listener.shutdown();
      this.#exporter.close();
    }
  }
}

/** Starts an exporter in front of an upstream. */
export function startExporter(upstream: { url: string }, options: TestExporterOptions = {}): TestExporter {
  return new TestExporter(upstream.url, options);
}

/** Starts an exporter on one of the listeners. */
export async function startExporterOn(
  server: WebServer,
  upstream: { url: string },
  options: TestExporterOptions = {},
): Promise<TestExporter> {
  if (server === "deno") return startExporter(upstream, options);
  // It listens before there is a handler, since the exporter is built without waiting; nobody asks it before.
  const handler = Promise.withResolvers<Handler>();
  const listener = await listenNode(async (request, info) => (await handler.promise)(request, info), ANY_PORT);
  return new TestExporter(upstream.url, options, (made) => {
    handler.resolve(made);
    return listener;
  });
}

/** An exposition in the text format. */
export class Scrape {
  readonly text: string;
  readonly #samples: { name: string; labels: Record<string, string>; value: number }[] = [];

  constructor(text: string) {
    this.text = text;
    for (const [, name = "", labels = "", value = ""] of text.matchAll(/^([a-z]\w*)(?:{(.*)})? (\S+)$/gm)) {
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      this.#samples.push({
        name,
        labels: Object.fromEntries(pairs.map(([, label, text]) => [label, text])),
        value: Number(value.replace("Inf", "Infinity")),
      });
    }
  }

  /** Returns the sum of the samples with this name and these labels, or `undefined` if there is none. */
  value(name: string, labels: Record<string, string> = {}): number | undefined {
    const values = this.#samples
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      .map((sample) => sample.value);
    return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value);
  }

  /** Returns all values of a label, in any series. */
  labelValues(label: string): string[] {
    const values = this.#samples.map(({ labels }) => labels[label]).filter((value) => value !== undefined);
    return [...new Set(values)].sort();
  }
}
