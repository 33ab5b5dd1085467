/**
 * What the bench's main process and its load clients say to each other: one JSON value a line.
 *
 * @module
 */

import type { SparseCounts } from "./histogram.ts";

/** A load to be put on a port. */
export interface Job {
  readonly port: number;
  /** Connections of all load clients together, each of which sends one request after the other. */
  readonly connections: number;
  /** This client has the connections of which the number, modulo `clients`, is `client`. */
  readonly client: number;
  readonly clients: number;
  /** The requests as they are sent, in turn; with `upload` their heads. */
  readonly requests: readonly string[];
  /** A body of that many bytes follows each head. */
  readonly upload?: Upload | undefined;
  /** Line feeds in each response's body. Where there are others the job fails; absent: they are not looked at. */
  readonly lineFeeds?: number | undefined;
  /** The responses carry the times when they were sent. */
  readonly timed: boolean;
  /** Connections begin one after the other over this time, in milliseconds. No duration in it is counted. */
  readonly rampMs: number;
  /** After the ramp: no request begins later. */
  readonly measureMs: number;
  /** No connection sends more requests than that. */
  readonly limit: number;
  /** At the end responses are broken off; otherwise they are read to their end. */
  readonly breakOff: boolean;
}

/** A request's body that is sent as it is made. */
export interface Upload {
  readonly bytes: number;
  readonly chunked: boolean;
}

/** What came of a job at one load client. */
export interface JobResult {
  /** Why the job failed; then nothing else counts. */
  readonly error?: string;
  /** Responses that were read to their end. */
  readonly responses: number;
  /** Line feeds in bodies, those of the ramp included. */
  readonly lineFeeds: number;
  /** Line feeds in bodies after the ramp. */
  readonly steadyLineFeeds: number;
  /** Bytes received, heads included. */
  readonly bytes: number;
  /** From the first request to the last byte, in milliseconds. */
  readonly elapsedMs: number;
  /** From a request's first byte sent to its response's first byte received. */
  readonly firstByte: SparseCounts;
  /** From a request's first byte sent to its response's last byte received. */
  readonly whole: SparseCounts;
  /** From a token's being sent by the upstream to its being received. */
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

/** Milliseconds on a clock that all processes of the machine share. */
export function sharedNow(): number {
  return performance.timeOrigin + performance.now();
}
