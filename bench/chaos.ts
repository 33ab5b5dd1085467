/**
 * `deno task chaos`: an exporter between clients and an upstream that inject the faults of their plans, and the check
 * that nothing is lost, counted twice or left open. It runs in this process, since observations are told apart by their
 * trace ids.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import { WEB_SERVERS, type WebServer } from "../lib/settings/settings.ts";
import { type FakeOllama, type Script, startFakeOllama } from "../tests/fake_ollama/mod.ts";
import { latin1, latin1Bytes } from "../tests/fake_ollama/wire.ts";
import { ANY_PORT, delay, type Scrape, startExporterOn, type TestExporter, until } from "../tests/support/helpers.ts";
import { RawClient } from "../tests/support/raw_client.ts";
import { type Fault, FAULTS, numberOf, pattern, type Plan, planOf, traceIdOf, traitsOf } from "./chaos_plan.ts";
import type { Flags, FlagTable } from "./flags.ts";
import { chunk } from "./payloads.ts";
import { type Checked, report, Tally } from "./tally.ts";

/** Time after which a silent upstream closes, for listeners that do not report disconnects. */
const SILENCE_MS = 300;
/** Excess of a wrong Content-Length over the body's size. */
const EXCESS_BYTES = 10;

/** Flags of the command line. */
export const CHAOS_FLAGS: FlagTable = {
  seed: ["N", "seed of the faults (1)"],
  exchanges: ["N", "exchanges over each listener (20000)"],
  clients: ["N", "concurrent exchanges (32)"],
  write: ["", "also write the table to bench/README.md"],
};

/** Options of a run. */
interface ChaosOptions {
  readonly server: WebServer;
  readonly seed: number;
  readonly exchanges: number;
  /** Number of concurrent exchanges. */
  readonly clients: number;
}

/** Result of a run. */
interface ChaosResult extends Checked {
  /** Exchanges by fault. */
  readonly faults: Readonly<Record<Fault, number>>;
}

/**
 * Runs both listeners and prints a table of the results.
 *
 * @throws {Error} If something was lost, counted twice or left open.
 */
export async function chaos(flags: Flags): Promise<void> {
  const options = { seed: flags.number("seed", 1), exchanges: flags.number("exchanges", 20_000) };
  const results: ChaosResult[] = [];
  for (const server of WEB_SERVERS) {
    results.push(await runChaos({ ...options, server, clients: flags.number("clients", 32) }));
  }
  await report("chaos", flags, results);
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
  readonly #faults = Object.fromEntries(Object.keys(FAULTS).map((fault) => [fault, 0])) as Record<Fault, number>;
  /** Requests of each exchange that reached the upstream. */
  readonly #received = new Map<number, number>();
  /** Exchanges that the exporter must observe. */
  readonly #expected = new Set<number>();
  readonly #tally = new Tally();

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
      const { upstream, then } = traitsOf(plan);
      if (upstream === "first") {
        await connection.write(responseOf(plan));
        await connection.readBody();
        return true;
      }
      const body = await connection.readBody();
      this.#check(plan, "request", latin1(body), plan.requestBytes);
      if (plan.fault === "silence") await connection.sleep(SILENCE_MS);
      if (upstream !== "nothing") await connection.write(responseOf(plan));
      if (then === "wait") await connection.sleep(Infinity);
      if (then !== undefined) connection.close();
      return true;
    };
  }

  /** Acts as the client, and checks the response. */
  async exchange(plan: Plan, clients: Clients): Promise<void> {
    this.#faults[plan.fault]++;
    this.#tally.exchanges++;
    // Of all in one process.
    this.#tally.peakRssBytes = Math.max(this.#tally.peakRssBytes, Deno.memoryUsage().rss);
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
    for (const number of this.#expected) if (!counts.has(number)) this.#tally.observationsMissing++;
    for (const count of counts.values()) this.#tally.observationsDoubled += count - 1;
  }

  #checkGauges(scrape: Scrape): void {
    for (const name of ["ollama_requests_in_flight", "ollama_requests_waiting"]) {
      if ((scrape.value(name) ?? 0) !== 0) this.#tally.problems.push(`${name} is ${scrape.value(name)}`);
    }
  }

  /** Returns the result, after everything has ended. */
  result({ openConnections }: FakeOllama): ChaosResult {
    const { seed, server, clients } = this.#options;
    const repeated = [...this.#received].filter(([number, count]) =>
      count > 1 && planOf(seed, number).method === "POST"
    );
    const remark = `seed ${seed}, POSTs repeated: ${repeated.length}, connections left: ${openConnections}`;
    const { problems, observationsMissing, observationsDoubled } = this.#tally;
    if (repeated.length + openConnections > 0) problems.push(remark);
    if (observationsMissing + observationsDoubled > 0) problems.push("observations are missing or doubled");
    const kinds = Object.entries(this.#faults).map(([fault, count]) => `${fault} ${count}`).join(", ");
    const load = `${clients} at once: ${kinds}`;
    return { name: "chaos", server, load, faults: this.#faults, tally: this.#tally, remark };
  }

  async #answer(plan: Plan, client: RawClient, clients: Clients): Promise<void> {
    const { status, body, end } = await client.response(plan.method);
    this.#expected.add(plan.number);
    const { expected } = traitsOf(plan);
    if (expected === "502") {
      if (status !== 502 || end !== "complete") this.#problem(plan, `status ${status}, ${end}`);
    } else if (expected === "broken") {
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
    this.#tally.bytesChecked += length;
    if (body === pattern(plan.number, length)) return;
    this.#tally.bytesLost += Math.max(Math.abs(length - body.length), 1);
    this.#problem(plan, `the ${what} differs: ${body.length} bytes received, ${length} sent`);
  }

  #problem({ number, fault, method, path }: Plan, text: string): void {
    this.#tally.problems.push(`exchange ${number} (${fault}, ${method} ${path}): ${text}`);
  }
}

/** Sends a request according to its plan. Returns whether the client waits for the response. */
async function ask(plan: Plan, client: RawClient): Promise<boolean> {
  const body = latin1Bytes(pattern(plan.number, plan.requestBytes));
  const chunks = latin1Bytes(`${chunk(latin1(body))}0\r\n\r\n`);
  const framing = plan.requestChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
  const head = [
    `${plan.method} ${plan.path} HTTP/1.1`,
    "Host: localhost",
    `Traceparent: 00-${traceIdOf(plan.number)}-0000000000000001-01`,
    ...plan.method === "POST" ? [framing] : [],
    ...plan.fault === "continue" ? ["Expect: 100-continue"] : [],
  ];
  const sent = plan.method !== "POST" ? new Uint8Array(0) : plan.requestChunked ? chunks : body;
  const { cutsUpload, leaves } = traitsOf(plan);
  const text = head.join("\r\n") + "\r\n\r\n";
  if (plan.fault === "half_request") {
    await client.send(text.slice(0, Math.floor(text.length * plan.cut)));
    return false;
  }
  await client.send(text);
  if (plan.fault === "continue") await client.sees("100 Continue\r\n\r\n");
  await client.send(cutsUpload ? sent.subarray(0, Math.floor(sent.length * plan.cut)) : sent);
  if (leaves === "after a while" || plan.fault === "slow_reader") await delay(plan.waitMs);
  if (leaves === "after the head") await client.sees("\r\n\r\n");
  return leaves === undefined;
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
  const { upstream } = traitsOf(plan);
  if (upstream === "half a head") return head.slice(0, Math.floor((head.length - 1) * plan.cut));
  if (fault === "no_body") return head;
  const trailers = fault === "trailers" ? "X-Trailer: 1\r\n" : "";
  const first = Math.ceil(length / 2);
  const parts = [body.slice(0, first), body.slice(first)].filter((part) => part !== "");
  const framed = plan.responseChunked ? `${parts.map(chunk).join("")}0\r\n${trailers}\r\n` : body;
  // The last bytes of a chunked body are its end, without which it is broken.
  return head + (upstream === "half a body" ? framed.slice(0, Math.floor(framed.length * plan.cut)) : framed);
}
