/**
 * What goes wrong in each exchange of a chaos run: a pure function of the run's seed and the exchange's number, so that
 * the client, the upstream and the check know it without telling each other.
 *
 * @module
 */

import { random as randomFrom } from "../tests/support/fixtures.ts";

/** What the upstream or the client does to an exchange. */
export const FAULTS = [
  /** Nothing. */
  "none",
  /** Nothing listens where the upstream should be. */
  "refused",
  /** The upstream closes without a byte. */
  "no_answer",
  /** It closes inside the response's head. */
  "half_head",
  /** It closes at any byte of the body. */
  "reset",
  /** It tells a longer Content-Length than it sends. */
  "wrong_length",
  /** It goes silent in the body until the client leaves. */
  "stall",
  /** It never answers, and keeps the connection until the client leaves. */
  "hang",
  /** It is silent for longer than the client waits, and closes. */
  "silence",
  /** It ends its chunks with trailers. */
  "trailers",
  /** The client waits for 100 Continue. */
  "continue",
  /** The upstream answers while the upload goes on. */
  "early_answer",
  /** 204, 304, or an answer to HEAD. */
  "no_body",
  /** The upstream closes a connection that it had promised to keep, right behind its answer. */
  "idle_close",
  /** The client does not read for a while. */
  "slow_reader",
  /** The client leaves inside the head of its request. */
  "half_request",
  /** The client leaves at any byte of its upload. */
  "broken_upload",
  /** The client leaves at any moment. */
  "client_leaves",
] as const;

/** What goes wrong in an exchange. */
export type Fault = typeof FAULTS[number];

/** One exchange. */
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
  /** Where a body is cut, as a part of it from 0 to 1. */
  readonly cut: number;
  /** How long somebody waits. */
  readonly waitMs: number;
}

const BLOB = `/api/blobs/sha256:${"0".repeat(64)}`;
const PATHS = ["/api/chat", "/v1/chat/completions", BLOB, "/unknown"];
const CONTENT_TYPES = ["application/x-ndjson", "text/event-stream", "application/json", "application/octet-stream"];
const SIZES = [1, 100, 5000, 70_000, 300_000];
/** More than sockets hold, so that a client that does not read is felt. */
const SLOW_BYTES = 2_000_000;
const LONGEST_WAIT_MS = 60;
/** How long a slow reader does not read. */
const SLOW_MS = 2000;

/** The plan of an exchange. */
export function planOf(seed: number, number: number): Plan {
  const random = randomFrom(seed * 1_000_003 + number);
  const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const fault = one(FAULTS);
  const uploads = ["continue", "early_answer", "broken_upload"].includes(fault);
  const any = uploads || random() < 0.7 ? "POST" : "GET";
  // Of a request that comes in one piece each listener tells that its client has left.
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
    // Shorter bodies of measured requests are read whole before they are sent on: no answer can come before.
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

/** Bytes that no other exchange has, as text of one character a byte. */
export function pattern(number: number, length: number): string {
  const unit = `${number}:`;
  // A line feed now and then, for what reads lines.
  return (unit.repeat(20) + "\n\xff\x00").repeat(Math.ceil(length / (unit.length * 20 + 3))).slice(0, length);
}

/** The trace id by which an exchange is known. */
export function traceIdOf(number: number): string {
  return (number + 1).toString(16).padStart(32, "0");
}

/** The number of the exchange that has this trace id. */
export function numberOf(traceId: string): number {
  return parseInt(traceId, 16) - 1;
}
