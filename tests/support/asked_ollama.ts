/**
 * The questions about the server's state, answered by a test, and what is exposed then.
 *
 * @module
 */

import { ModelLabels } from "../../lib/metrics/model_labels.ts";
import { Ollama } from "../../lib/ollama/ollama.ts";
import { MetricRegistry } from "../../lib/metrics/registry.ts";
import { Scrape } from "./helpers.ts";

/** What is asked. */
export const QUESTIONS = ["version", "ps", "tags"] as const;
/** One of the questions. */
export type Question = typeof QUESTIONS[number];

/** Answers a question; the signal tells that nobody waits for it any more. */
export type Answer = (signal: AbortSignal) => Response | Promise<Response>;

/** An answer with status 200 and this text. */
export function saying(text: string, status = 200): Answer {
  return () => new Response(text, { status });
}

/** The list of models that `/api/ps` and `/api/tags` answer with. */
export function listing(...models: unknown[]): Answer {
  return saying(JSON.stringify({ models }));
}

/** No answer as long as somebody waits for it. */
export function hanging(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

/** Answers as `fetch` does where nothing listens. */
export function refusing(): Promise<Response> {
  return Promise.reject(new TypeError("error sending request: client error (Connect): tcp connect error"));
}

/** What a test changes. */
export interface AskedOptions {
  readonly modelLimit?: number;
  readonly timeoutMs?: number;
}

/** Asks a test how Ollama is. Where the test says nothing, it is release 0.33.0 without models. */
export class AskedOllama implements Disposable {
  /** May be changed from one scrape to the next. */
  answers: Record<Question, Answer>;
  /** Paths that were asked, in their order. */
  readonly asked: string[] = [];
  readonly ollama: Ollama;
  readonly registry: MetricRegistry = new MetricRegistry();
  readonly #client = Deno.createHttpClient({});

  constructor(answers: Partial<Record<Question, Answer>> = {}, options: AskedOptions = {}) {
    this.answers = { version: saying('{"version":"0.33.0"}'), ps: listing(), tags: listing(), ...answers };
    const { modelLimit = 200, timeoutMs = 20_000 } = options;
    this.ollama = new Ollama({
      upstream: new URL("http://ollama.test:11434/base/"),
      fetch: async (url, { signal }) => {
        this.asked.push(url);
        const [question = ""] = /[a-z]+$/.exec(url) ?? [];
        return await this.answers[question as Question](signal as AbortSignal);
      },
      client: this.#client,
      timeoutMs,
      registry: this.registry,
      models: new ModelLabels(modelLimit),
    });
  }

  /** Asks, and reads what is exposed then. */
  async scrape(limitMs?: number): Promise<Scrape> {
    await this.ollama.refresh(limitMs);
    return new Scrape(await this.registry.expose("text"));
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
