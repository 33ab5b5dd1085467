/**
 * Load client of the bench, on raw TCP: reads jobs from standard input and writes their results.
 *
 *     deno run --allow-net load.ts
 *
 * @module
 */

import { chunks, pieces, writeAll } from "./bulk.ts";
import { Histogram } from "./histogram.ts";
import { eachLine, type Job, type JobResult, writeLine } from "./job.ts";
import { ResponseReader, type TakeStamp } from "./response.ts";

/** Read buffer sizes: large for large bodies, small for thousands of connections. */
const READ_BYTES = 256 * 1024;
const MANY_READ_BYTES = 16 * 1024;
const MANY_CONNECTIONS = 100;

const encoder = new TextEncoder();

/** Running job. */
class Run {
  readonly #job: Job;
  readonly #requests: readonly Uint8Array[];
  readonly #open = new Set<Deno.TcpConn>();
  readonly #firstByte = new Histogram();
  readonly #whole = new Histogram();
  readonly #lag = new Histogram();
  readonly #start = performance.now();
  readonly #steadyAt: number;
  readonly #endAt: number;
  #sent = 0;
  #responses = 0;
  #lineFeeds = 0;
  #steadyLineFeeds = 0;
  #bytes = 0;
  #isOver = false;
  #failure: unknown;

  constructor(job: Job) {
    this.#job = job;
    this.#requests = job.requests.map((request) => encoder.encode(request));
    this.#steadyAt = this.#start + job.rampMs;
    this.#endAt = this.#steadyAt + job.measureMs;
  }

  async run(): Promise<JobResult> {
    const { connections, client, clients, breakOff } = this.#job;
    const timer = breakOff ? setTimeout(() => this.#breakOff(), this.#endAt - performance.now()) : undefined;
    const running: Promise<void>[] = [];
    for (let index = client; index < connections; index += clients) running.push(this.#connection(index));
    await Promise.all(running);
    clearTimeout(timer);
    if (this.#failure !== undefined) throw this.#failure;
    return {
      responses: this.#responses,
      lineFeeds: this.#lineFeeds,
      steadyLineFeeds: this.#steadyLineFeeds,
      bytes: this.#bytes,
      elapsedMs: performance.now() - this.#start,
      firstByte: this.#firstByte.toJSON(),
      whole: this.#whole.toJSON(),
      lag: this.#lag.toJSON(),
    };
  }

  /** Sends requests on one connection until the time is up. The first error ends the job. */
  async #connection(index: number): Promise<void> {
    const { connections, rampMs, limit } = this.#job;
    if (rampMs > 0) await new Promise((resolve) => setTimeout(resolve, rampMs * index / connections));
    const buffer = new Uint8Array(connections > MANY_CONNECTIONS ? MANY_READ_BYTES : READ_BYTES);
    let conn: Deno.TcpConn | undefined;
    try {
      for (let sent = 0; sent < limit && !this.#isOver && performance.now() < this.#endAt; sent++) {
        conn ??= await this.#connect();
        if (await this.#exchange(conn, buffer)) continue;
        this.#close(conn);
        conn = undefined;
      }
    } catch (error) {
      if (!this.#isOver) this.#failure = error;
      this.#breakOff();
    }
    if (conn !== undefined) this.#close(conn);
  }

  async #connect(): Promise<Deno.TcpConn> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: this.#job.port });
    conn.setNoDelay(true);
    this.#open.add(conn);
    return conn;
  }

  /** Sends a request. Returns whether the connection can be reused. */
  async #exchange(conn: Deno.TcpConn, buffer: Uint8Array): Promise<boolean> {
    const request = this.#requests[this.#sent++ % this.#requests.length] as Uint8Array;
    const startedAt = performance.now();
    const sending = this.#send(conn, request);
    // The error is handled where the promise is awaited; until then it must not be unhandled.
    sending.catch(() => {});
    const response = new ResponseReader(this.#job.timed ? this.#takeStamp : undefined);
    for (let isFirst = true; !response.done; isFirst = false) {
      const length = await conn.read(buffer);
      if (length === null) throw new Error("the server closed the connection");
      const now = performance.now();
      if (isFirst && startedAt >= this.#steadyAt) this.#firstByte.add(now - startedAt);
      this.#bytes += length;
      const counted = response.lineFeeds;
      response.push(buffer.subarray(0, length));
      this.#lineFeeds += response.lineFeeds - counted;
      if (now >= this.#steadyAt) this.#steadyLineFeeds += response.lineFeeds - counted;
    }
    await sending;
    this.#responses++;
    if (startedAt >= this.#steadyAt) this.#whole.add(performance.now() - startedAt);
    const { lineFeeds } = this.#job;
    if (lineFeeds !== undefined && response.lineFeeds !== lineFeeds) {
      throw new Error(`response has ${response.lineFeeds} line feeds, want ${lineFeeds}`);
    }
    return response.keepAlive;
  }

  readonly #takeStamp: TakeStamp = (microseconds) => {
    const now = performance.now();
    if (now >= this.#steadyAt) this.#lag.add(now + performance.timeOrigin - microseconds / 1000);
  };

  async #send(conn: Deno.TcpConn, head: Uint8Array): Promise<void> {
    await writeAll(conn, [head]);
    const { upload } = this.#job;
    if (upload === undefined) return;
    const filler = new Uint8Array(READ_BYTES).fill(120);
    const rest = upload.bytes % filler.length;
    const body = [
      { bytes: filler, times: (upload.bytes - rest) / filler.length },
      { bytes: filler.subarray(0, rest), times: 1 },
    ];
    await writeAll(conn, (upload.chunked ? chunks : pieces)(body));
  }

  #breakOff(): void {
    this.#isOver = true;
    for (const conn of this.#open) this.#close(conn);
  }

  #close(conn: Deno.TcpConn): void {
    if (this.#open.delete(conn)) conn.close();
  }
}

writeLine(Deno.stdout, "listening 0");
await eachLine(Deno.stdin.readable, async (line) => {
  const nothing = { responses: 0, lineFeeds: 0, steadyLineFeeds: 0, bytes: 0, elapsedMs: 0 };
  const empty: JobResult = { ...nothing, firstByte: [], whole: [], lag: [] };
  const result = await new Run(JSON.parse(line)).run().catch((error) => ({ ...empty, error: String(error) }));
  writeLine(Deno.stdout, JSON.stringify(result));
});
