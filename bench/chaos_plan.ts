/**
 * Fault of each exchange of a chaos run, as a pure function of the run's seed and the exchange's number: client,
 * upstream and check derive it independently.
 *
 * @module
 */

import { random as randomFrom } from "../tests/support/fixtures.ts";

/** What upstream and client do in a fault; neither does more than without one if a field is missing. */
interface FaultTraits {
  readonly what: string;
  /** What the upstream does in place of a whole response. */
  readonly upstream?: "nothing" | "half a head" | "half a body" | "first";
  /** What the upstream does then: close, or wait until the client disconnects. */
  readonly then?: "close" | "wait";
  /** The client does not wait for the response: it disconnects after a while, or when it has seen a head. */
  readonly leaves?: "after a while" | "after the head";
  /** The client sends only a part of its upload. */
  readonly cutsUpload?: true;
  /** What the response must be. Default: whole. */
  readonly expected?: "502" | "broken";
}

/** Faults, by the upstream or the client. */
export const FAULTS = {
  none: { what: "no fault" },
  refused: { what: "the upstream refuses the connection", expected: "502" },
  no_answer: { what: "the upstream closes without a byte", upstream: "nothing", then: "close", expected: "502" },
  half_head: { what: "it closes within the response head", upstream: "half a head", then: "close", expected: "502" },
  reset: { what: "it closes at any byte of the body", upstream: "half a body", then: "close", expected: "broken" },
  wrong_length: { what: "it announces a longer Content-Length than it sends", then: "close", expected: "broken" },
  stall: { what: "it stops within the body", upstream: "half a body", then: "wait", leaves: "after the head" },
  hang: { what: "it never responds", upstream: "nothing", then: "wait", leaves: "after a while" },
  silence: { what: "it closes later than the client", upstream: "nothing", then: "close", leaves: "after a while" },
  trailers: { what: "it sends trailers" },
  continue: { what: "the client waits for 100 Continue" },
  early_answer: { what: "the upstream responds during the upload", upstream: "first", cutsUpload: true },
  no_body: { what: "204, 304, or a response to HEAD" },
  idle_close: { what: "the upstream closes a keep-alive connection right after its response", then: "close" },
  slow_reader: { what: "the client pauses reading" },
  half_request: { what: "the client disconnects within its request head" },
  broken_upload: { what: "it disconnects within its upload", cutsUpload: true, leaves: "after a while" },
  client_disconnects: { what: "it disconnects at any time", leaves: "after a while" },
} as const satisfies Record<string, FaultTraits>;

/** Fault of an exchange. */
export type Fault = keyof typeof FAULTS;

/** Returns what upstream and client do in a fault. */
export function traitsOf({ fault }: Plan): FaultTraits {
  return FAULTS[fault];
}

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
  const fault = one(Object.keys(FAULTS) as Fault[]);
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
