/**
 * An {@linkcode Ollama} client whose probes a test answers.
 *
 * @module
 */

import { Metrics } from "../../lib/metrics/request_metrics.ts";
import { declareProbeErrors, declareServerMetrics } from "../../lib/metrics/server_metrics.ts";
import { Ollama } from "../../lib/ollama/probes.ts";
import type { LoadedList, Probe } from "../../lib/ollama/state.ts";
import { Scrape } from "./helpers.ts";

/** Answers a probe. The signal aborts when the probe is canceled or times out. */
export type Answer = (signal: AbortSignal) => Response | Promise<Response>;

/** Responds with this text. */
export function saying(text: string, status = 200): Answer {
  return () => new Response(text, { status });
}

/** Responds with a list of models, as `/api/ps` and `/api/tags` do. */
export function listing(...models: unknown[]): Answer {
  return saying(JSON.stringify({ models }));
}

/** Does not respond until the probe is aborted. */
export function hanging(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

/** Fails as `fetch` does if no server is listening. */
export function refusing(): Promise<Response> {
  return Promise.reject(new TypeError("error sending request: client error (Connect): tcp connect error"));
}

/** Options of {@linkcode AskedOllama}. */
interface AskedOptions {
  readonly modelLimit?: number;
  readonly timeoutMs?: number;
}

/** A client, and the metrics of the state it fetches. By default the server has version 0.33.0 and no models. */
export class AskedOllama implements Disposable {
  /** Answers to the next probes. */
  answers: Record<Probe, Answer>;
  /** URLs that were requested, in order. */
  readonly asked: string[] = [];
  /** The lists of models in memory, and `undefined` for each that failed. */
  readonly loaded: (LoadedList | undefined)[] = [];
  readonly ollama: Ollama;
  readonly metrics: Metrics;
  readonly #client = Deno.createHttpClient({});

  constructor(answers: Partial<Record<Probe, Answer>> = {}, options: AskedOptions = {}) {
    this.answers = { version: saying('{"version":"0.33.0"}'), ps: listing(), tags: listing(), ...answers };
    const { modelLimit = 200, timeoutMs = 20_000 } = options;
    this.metrics = new Metrics({ modelLimit, openRequests: new Set() });
    declareServerMetrics(this.metrics.registry, this.metrics.models);
    this.ollama = new Ollama({
      upstream: new URL("http://ollama.test:11434/base/"),
      fetch: async (url, { signal }) => {
        this.asked.push(url);
        const [probe = ""] = /[a-z]+$/.exec(url) ?? [];
        return await this.answers[probe as Probe](signal as AbortSignal);
      },
      client: this.#client,
      timeoutMs,
      onLoaded: (list) => this.loaded.push(list),
      countError: declareProbeErrors(this.metrics.registry),
    });
  }

  /** Fetches the state and exposes its metrics. */
  async scrape(limitMs?: number): Promise<Scrape> {
    const state = await this.ollama.fetchState(limitMs);
    return new Scrape(await this.metrics.expose("text", state));
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
