/**
 * Fault of each exchange of a chaos run, as a pure function of the run's seed and the exchange's number: client,
 * upstream and check derive it independently.
 *
 * @module
 */

import { random as randomFrom } from "../tests/support/fixtures.ts";

/** Faults, by the upstream or the client. */
export const FAULTS = [
  /** No fault. */
  "none",
  /** The upstream refuses the connection. */
  "refused",
  /** The upstream closes the connection without a byte. */
  "no_answer",
  /** The upstream closes within the response head. */
  "half_head",
  /** The upstream closes at any byte of the body. */
  "reset",
  /** The upstream announces a longer Content-Length than it sends. */
  "wrong_length",
  /** The upstream stops within the body until the client disconnects. */
  "stall",
  /** The upstream never responds, and keeps the connection until the client disconnects. */
  "hang",
  /** The upstream is silent for longer than the client waits, and closes. */
  "silence",
  /** The upstream sends trailers. */
  "trailers",
  /** The client waits for 100 Continue. */
  "continue",
  /** The upstream responds during the upload. */
  "early_answer",
  /** 204, 304, or a response to HEAD. */
  "no_body",
  /** The upstream closes a keep-alive connection right after its response. */
  "idle_close",
  /** The client pauses reading. */
  "slow_reader",
  /** The client disconnects within its request head. */
  "half_request",
  /** The client disconnects at any byte of its upload. */
  "broken_upload",
  /** The client disconnects at any time. */
  "client_disconnects",
] as const;

/** Fault of an exchange. */
export type Fault = typeof FAULTS[number];

/** Plan of an exchange. */
export interface Plan {
  readonly number: number;
  readonly fault: Fault;
  readonly method: "GET" | "HEAD" | "POST";
  readonly path: string;
  /** 0 for GET and HEAD. */
  readonly requestBytes: number;
  readonly requestChunked: boolean;
  readonly status: 200 | 204 | 304 | 413;
  readonly responseBytes: number;
  readonly responseChunked: boolean;
  readonly contentType: string;
  /** Position at which a body is cut, as a fraction from 0 to 1. */
  readonly cut: number;
  /** Time for which a peer waits. */
  readonly waitMs: number;
}

const BLOB = `/api/blobs/sha256:${"0".repeat(64)}`;
const PATHS = ["/api/chat", "/v1/chat/completions", BLOB, "/unknown"];
const CONTENT_TYPES = ["application/x-ndjson", "text/event-stream", "application/json", "application/octet-stream"];
const SIZES = [1, 100, 5000, 70_000, 300_000];
/** More bytes than sockets buffer, to apply backpressure when the client pauses. */
const SLOW_BYTES = 2_000_000;
const LONGEST_WAIT_MS = 60;
/** Time for which a slow reader pauses. */
const SLOW_MS = 2000;

/** Returns the plan of an exchange. */
export function planOf(seed: number, number: number): Plan {
  const random = randomFrom(seed * 1_000_003 + number);
  const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const fault = one(FAULTS);
  const uploads = ["continue", "early_answer", "broken_upload"].includes(fault);
  const any = uploads || random() < 0.7 ? "POST" : "GET";
  // Both listeners report a disconnect after a request that arrived in one piece.
  const method = fault === "no_body" ? one(["GET", "HEAD"] as const) : fault === "hang" ? "GET" : any;
  const status = fault === "early_answer"
    ? 413
    : fault === "no_body" && method === "GET"
    ? one([204, 304] as const)
    : 200;
  return {
    number,
    fault,
    method,
    // Shorter bodies of measured requests are read completely before they are forwarded, so no response can precede
    // them.
    path: fault === "early_answer" ? BLOB : one(PATHS),
    requestBytes: method === "POST" ? one(SIZES) : 0,
    requestChunked: random() < 0.3,
    status,
    responseBytes: fault === "slow_reader" ? SLOW_BYTES : one(SIZES),
    responseChunked: fault === "trailers" || fault !== "wrong_length" && random() < 0.5,
    contentType: one(CONTENT_TYPES),
    cut: random(),
    waitMs: fault === "slow_reader" ? SLOW_MS : Math.floor(random() * LONGEST_WAIT_MS),
  };
}

/** Returns bytes that no other exchange has, one character per byte. */
export function pattern(number: number, length: number): string {
  const unit = `${number}:`;
  // Occasional line feeds, for the line parser.
  return (unit.repeat(20) + "\n\xff\x00").repeat(Math.ceil(length / (unit.length * 20 + 3))).slice(0, length);
}

/** Returns the trace id that identifies an exchange. */
export function traceIdOf(number: number): string {
  return (number + 1).toString(16).padStart(32, "0");
}

/** Returns the number of the exchange with this trace id. */
export function numberOf(traceId: string): number {
  return parseInt(traceId, 16) - 1;
}
