/**
 * Runs clients in runtimes of their own against the program at its default settings, with a fake Ollama behind it.
 *
 * A client is a process whose argument is the program's URL. It goes through its cases one by one and prints objects in
 * JSON, one per line:
 *
 * - `{"case", "event": "first"}`: it has read the first text of a held stream. Ollama then sends the rest.
 * - `{"case", "event": "sent"}`: it has begun a request that Ollama does not answer. It waits for a line on standard
 *   input, which comes when Ollama has the whole request, and cancels.
 * - `{"case", "event": "cancelled"}`: it has cancelled a request, or a timeout has. It waits for a line, which comes
 *   when Ollama has noticed: while the client runs, so that its exit is not what is noticed.
 * - `{"case", "result"}`: what came of the case.
 *
 * The header `X-Fake-Ollama` of a request chooses what Ollama does: `hold` the second token back, `hang`, the same
 * until the client's `timeout`, or call `tools`. So does the query `fake-ollama=hold`, for browsers, which send such a
 * header only where Ollama allows it.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import {
  DEFAULT_WORDS,
  type FakeBehaviour,
  type FakeOllama,
  type RecordedRequest,
  startFakeOllama,
} from "../../fake_ollama/mod.ts";
import { REPOSITORY } from "../../support/fixtures.ts";
import { Gate, PATIENCE_MS, Scrape, until } from "../../support/helpers.ts";
import { Program } from "../../support/program.ts";

/** The default settings, on a free port. */
const SETTINGS = { LISTEN_ADDRESS: ":0" };

/** Timeout of a client with all its cases, and of what it downloads or compiles before. */
export const CLIENT_MS = 3 * PATIENCE_MS;

/** The text of every chat. */
export const TEXT = DEFAULT_WORDS.join("");
/** The tool call of every request for tools. */
export const TOOL_CALL = { name: "get_time", arguments: { tz: "Europe/Oslo" } };

/** Path of a file of this folder. */
export function pathOf(name: string): string {
  return new URL(`tests/program/clients/${name}`, REPOSITORY).pathname;
}

/** Returns a folder for what clients download and compile. It is kept until its key changes. */
export function cacheOf(key: string): string {
  const path = new URL(`node_modules/.cache/clients/${key}`, REPOSITORY).pathname;
  Deno.mkdirSync(path, { recursive: true });
  return path;
}

/** Counts of a scrape, by what they count. */
export interface Figures {
  /** Inference requests, by API and outcome: `"chat ok"`. */
  readonly outcomes: Record<string, number>;
  /** Proxied requests, by method, route and status: `"GET /api/tags 200"`. */
  readonly requests: Record<string, number>;
  readonly generatedTokens: number;
  /** Requests that Ollama saw cancelled; those that ran into a timeout may not have come so far. */
  readonly cancelled: number;
}

/** Output of a client, by case. */
export type Results = Record<string, unknown>;

/** A fake Ollama and the program in front of it. */
export class Stage implements AsyncDisposable {
  readonly fake: FakeOllama;
  readonly program: Program;
  readonly port: number;
  #gate = new Gate();

  private constructor(fake: FakeOllama, program: Program, port: number) {
    this.fake = fake;
    this.program = program;
    this.port = port;
    fake.behaviour.choose = (request) => this.#choose(request);
  }

  static async start(): Promise<Stage> {
    const fake = await startFakeOllama();
    const program = new Program({ variables: { OLLAMA_HOST: fake.url, ...SETTINGS } });
    return new Stage(fake, program, await program.port());
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  #choose(request: RecordedRequest): Partial<FakeBehaviour> | undefined {
    switch (behaviourOf(request)) {
      case "hold":
        return { hold: this.#gate.opened };
      case "hang":
      case "timeout":
        return { hang: true };
      case "tools":
        return { toolCalls: [TOOL_CALL], tokens: 0 };
      default:
        return undefined;
    }
  }

  /** Lets held streams continue. Later ones are held again. */
  release(): void {
    this.#gate.open();
    this.#gate = new Gate();
  }

  /** Requests of clients, in order; not the exporter's own. */
  get requests(): RecordedRequest[] {
    return this.fake.requests.filter((request) => request.header("x-forwarded-for") !== undefined);
  }

  get #open(): RecordedRequest[] {
    return this.requests.filter(({ answeredAt, abortedAt }) => (answeredAt ?? abortedAt) === undefined);
  }

  /** Waits until Ollama has the whole of each open request. */
  async untilSent(): Promise<void> {
    const hasWhole = (requests: readonly RecordedRequest[]): boolean =>
      requests.length > 0 && requests.every(({ bodyComplete }) => bodyComplete);
    // A browser's preflight comes before.
    await until(() => hasWhole(this.#open.filter(({ method }) => method !== "OPTIONS")), "Ollama has the request");
  }

  /** Waits until no request is open at Ollama. */
  async untilFree(): Promise<void> {
    await until(() => this.#open.length === 0, "Ollama has noticed that the client is gone");
  }

  /** Runs a client to its end, and returns its results. */
  async run(command: string, args: readonly string[]): Promise<Results> {
    const kill = new AbortController();
    const child = new Deno.Command(command, {
      args: [...args, this.url],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.any([kill.signal, AbortSignal.timeout(CLIENT_MS)]),
    }).spawn();
    const errors = new Response(child.stderr).text();
    const results: Results = {};
    const input = child.stdin.getWriter();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
    try {
      for await (const line of lines) {
        const { case: name, event, result } = JSON.parse(line);
        if (event === undefined) results[name] = result;
        else if (await this.#on(event)) await input.write(new TextEncoder().encode("\n"));
      }
      await input.close();
      const { success, code } = await child.status;
      if (!success) fail(`exit code ${code}`);
    } catch (error) {
      kill.abort();
      fail(`${error}, after ${JSON.stringify(results)}\n${await errors}`);
    }
    return results;
  }

  /** Does what an event of a client asks for. Returns whether the client waits. */
  async #on(event: string): Promise<boolean> {
    if (event === "first") this.release();
    if (event === "sent") await this.untilSent();
    if (event === "cancelled") await this.untilFree();
    return event !== "first";
  }

  /** Returns the counts of /metrics when all requests have ended, of which none may have gone wrong unseen. */
  async figures(): Promise<Figures> {
    const scrape = async (): Promise<Scrape> => new Scrape(await (await fetch(`${this.url}/metrics`)).text());
    await this.untilFree();
    await until(
      async () => ((await scrape()).value("ollama_requests_in_flight") ?? 0) === 0,
      "no request is in flight",
    );
    const last = await scrape();
    for (const name of ["parse_errors", "internal_errors", "upstream_errors"]) {
      assertEquals(last.value(`ollama_exporter_${name}_total`), 0, name);
    }
    assertEquals(last.value("ollama_usage_missing_total") ?? 0, 0);
    assertEquals(this.program.lines.filter((line) => line.includes("level=ERROR")), []);
    return {
      outcomes: countsOf(last, "ollama_request_outcomes_total", "api", "outcome"),
      requests: countsOf(last, "ollama_http_requests_total", "method", "route", "code"),
      generatedTokens: last.value("ollama_tokens_generated_total") ?? 0,
      cancelled: this.requests.filter(isCancelled).length,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gate.open();
    await this.program[Symbol.asyncDispose]();
    await this.fake.close();
  }
}

/** Returns what a request wants Ollama to do. */
function behaviourOf(request: RecordedRequest): string | undefined {
  return request.header("x-fake-ollama") ?? /^fake-ollama=(\w+)$/.exec(request.query)?.[1];
}

function isCancelled(request: RecordedRequest): boolean {
  return request.abortedAt !== undefined && behaviourOf(request) !== "timeout";
}

/** Returns the values of a metric that are not 0, by values of labels. */
function countsOf(scrape: Scrape, name: string, ...labels: string[]): Record<string, number> {
  const keys = labels.map((label) => scrape.labelValues(label)).reduce<string[][]>(
    (all, values) => all.flatMap((key) => values.map((value) => [...key, value])),
    [[]],
  );
  const counts = keys.map((key) => {
    const pairs = labels.map((label, index) => [label, key[index] ?? ""]);
    return [key.join(" "), scrape.value(name, Object.fromEntries(pairs)) ?? 0] as const;
  });
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
