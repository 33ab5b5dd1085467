/**
 * Load client of the bench: reads jobs from standard input and writes their results, one JSON value per line.
 *
 *     deno run --allow-net load.ts
 *
 * @module
 */

import { patternOf } from "./bulk.ts";
import { linesOf, sharedNow, writeLine } from "./child.ts";
import { STAMP_DIGITS, STAMP_MARK } from "./payloads.ts";
import { Client, type Sent } from "./wire.ts";

/** Load on a proxy. */
export interface Load {
  /** Connections of all load clients together. Each sends one request at a time. */
  readonly connections: number;
  /** Requests, sent in turn; with `upload` their heads. */
  readonly requests: readonly string[];
  /** Body that follows each head. */
  readonly upload?: { readonly bytes: number; readonly chunked: boolean };
  /** Expected line feeds in each response's body; otherwise the job fails. Default: not counted. */
  readonly lineFeeds?: number;
  /** Expected size of each response's body in bytes; otherwise the job fails. Default: any. */
  readonly bodyBytes?: number;
  /** Time in ms over which connections are opened. */
  readonly openMs: number;
  /** Time in ms before anything is counted, not less than `openMs`. */
  readonly warmUpMs: number;
  /** Time in ms for which is counted; then open responses are aborted. */
  readonly measureMs: number;
  /** Requests per connection, read to their end. Default: any number until the time is up. */
  readonly limit?: number;
}

/** A client's share of a load. */
export interface Job extends Load {
  readonly port: number;
  /** Index of this client, which has the connections whose number modulo `clients` is `client`. */
  readonly client: number;
  readonly clients: number;
}

/** Result of a job at one load client, after the warm-up. */
export interface JobResult {
  /** Error of the job, which invalidates all other fields. */
  readonly error?: string;
  /** Responses read to their end, and line feeds received. */
  readonly responses: number;
  readonly lineFeeds: number;
  /** Time for which was counted in ms. */
  readonly elapsedMs: number;
  /** Times in ms from a request to the head of its response. */
  readonly firstByteMs: readonly number[];
  /** Times in ms from a request to the end of its response. */
  readonly wholeMs: readonly number[];
  /** Times in ms from the sending of a token by the upstream to its arrival. */
  readonly lagMs: readonly number[];
}

/** Read buffer sizes: large for large bodies, small for many connections. */
const READ_BYTES = 256 * 1024;
const MANY_READ_BYTES = 16 * 1024;
const MANY_CONNECTIONS = 100;

const LF = 10;
const MARK = STAMP_MARK.charCodeAt(0);

/** Running job. */
class Run {
  readonly #job: Job;
  readonly #clients: Client[] = [];
  readonly #startAt = performance.now();
  readonly #steadyAt: number;
  readonly #endAt: number;
  readonly #times = { firstByteMs: [] as number[], wholeMs: [] as number[], lagMs: [] as number[] };
  readonly #counts = { responses: 0, lineFeeds: 0 };
  #sent = 0;
  #isOver = false;
  #endedAt: number | undefined;
  #failure: unknown;

  constructor(job: Job) {
    this.#job = job;
    this.#steadyAt = this.#startAt + job.warmUpMs;
    this.#endAt = this.#steadyAt + job.measureMs;
  }

  async run(): Promise<JobResult> {
    const { connections, client, clients, limit } = this.#job;
    const timer = setTimeout(() => this.#breakOff(), this.#endAt - performance.now());
    if (limit !== undefined) clearTimeout(timer);
    const running: Promise<void>[] = [];
    for (let index = client; index < connections; index += clients) running.push(this.#connection(index));
    await Promise.all(running);
    clearTimeout(timer);
    if (this.#failure !== undefined) throw this.#failure;
    return { ...this.#counts, ...this.#times, elapsedMs: (this.#endedAt ?? performance.now()) - this.#steadyAt };
  }

  /** Sends requests on one connection until the time is up. The first error ends the job. */
  async #connection(index: number): Promise<void> {
    const { connections, openMs, limit = Infinity, port } = this.#job;
    if (openMs > 0) await new Promise((resolve) => setTimeout(resolve, openMs * index / connections));
    const client = new Client(port, connections > MANY_CONNECTIONS ? MANY_READ_BYTES : READ_BYTES);
    this.#clients.push(client);
    try {
      for (let sent = 0; sent < limit && !this.#isOver; sent++) await this.#exchange(client);
    } catch (error) {
      if (!this.#isOver) this.#failure = error;
      this.#breakOff();
    }
    client.disconnect();
  }

  async #exchange(client: Client): Promise<void> {
    const { lineFeeds, bodyBytes } = this.#job;
    const text = new TextReader(this.#times.lagMs);
    let length = 0;
    const startedAt = performance.now();
    await client.begin(this.#next(), (bytes) => {
      const isSteady = performance.now() >= this.#steadyAt;
      const found = lineFeeds === undefined ? 0 : text.push(bytes, isSteady);
      length += bytes.length;
      if (isSteady) this.#counts.lineFeeds += found;
    });
    if (startedAt >= this.#steadyAt) this.#times.firstByteMs.push(rounded(performance.now() - startedAt));
    await client.finish();
    if (lineFeeds !== undefined && text.lineFeeds !== lineFeeds) {
      throw new Error(`response has ${text.lineFeeds} line feeds, want ${lineFeeds}`);
    }
    if (bodyBytes !== undefined && length !== bodyBytes) {
      throw new Error(`response has ${length} bytes, want ${bodyBytes}`);
    }
    const endedAt = performance.now();
    if (endedAt >= this.#steadyAt) this.#counts.responses++;
    if (startedAt >= this.#steadyAt) this.#times.wholeMs.push(rounded(endedAt - startedAt));
  }

  #next(): Sent {
    const { requests, upload } = this.#job;
    const request = requests[this.#sent++ % requests.length] as string;
    const body = upload && { body: patternOf(upload.bytes), chunked: upload.chunked };
    return { request, upload: body, status: 200, body: [] };
  }

  #breakOff(): void {
    this.#isOver = true;
    this.#endedAt = performance.now();
    for (const client of this.#clients) client.disconnect();
  }
}

/** Counts line feeds and reads time stamps in the body of a stream. */
class TextReader {
  lineFeeds = 0;
  readonly #lagMs: number[];
  /** Digits of a time stamp so far; all of them outside of one. */
  #digits = STAMP_DIGITS;
  #microseconds = 0;

  /** @param lagMs Where times since the stamps are added, in ms. */
  constructor(lagMs: number[]) {
    this.#lagMs = lagMs;
  }

  /** Returns the number of line feeds. */
  push(bytes: Uint8Array, isSteady: boolean): number {
    const before = this.lineFeeds;
    for (let index = 0; index < bytes.length; index++) {
      const byte = bytes[index] as number;
      if (this.#digits < STAMP_DIGITS) {
        this.#microseconds = this.#microseconds * 10 + byte - 48;
        // A stamp of zeros was not written.
        if (++this.#digits < STAMP_DIGITS || !isSteady || this.#microseconds === 0) continue;
        this.#lagMs.push(rounded(sharedNow() - this.#microseconds / 1000));
      } else if (byte === LF) this.lineFeeds++;
      else if (byte === MARK) [this.#digits, this.#microseconds] = [0, 0];
    }
    return this.lineFeeds - before;
  }
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

if (import.meta.main) {
  writeLine(Deno.stdout, "listening 0");
  for await (const line of linesOf(Deno.stdin.readable)) {
    const result = await new Run(JSON.parse(line)).run().catch((error) => ({ error: String(error) }));
    writeLine(Deno.stdout, JSON.stringify(result));
  }
}
