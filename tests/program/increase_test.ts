/**
 * `increase()` of a real Prometheus is what was sent, from the first request on.
 *
 * `increase()` extrapolates to the ends of its range. Queries are made at the time of the last sample, so that there is
 * nothing to extrapolate at the end. At the start there is nothing for a counter that begins at 0; other ranges begin
 * 1 ms before a sample, since Prometheus 3 excludes their start, and results are rounded.
 */

import { assertEquals } from "@std/assert";
import { type FakeBehaviour, startFakeOllama } from "../fake_ollama/mod.ts";
import { testWith } from "../support/deployment.ts";
import { answering, Gate } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { Prometheus } from "../support/prometheus.ts";

const LLAMA = "llama3.2:latest";
const QWEN = "qwen3:latest";
const NOMIC = "nomic-embed-text:latest";

/** Longer than the test. */
const ALWAYS = "1h";

/** What was sent and received, by model. */
interface Sent {
  requests: number;
  prompt: number;
  output: number;
}

/** A client that keeps account. */
class Client {
  readonly #url: string;
  readonly sent: Record<string, Sent> = {};

  constructor(url: string) {
    this.#url = url;
  }

  get requests(): number {
    return Object.values(this.sent).reduce((sum, { requests }) => sum + requests, 0);
  }

  /** Sends a request and counts what the last line of its response reports. */
  async send(route: string, model: string): Promise<void> {
    const response = await fetch(this.#url + route, { method: "POST", body: bodyOf(route, model) });
    const record = JSON.parse((await response.text()).trimEnd().split("\n").at(-1) ?? "");
    const sent = this.sent[model] ??= { requests: 0, prompt: 0, output: 0 };
    sent.requests++;
    sent.prompt += record.prompt_eval_count ?? 0;
    sent.output += record.eval_count ?? 0;
  }
}

function bodyOf(route: string, model: string): string {
  const input = route === "/api/chat" ? { messages: [{ role: "user", content: "Hi" }] } : { prompt: "Hi", input: "Hi" };
  return JSON.stringify({ model, ...input });
}

/** Time of the last sample, in seconds, in which this many requests have ended. */
async function scraped(prometheus: Prometheus, requests: number): Promise<number> {
  await prometheus.waitFor(`sum(ollama_http_requests_total{route=~"/api/(chat|generate|embed)"}) == ${requests}`);
  const [sample] = await prometheus.query("timestamp(ollama_up)");
  return sample?.value ?? 0;
}

/** Evaluates a query. Returns its results but zeros, by the values of some labels. */
async function resultOf(
  prometheus: Prometheus,
  query: string,
  at: number,
  ...labels: string[]
): Promise<Record<string, number>> {
  const samples = await prometheus.query(query, at);
  const results = samples.map((
    { metric, value },
  ) => [labels.map((label) => metric[label]).join(" "), Math.round(value)]);
  return Object.fromEntries(results.filter(([, value]) => value !== 0));
}

function column(sent: Readonly<Record<string, Sent>>, key: keyof Sent): Record<string, number> {
  return Object.fromEntries(
    Object.entries(sent).map(([model, figures]) => [model, figures[key]] as const).filter(([, value]) => value !== 0),
  );
}

testWith(["prometheus"], "increase() in Prometheus equals what was sent, from the first request on", async () => {
  await using fake = await startFakeOllama();
  await using program = new Program({ variables: { OLLAMA_HOST: fake.url } });
  const url = `http://127.0.0.1:${await program.port()}`;
  await using prometheus = await Prometheus.start({ targets: { ollama: url } });
  await prometheus.waitFor("count(ollama_requests_total == 0) == 3");
  const client = new Client(url);
  const failing = async (status: number, route: string, model: string): Promise<void> => {
    Object.assign(fake.behaviour, { status } satisfies Partial<FakeBehaviour>);
    await client.send(route, model);
    fake.reset();
  };

  // The first requests of the models: by model, nothing is lost. A failure comes first.
  await failing(500, "/api/chat", QWEN);
  for (const model of [LLAMA, LLAMA, QWEN]) await client.send("/api/chat", model);
  await client.send("/api/embed", NOMIC);
  const first = await scraped(prometheus, client.requests);
  const increase = (name: string): Promise<Record<string, number>> =>
    resultOf(prometheus, `increase(${name}[${ALWAYS}])`, first, "model");
  assertEquals(await increase("ollama_requests_total"), { [LLAMA]: 2, [QWEN]: 2, [NOMIC]: 1 });
  assertEquals(await increase("ollama_requests_total"), column(client.sent, "requests"));
  assertEquals(await increase("ollama_tokens_processed_total"), column(client.sent, "prompt"));
  assertEquals(await increase("ollama_tokens_generated_total"), column(client.sent, "output"));

  // Further requests of the same APIs: nothing is lost by API and outcome either, for any model.
  await failing(503, "/api/chat", LLAMA);
  await failing(404, "/api/embed", NOMIC);
  for (const model of [QWEN, QWEN, LLAMA]) await client.send("/api/chat", model);
  const second = await scraped(prometheus, client.requests);
  const range = `[${Math.round((second - first) * 1000) + 1}ms]`;
  const outcomes = `increase(ollama_request_outcomes_total${range})`;
  assertEquals(await resultOf(prometheus, outcomes, second, "model", "api", "outcome"), {
    [`${LLAMA} chat ok`]: 1,
    [`${LLAMA} chat server_error`]: 1,
    [`${QWEN} chat ok`]: 2,
    [`${NOMIC} embed client_error`]: 1,
  });
  const counts = `increase(ollama_time_to_first_token_seconds_count${range})`;
  assertEquals(await resultOf(prometheus, counts, second, "model"), { [LLAMA]: 1, [QWEN]: 2 });

  // The first request of an API that is open during a scrape.
  using gate = new Gate();
  fake.behaviour.hold = gate.opened;
  const held = client.send("/api/generate", LLAMA);
  await prometheus.waitFor(`ollama_requests_in_flight{api="generate"} == 1`);
  gate.open();
  await held;
  const third = await scraped(prometheus, client.requests);
  for (const [name, model] of [["ollama_request_outcomes_total", LLAMA], ["ollama_finish_reasons_total", LLAMA]]) {
    const query = `increase(${name}{api="generate"}[${ALWAYS}])`;
    assertEquals(await resultOf(prometheus, query, third, "model"), { [model ?? ""]: 1 }, name);
  }
  for (const name of ["time_to_first_token_seconds", "time_per_output_token_seconds"]) {
    const query = `increase(ollama_${name}_count{api="generate"}[${ALWAYS}])`;
    assertEquals(await resultOf(prometheus, query, third, "model"), { [LLAMA]: 1 }, name);
  }
  const total = await resultOf(prometheus, `increase(ollama_requests_total[${ALWAYS}])`, third, "model");
  assertEquals(total, column(client.sent, "requests"));
});

/** Label sets of a client's requests and tokens, with their increase. */
async function clientsOf(prometheus: Prometheus, requests: number): Promise<Record<string, number>> {
  const at = await scraped(prometheus, requests);
  const query = (name: string): string => `increase(ollama_client_${name}_total[${ALWAYS}])`;
  return {
    ...await resultOf(prometheus, query("requests"), at, "client", "outcome"),
    ...await resultOf(prometheus, query("tokens"), at, "client", "direction"),
  };
}

testWith(["prometheus"], "increase() in Prometheus has a client's first request if a scrape saw it open", async () => {
  await using fake = await startFakeOllama();
  const variables = { OLLAMA_HOST: fake.url, CLIENT_LABEL: "header:X-User" };
  await using program = new Program({ variables });
  const url = `http://127.0.0.1:${await program.port()}`;
  await using prometheus = await Prometheus.start({ targets: { ollama: url } });
  await prometheus.waitFor("count(ollama_requests_total == 0) == 3");
  const sendHeld = async (user: string, answer?: string): Promise<void> => {
    using gate = new Gate();
    fake.behaviour.script = async (request, connection) => {
      if (request.method !== "POST") return;
      await gate.opened;
      return answer === undefined ? undefined : await answering(answer)(request, connection);
    };
    const init = { method: "POST", headers: { "x-user": user }, body: bodyOf("/api/chat", LLAMA) };
    const held = fetch(`${url}/api/chat`, init);
    await prometheus.waitFor(`count(ollama_client_tokens_total{client="${user}"} == 0) == 2`);
    gate.open();
    await (await held).body?.pipeTo(new WritableStream());
    fake.reset();
  };
  await sendHeld("mallory", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  await sendHeld("alice");
  // The fake's answers have 26 prompt tokens.
  const { "alice output": output, ...others } = await clientsOf(prometheus, 2);
  assertEquals(others, { "unknown client_error": 1, "alice ok": 1, "alice prompt": 26 });
  assertEquals(output, (await prometheus.query("sum(ollama_tokens_generated_total)"))[0]?.value);
  assertEquals(await prometheus.query('ollama_client_requests_total{client="mallory"}'), []);
});
