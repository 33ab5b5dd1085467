/**
 * Chaos run: an exporter between clients and an upstream that inject the faults of their plans, and the check that
 * nothing is lost, counted twice or left open.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import type { WebServer } from "../lib/settings/settings.ts";
import { type FakeOllama, type Script, startFakeOllama } from "../tests/fake_ollama/mod.ts";
import { latin1, latin1Bytes } from "../tests/fake_ollama/wire.ts";
import { ANY_PORT, delay, type Scrape, startExporterOn, type TestExporter, until } from "../tests/support/helpers.ts";
import { RawClient } from "../tests/support/raw_client.ts";
import { type Fault, FAULTS, numberOf, pattern, type Plan, planOf, traceIdOf } from "./chaos_plan.ts";

/** Time after which a silent upstream closes, for listeners that do not report disconnects. */
const SILENCE_MS = 300;
/** Excess of a wrong Content-Length over the body's size. */
const EXCESS_BYTES = 10;

/** Options of a run. */
export interface ChaosOptions {
  readonly server: WebServer;
  readonly seed: number;
  readonly exchanges: number;
  /** Number of concurrent exchanges. */
  readonly clients: number;
}

/** Result of a run. */
export interface ChaosResult extends ChaosOptions {
  readonly faults: Readonly<Record<Fault, number>>;
  /** Bytes of bodies that must arrive completely, in both directions. */
  readonly bytesChecked: number;
  readonly bytesLost: number;
  readonly observationsMissing: number;
  readonly observationsDoubled: number;
  /** POST requests that reached the upstream more than once. */
  readonly postsRepeated: number;
  readonly connectionsLeft: number;
  readonly peakRssBytes: number;
  /** First problems found. */
  readonly problems: readonly string[];
}

/** Runs the exchanges of a seed. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const run = new Run(options);
  await using fake = await startFakeOllama({ keptRequests: 0, script: run.upstream });
  {
    await using exporter = await startExporterOn(options.server, fake, { modelLimit: 10 });
    await using alone = await startExporterOn(options.server, { url: deserted() }, { modelLimit: 10 });
    let next = 0;
    const work = async (): Promise<void> => {
      using clients = new Clients(exporter.port);
      using refused = new Clients(alone.port);
      while (next < options.exchanges) {
        const plan = planOf(options.seed, next++);
        await run.exchange(plan, plan.fault === "refused" ? refused : clients);
      }
    };
    await Promise.all(Array.from({ length: options.clients }, work));
    await run.end([exporter, alone]);
  }
  await until(() => fake.openConnections === 0, "no connection to the upstream is open");
  return run.result(fake);
}

/** Returns the address of an upstream that refuses connections. */
function deserted(): string {
  using listener = Deno.listen(ANY_PORT);
  return `http://127.0.0.1:${listener.addr.port}`;
}

/** A worker's connection, reused as long as possible. */
class Clients implements Disposable {
  readonly #port: number;
  #client: RawClient | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  async take(): Promise<RawClient> {
    return this.#client ??= await RawClient.connect(this.#port);
  }

  drop(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  [Symbol.dispose](): void {
    this.drop();
  }
}

class Run {
  readonly #options: ChaosOptions;
  readonly #faults = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  /** Requests of each exchange that reached the upstream. */
  readonly #received = new Map<number, number>();
  /** Exchanges that the exporter must observe. */
  readonly #expected = new Set<number>();
  readonly #problems: string[] = [];
  #bytesChecked = 0;
  #bytesLost = 0;
  #missing = 0;
  #doubled = 0;
  #peakRssBytes = 0;

  constructor(options: ChaosOptions) {
    this.#options = options;
  }

  /** Acts as the upstream. */
  get upstream(): Script {
    return async (request, connection) => {
      const [, traceId] = request.header("traceparent")?.split("-") ?? [];
      // The exporter's own requests have none.
      if (traceId === undefined) return;
      const plan = planOf(this.#options.seed, numberOf(traceId));
      this.#received.set(plan.number, (this.#received.get(plan.number) ?? 0) + 1);
      this.#expected.add(plan.number);
      if (plan.fault === "early_answer") {
        await connection.write(responseOf(plan));
        await connection.readBody();
        return true;
      }
      const body = await connection.readBody();
      this.#check(plan, "request", latin1(body), plan.requestBytes);
      if (plan.fault === "hang") await connection.sleep(Infinity);
      if (plan.fault === "silence") await connection.sleep(SILENCE_MS);
      if (!["hang", "silence", "no_answer"].includes(plan.fault)) await connection.write(responseOf(plan));
      if (plan.fault === "stall") await connection.sleep(Infinity);
      if (["silence", "no_answer", "half_head", "reset", "wrong_length", "idle_close"].includes(plan.fault)) {
        connection.close();
      }
      return true;
    };
  }

  /** Acts as the client, and checks the response. */
  async exchange(plan: Plan, clients: Clients): Promise<void> {
    this.#faults[plan.fault]++;
    this.#peakRssBytes = Math.max(this.#peakRssBytes, Deno.memoryUsage().rss);
    try {
      const client = await clients.take();
      if (await ask(plan, client)) await this.#answer(plan, client, clients);
      else clients.drop();
    } catch (error) {
      clients.drop();
      this.#problem(plan, messageOf(error));
    }
  }

  /** Waits for open requests, and counts the observations. */
  async end(exporters: readonly TestExporter[]): Promise<void> {
    const counts = new Map<number, number>();
    for (const exporter of exporters) {
      await until(() => exporter.openRequests.size === 0, "no request is open");
      await until(() => exporter.observations.length >= exporter.proxied, "all requests are observed");
      for (const { traceId } of exporter.observations) {
        const number = numberOf(traceId ?? "");
        counts.set(number, (counts.get(number) ?? 0) + 1);
      }
      this.#checkGauges(await exporter.scrape());
    }
    for (const number of this.#expected) if (!counts.has(number)) this.#missing++;
    for (const count of counts.values()) this.#doubled += count - 1;
  }

  #checkGauges(scrape: Scrape): void {
    for (const name of ["ollama_requests_in_flight", "ollama_requests_waiting"]) {
      if ((scrape.value(name) ?? 0) !== 0) this.#problems.push(`${name} is ${scrape.value(name)}`);
    }
  }

  result(fake: FakeOllama): ChaosResult {
    const { seed } = this.#options;
    const repeated = [...this.#received].filter(([number, count]) =>
      count > 1 && planOf(seed, number).method === "POST"
    );
    return {
      ...this.#options,
      faults: this.#faults,
      bytesChecked: this.#bytesChecked,
      bytesLost: this.#bytesLost,
      observationsMissing: this.#missing,
      observationsDoubled: this.#doubled,
      postsRepeated: repeated.length,
      connectionsLeft: fake.openConnections,
      peakRssBytes: this.#peakRssBytes,
      problems: this.#problems,
    };
  }

  async #answer(plan: Plan, client: RawClient, clients: Clients): Promise<void> {
    const { status, body, end } = await client.response(plan.method);
    this.#expected.add(plan.number);
    if (["refused", "no_answer", "half_head"].includes(plan.fault)) {
      if (status !== 502 || end !== "complete") this.#problem(plan, `status ${status}, ${end}`);
    } else if (plan.fault === "reset" || plan.fault === "wrong_length") {
      if (end !== "broken") this.#problem(plan, `the response is ${end}`);
      if (!pattern(plan.number, plan.responseBytes).startsWith(body)) {
        this.#problem(plan, "the response is not a prefix of the body");
      }
    } else {
      if (status !== plan.status || end !== "complete") this.#problem(plan, `status ${status}, ${end}`);
      this.#check(plan, "response", body, plan.fault === "no_body" ? 0 : plan.responseBytes);
    }
    if (end === "broken" || plan.fault === "early_answer") clients.drop();
  }

  #check(plan: Plan, what: string, body: string, length: number): void {
    this.#bytesChecked += length;
    if (body === pattern(plan.number, length)) return;
    this.#bytesLost += Math.max(Math.abs(length - body.length), 1);
    this.#problem(plan, `the ${what} differs: ${body.length} bytes received, ${length} sent`);
  }

  #problem({ number, fault, method, path }: Plan, text: string): void {
    this.#problems.push(`exchange ${number} (${fault}, ${method} ${path}): ${text}`);
  }
}

/** Sends a request according to its plan. Returns whether the client waits for the response. */
async function ask(plan: Plan, client: RawClient): Promise<boolean> {
  const body = latin1Bytes(pattern(plan.number, plan.requestBytes));
  const chunks = latin1Bytes(`${body.length.toString(16)}\r\n${latin1(body)}\r\n0\r\n\r\n`);
  const framing = plan.requestChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
  const head = [
    `${plan.method} ${plan.path} HTTP/1.1`,
    "Host: localhost",
    `Traceparent: 00-${traceIdOf(plan.number)}-0000000000000001-01`,
    ...plan.method === "POST" ? [framing] : [],
    ...plan.fault === "continue" ? ["Expect: 100-continue"] : [],
  ];
  const sent = plan.method !== "POST" ? new Uint8Array(0) : plan.requestChunked ? chunks : body;
  const cuts = plan.fault === "broken_upload" || plan.fault === "early_answer";
  const text = head.join("\r\n") + "\r\n\r\n";
  if (plan.fault === "half_request") {
    await client.send(text.slice(0, Math.floor(text.length * plan.cut)));
    return false;
  }
  await client.send(text);
  if (plan.fault === "continue") await client.sees("100 Continue\r\n\r\n");
  await client.send(cuts ? sent.subarray(0, Math.floor(sent.length * plan.cut)) : sent);
  if (["hang", "silence", "client_disconnects", "broken_upload", "slow_reader"].includes(plan.fault)) {
    await delay(plan.waitMs);
  }
  if (plan.fault === "stall") await client.sees("\r\n\r\n");
  return !["hang", "silence", "client_disconnects", "broken_upload", "stall"].includes(plan.fault);
}

/** Returns the bytes of a response that are sent. */
function responseOf(plan: Plan): string {
  const { fault, status, responseBytes: length } = plan;
  const body = pattern(plan.number, length);
  const announced = length + (fault === "wrong_length" ? EXCESS_BYTES : 0);
  const head = [
    `HTTP/1.1 ${status} Whatever`,
    `Content-Type: ${plan.contentType}`,
    ...status === 204 ? [] : [plan.responseChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${announced}`],
    ...fault === "early_answer" ? ["Connection: close"] : [],
  ].join("\r\n") + "\r\n\r\n";
  if (fault === "half_head") return head.slice(0, Math.floor((head.length - 1) * plan.cut));
  if (fault === "no_body") return head;
  const trailers = fault === "trailers" ? "X-Trailer: 1\r\n" : "";
  const first = Math.ceil(length / 2);
  const chunk = (data: string): string => data === "" ? "" : `${data.length.toString(16)}\r\n${data}\r\n`;
  const framed = plan.responseChunked
    ? `${chunk(body.slice(0, first))}${chunk(body.slice(first))}0\r\n${trailers}\r\n`
    : body;
  const cuts = fault === "reset" || fault === "stall";
  // The last bytes of a chunked body are its end, without which it is broken.
  return head + (cuts ? framed.slice(0, Math.floor(framed.length * plan.cut)) : framed);
}
