/**
 * Messages between the bench's main process and its load clients, one JSON value per line.
 *
 * @module
 */

import type { SparseCounts } from "./histogram.ts";

/** Load on a port. */
export interface Job {
  readonly port: number;
  /** Connections of all load clients together. Each sends one request at a time. */
  readonly connections: number;
  /** Index of this client, which has the connections whose number modulo `clients` is `client`. */
  readonly client: number;
  readonly clients: number;
  /** Requests, sent in turn; with `upload` their heads. */
  readonly requests: readonly string[];
  /** Bytes of the body that follows each head. */
  readonly upload?: Upload | undefined;
  /** Expected line feeds in each response's body; otherwise the job fails. Default: not checked. */
  readonly lineFeeds?: number | undefined;
  /** Whether responses have time stamps. */
  readonly timed: boolean;
  /** Time in ms over which connections are opened. Durations within it are not counted. */
  readonly rampMs: number;
  /** Time in ms after the ramp within which requests start. */
  readonly measureMs: number;
  /** Maximum requests per connection. */
  readonly limit: number;
  /** Whether responses are aborted at the end; otherwise they are read to their end. */
  readonly breakOff: boolean;
}

/** Request body that is generated while it is sent. */
export interface Upload {
  readonly bytes: number;
  readonly chunked: boolean;
}

/** Result of a job at one load client. */
export interface JobResult {
  /** Error of the job, which invalidates all other fields. */
  readonly error?: string;
  /** Responses read to their end. */
  readonly responses: number;
  /** Line feeds in bodies, including the ramp. */
  readonly lineFeeds: number;
  /** Line feeds in bodies after the ramp. */
  readonly steadyLineFeeds: number;
  /** Bytes received, including heads. */
  readonly bytes: number;
  /** Time from the first request to the last byte in ms. */
  readonly elapsedMs: number;
  /** Times from a request's first byte sent to its response's first byte received. */
  readonly firstByte: SparseCounts;
  /** Times from a request's first byte sent to its response's last byte received. */
  readonly whole: SparseCounts;
  /** Times from the sending of a token by the upstream to its arrival. */
  readonly lag: SparseCounts;
}

/** Calls `take` with each line of a byte stream. */
export async function eachLine(
  stream: ReadableStream<Uint8Array>,
  take: (line: string) => void | Promise<void>,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) await take(line);
  }
}

/** Writes a line to a stream such as standard output. */
export function writeLine(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
}

/** Returns milliseconds of a clock that all processes of the machine share. */
export function sharedNow(): number {
  return performance.timeOrigin + performance.now();
}
