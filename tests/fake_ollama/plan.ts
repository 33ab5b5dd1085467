/**
 * Turns an answer (status, type, messages) into a plan (bytes and delays), and writes it. Splits, delays and faults are
 * computed once per plan, so reusing a plan costs only its writes.
 */

import type { FakeBehaviour, Fault, Split } from "./behaviour.ts";
import type { FakeConnection } from "./http.ts";
import { utf8 } from "./json.ts";
import { concat, type RecordedRequest } from "./request.ts";
import { latin1, latin1Bytes } from "./wire.ts";

/** Larger bodies are sent chunked, without a length (docs/ollama-api.md 2.2). */
const MAX_LENGTH_BODY_BYTES = 2048;
const LAST_CHUNK = utf8("0\r\n\r\n");
const CRLF = utf8("\r\n");
const STAMP_KEY = '"created_at":"';
const MICROSECONDS_PER_MS = 1000;
const EMPTY = new Uint8Array(0);
const DEFAULT_MAX_SEEDED_BYTES = 48;

/** Part of an answer that Ollama flushes. */
export interface Message {
  bytes: Uint8Array<ArrayBuffer>;
  /** Whether it is a token, preceded by `tokenDelayMs`. */
  token: boolean;
}

/** Answer, before delays, splits and faults. */
export interface Answer {
  status: number;
  contentType: string | undefined;
  headers?: readonly (readonly [string, string])[];
  messages: readonly Message[];
  /** Whether each message is flushed; otherwise the messages are one body. */
  streamed: boolean;
  /** Whether a body that is not streamed is flushed before its end, and so chunked. Default: by its size. */
  flushed?: boolean;
  /** Whether delays and faults apply (inference and transfers). */
  paced: boolean;
  /** Returns what the API sends if the runner fails within a stream (4.2, 4.3). */
  failure?: (message: string | undefined) => readonly Uint8Array<ArrayBuffer>[];
}

/** Answer that requests with the same key share, until the behaviour changes. */
export interface KeyedAnswer {
  key: string;
  /** Model whose slot it occupies. */
  model: string;
  make: () => Answer;
}

/** Bytes written at once, and the delay before them. */
interface Step {
  waitMs: number;
  bytes: Uint8Array<ArrayBuffer>;
  /** What it waits for, in addition to the delay. */
  hold?: Promise<void>;
  /** Index of the `created_at` value, if it is updated when the bytes are written. */
  stampAt?: number;
}

/** How the response ends after the last step. */
type Ending = "clean" | "break" | "stall";

/** Answer ready to be written. */
export interface Plan {
  status: number;
  headers: readonly (readonly [string, string])[];
  /** `Content-Length` or `Transfer-Encoding`. */
  framing: readonly (readonly [string, string])[];
  headersDelayMs: number;
  /** Whether the head is written separately, not with the first step as Go does. */
  headAlone: boolean;
  /** Connection closed before any byte, or within the head. */
  broken: "no_answer" | "half_headers" | undefined;
  steps: readonly Step[];
  ending: Ending;
  /** Whether the end of the connection ends the body, which has neither chunks nor a length (HTTP/1.0). */
  untilClose: boolean;
}

/** Returns an answer with a single body, not paced. */
export function bodyAnswer(
  status: number,
  contentType: string | undefined,
  body: string | Uint8Array<ArrayBuffer>,
  headers: readonly (readonly [string, string])[] = [],
): Answer {
  const bytes = typeof body === "string" ? utf8(body) : body;
  const messages = [{ bytes, token: false }];
  return { status, contentType, headers, messages, streamed: false, paced: false };
}

/** Encodes texts as messages; the predicate selects those that are tokens. */
export function textMessages(
  texts: readonly string[],
  token: (index: number) => boolean = () => true,
): Message[] {
  return texts.map((text, index) => ({ bytes: utf8(text), token: token(index) }));
}

/** Returns the bytes and delays of an answer. */
export function plan(answer: Answer, behaviour: FakeBehaviour, minorVersion: number): Plan {
  const fault = answer.paced ? behaviour.fault : undefined;
  const chunked = minorVersion > 0;
  const made = answer.streamed
    ? streamSteps(answer, behaviour, fault, chunked)
    : bodySteps(answer, behaviour, fault, chunked);
  const type = answer.contentType;
  return {
    status: answer.status,
    headers: [...behaviour.extraHeaders, ...sorted(type, answer.headers ?? [])],
    framing: made.headers,
    headersDelayMs: made.headersDelayMs,
    headAlone: answer.streamed && answer.paced && behaviour.firstTokenDelayMs > 0,
    broken: fault?.kind === "no_answer" || fault?.kind === "half_headers" ? fault.kind : undefined,
    steps: made.steps,
    ending: made.ending,
    untilClose: made.headers.length === 0 && !noBody(answer.status),
  };
}

/** Returns the headers of the handler, which Go sorts by name (5.3). */
function sorted(
  contentType: string | undefined,
  headers: readonly (readonly [string, string])[],
): (readonly [string, string])[] {
  const type = contentType === undefined ? [] : [["Content-Type", contentType] as const];
  return [...type, ...headers].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}

interface Made {
  headers: (readonly [string, string])[];
  headersDelayMs: number;
  steps: Step[];
  ending: Ending;
}

/** Plans a single body: the whole generation precedes the head. */
function bodySteps(
  answer: Answer,
  behaviour: FakeBehaviour,
  fault: Fault | undefined,
  chunked: boolean,
): Made {
  const whole = concat(answer.messages.map((message) => message.bytes));
  const tokens = answer.paced ? tokensOf(behaviour) : 0;
  const headersDelayMs = answer.paced
    ? behaviour.headersDelayMs + behaviour.firstTokenDelayMs +
      behaviour.tokenDelayMs * Math.max(0, tokens - 1)
    : 0;
  const length = ["Content-Length", String(whole.length)] as const;
  const once = (bytes: Uint8Array<ArrayBuffer>) => bytes.length === 0 ? [] : [{ waitMs: 0, bytes }];
  if (fault?.kind === "reset" || fault?.kind === "half_chunk" || fault?.kind === "stall") {
    const ending = fault.kind === "stall" ? "stall" : "break";
    const steps = once(whole.slice(0, whole.length >> 1));
    return { headers: [length], headersDelayMs, steps, ending };
  }
  if (noBody(answer.status)) return { headers: [], headersDelayMs, steps: [], ending: "clean" };
  if ((whole.length <= MAX_LENGTH_BODY_BYTES && answer.flushed !== true) || !chunked) {
    return { headers: [length], headersDelayMs, steps: once(whole), ending: "clean" };
  }
  const steps = [{ waitMs: 0, bytes: chunk(whole) }, { waitMs: 0, bytes: LAST_CHUNK }];
  return { headers: [["Transfer-Encoding", "chunked"]], headersDelayMs, steps, ending: "clean" };
}

function streamSteps(
  answer: Answer,
  behaviour: FakeBehaviour,
  fault: Fault | undefined,
  chunked: boolean,
): Made {
  const delays = answer.paced ? behaviour : { firstTokenDelayMs: 0, tokenDelayMs: 0, hold: undefined };
  const { messages, rest, ending } = withFault(answer, fault);
  let first = true;
  const timed = messages.map((message, index): Step => {
    const again = message.token && !first;
    if (message.token) first = false;
    const waitMs = index === 0 ? delays.firstTokenDelayMs : again ? delays.tokenDelayMs : 0;
    return { waitMs, bytes: message.bytes, ...(again && delays.hold !== undefined ? { hold: delays.hold } : {}) };
  });
  const last = timed.at(-1);
  if (behaviour.missingFinalNewline && last !== undefined && ending === "clean") {
    last.bytes = withoutNewlines(last.bytes);
  }
  const encode = chunked ? chunk : (bytes: Uint8Array<ArrayBuffer>) => bytes;
  const steps = cut(timed, behaviour.split).map((step): Step => ({ ...step, bytes: encode(step.bytes) }));
  if (behaviour.freshTimestamps) addStamps(steps);
  if (rest !== undefined) steps.push({ waitMs: 0, bytes: halfChunk(rest, chunked) });
  if (ending === "clean" && chunked) steps.push({ waitMs: 0, bytes: LAST_CHUNK });
  const headers = chunked ? [["Transfer-Encoding", "chunked"] as const] : [];
  const headersDelayMs = answer.paced ? behaviour.headersDelayMs : 0;
  return { headers, headersDelayMs, steps, ending };
}

/** Returns the messages to send, the one of which only half is sent, and the ending. */
function withFault(
  answer: Answer,
  fault: Fault | undefined,
): { messages: readonly Message[]; rest?: Uint8Array<ArrayBuffer>; ending: Ending } {
  if (fault === undefined) return { messages: answer.messages, ending: "clean" };
  const at = Math.min(fault.afterMessages ?? 2, answer.messages.length - 1);
  const messages = answer.messages.slice(0, at);
  const next = answer.messages[at]?.bytes ?? EMPTY;
  const after = (texts: readonly Uint8Array<ArrayBuffer>[]) => [
    ...messages,
    ...texts.map((bytes) => ({ bytes, token: true })),
  ];
  switch (fault.kind) {
    case "error":
      return { messages: after(answer.failure?.(fault.message) ?? []), ending: "clean" };
    case "silent_eof":
      return { messages, ending: "clean" };
    case "malformed": {
      const broken = malformed(next);
      return { messages: [...after([broken]), ...answer.messages.slice(at)], ending: "clean" };
    }
    case "half_chunk":
      return { messages, rest: next, ending: "break" };
    case "stall":
      return { messages, ending: "stall" };
    default:
      return { messages, ending: "break" };
  }
}

/** Returns the messages that a client receives completely, for fixtures. */
export function messagesWithFault(answer: Answer, fault: Fault | undefined): readonly Message[] {
  return withFault(answer, fault).messages;
}

/** Cuts a message's JSON in the middle and keeps its line ends. */
function malformed(message: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const end = withoutNewlines(message).length;
  return concat([message.slice(0, end >> 1), message.slice(end)]);
}

function withoutNewlines(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 10) end--;
  return bytes.slice(0, end);
}

/** Splits a timed stream. A piece is delayed until all messages that begin in it are due. */
function cut(messages: readonly Step[], split: Split): Step[] {
  if (split === "message") return messages.filter(({ bytes }) => bytes.length > 0);
  const pieces: Step[] = [];
  const sizes = pieceSizes(split);
  let held: Uint8Array<ArrayBuffer> = EMPTY;
  let waitMs = 0;
  let size = sizes();
  let count = 0;
  const emit = (length: number) => {
    if (length > 0) pieces.push({ waitMs, bytes: held.slice(0, length) });
    held = held.subarray(length);
    waitMs = 0;
    count = 0;
  };
  for (const message of messages) {
    held = held.length === 0 ? message.bytes : concat([held, message.bytes]);
    waitMs += message.waitMs;
    count++;
    if (typeof split === "object" && "messages" in split) {
      if (count >= split.messages) emit(held.length);
      continue;
    }
    for (; held.length >= size; size = sizes()) emit(size);
  }
  emit(held.length);
  return pieces;
}

/** Returns a function whose calls return the sizes of the pieces in bytes. */
function pieceSizes(split: Split): () => number {
  if (typeof split === "string" || "messages" in split) return () => Infinity;
  if ("bytes" in split) return () => Math.max(1, split.bytes);
  let state = split.seed >>> 0;
  const max = split.max ?? DEFAULT_MAX_SEEDED_BYTES;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return 1 + ((t ^ (t >>> 14)) >>> 0) % max;
  };
}

/** Returns the number of output messages of a generation, for pacing and as the default token count. */
export function tokensOf(behaviour: FakeBehaviour): number {
  return behaviour.tokens ?? behaviour.words.length;
}

function noBody(status: number): boolean {
  return status === 204 || status === 304;
}

function chunk(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return concat([utf8(bytes.length.toString(16) + "\r\n"), bytes, CRLF]);
}

/** Returns the size line of a chunk and the first half of its bytes. */
function halfChunk(bytes: Uint8Array<ArrayBuffer>, chunked: boolean): Uint8Array<ArrayBuffer> {
  const half = bytes.slice(0, bytes.length >> 1);
  return chunked ? concat([utf8(bytes.length.toString(16) + "\r\n"), half]) : half;
}

const REASONS: Record<number, string> = {
  200: "OK",
  201: "Created",
  204: "No Content",
  301: "Moved Permanently",
  307: "Temporary Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  499: "",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
};

/** Writes a plan. Throws ConnectionGone if the peer disconnects before the end. */
export async function write(
  plan: Plan,
  request: RecordedRequest,
  connection: FakeConnection,
): Promise<void> {
  let dueAt = performance.now() + plan.headersDelayMs;
  if (plan.headersDelayMs > 0) await connection.sleep(plan.headersDelayMs);
  if (plan.broken === "no_answer") return connection.close();
  const keep = await connection.settleBody() && !plan.untilClose;
  if (!keep) connection.closeAfterAnswer = true;
  const head = headBytes(plan, keep, request);
  if (plan.broken === "half_headers") {
    await connection.write(head.slice(0, head.length >> 1));
    return connection.close();
  }
  const steps = request.method === "HEAD" ? [] : plan.steps;
  const clean = plan.ending === "clean";
  if (steps.length === 0 && clean) return await connection.writeLast(head);
  let lead: Uint8Array | undefined = head;
  if (plan.headAlone || steps.length === 0) {
    await connection.write(head);
    lead = undefined;
  }
  for (const [index, step] of steps.entries()) {
    if (step.waitMs > 0) {
      dueAt += step.waitMs;
      const left = dueAt - performance.now();
      if (left > 0) await connection.sleep(left);
    }
    if (step.hold !== undefined) await connection.waitFor(step.hold);
    const body = step.stampAt === undefined ? step.bytes : stamped(step.bytes, step.stampAt);
    const bytes = lead === undefined ? body : concat([lead, body]);
    lead = undefined;
    if (clean && index === steps.length - 1) await connection.writeLast(bytes);
    else await connection.write(bytes);
  }
  if (plan.ending === "stall") await connection.sleep(Infinity);
  if (plan.ending === "break") connection.close();
}

function addStamps(steps: Step[]): void {
  for (const step of steps) {
    const at = latin1(step.bytes).indexOf(STAMP_KEY);
    if (at >= 0) step.stampAt = at + STAMP_KEY.length;
  }
}

/** Returns a copy with the current time, formatted like `timestamp()` of native.ts. */
function stamped(bytes: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> {
  const unixMs = performance.timeOrigin + performance.now();
  const micros = Math.floor(unixMs % 1 * MICROSECONDS_PER_MS).toString().padStart(3, "0");
  const copy = bytes.slice();
  copy.set(utf8(new Date(unixMs).toISOString().replace("Z", micros)), at);
  return copy;
}

/** Returns a head in Go's order: headers of the handler, `Date`, length, `Connection`, `Transfer-Encoding` (5.3). */
function headBytes(plan: Plan, keep: boolean, request: RecordedRequest): Uint8Array<ArrayBuffer> {
  const reason = REASONS[plan.status] ?? `status code ${plan.status}`;
  let text = `HTTP/1.1 ${plan.status} ${reason}\r\n`;
  const add = (name: string, value: string) => text += `${name}: ${value}\r\n`;
  for (const [name, value] of plan.headers) if (keep || name !== "Connection") add(name, value);
  add("Date", new Date().toUTCString());
  const connection = keep ? request.minorVersion === 0 ? "keep-alive" : undefined : "close";
  // A HEAD handler writes the same body; Go announces it only if it is neither empty nor chunked.
  const framing = request.method === "HEAD"
    ? plan.framing.filter(([name, value]) => name === "Content-Length" && value !== "0")
    : plan.framing;
  for (const [name, value] of framing) if (name === "Content-Length") add(name, value);
  if (connection !== undefined) add("Connection", connection);
  for (const [name, value] of framing) if (name === "Transfer-Encoding") add(name, value);
  return latin1Bytes(text + "\r\n");
}
