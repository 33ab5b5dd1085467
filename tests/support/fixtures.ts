/**
 * The fixtures as the framings and dialects see them, and what the tests of the pure parts share.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { assertExists } from "@std/assert";
import { join } from "../../lib/bytes/byte_queue.ts";
import { LoopTicks } from "../../lib/proxy/gather.ts";
import { type FramingKind, framingKind } from "../../lib/reading/framing.ts";
import { emptyReport, type Observation, type Report } from "../../lib/observation.ts";
import type { ServerState } from "../../lib/ollama/state.ts";
import { type Endpoint, endpointOf } from "../../lib/reading/endpoints.ts";
import { bodyOf, readRecordings, type Recording } from "../fake_ollama/recordings.ts";

/** The repository. */
export const REPOSITORY = new URL("../../", import.meta.url);

/** Lets everything run that can run without anything coming from outside. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Runs some turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await turn();
}

/** Ticks by whose clock all chunks come in quick succession. */
export function quickTicks(): LoopTicks {
  return new LoopTicks(() => 0);
}

/** A body whose chunks arrive when they are sent, and the controller that sends them. */
export function liveBody(): {
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly source: ReadableByteStreamController;
} {
  let source: ReadableByteStreamController | undefined;
  const body = new ReadableStream({
    type: "bytes",
    start: (controller) => void (source = controller),
  }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  assertExists(source);
  return { body, source };
}

/** The bytes of a text. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** A report with these fields and nothing else. */
export function reportOf(fields: Partial<Report>): Report {
  return { ...emptyReport(), ...fields };
}

/** A chat that went well and whose answer said nothing, but for these fields. */
export function observationOf(
  fields: Partial<Omit<Observation, "report">> & { report?: Partial<Report> },
): Observation {
  return {
    startedAt: Date.UTC(2026, 10, 22),
    arrivedAt: 0,
    route: "/api/chat",
    method: "POST",
    api: "chat",
    operation: undefined,
    requestedModel: undefined,
    options: undefined,
    client: undefined,
    status: 200,
    outcome: "ok",
    isStream: undefined,
    durationSeconds: 2,
    firstOutputSeconds: undefined,
    lastOutputSeconds: undefined,
    outputMessages: undefined,
    requestBytes: 0,
    responseBytes: 0,
    usageExpected: false,
    hasTwoRuns: false,
    hasEstimatedPrompt: false,
    isContextExceeded: false,
    parseErrors: {},
    upstreamError: undefined,
    traceId: undefined,
    ...fields,
    report: reportOf(fields.report ?? {}),
  };
}

/** A state of the server with these fields and nothing else, and with successful probes. */
export function stateOf(fields: Partial<ServerState>): ServerState {
  const probe = { error: undefined, durationSeconds: 0 };
  return {
    at: 0,
    version: undefined,
    loaded: undefined,
    installed: undefined,
    probes: { version: probe, ps: probe, tags: probe },
    ...fields,
  };
}

/** Numbers that look random and are the same in each run: from 0 up to, but not including, 1 (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** An answer of Ollama: recorded, or what the fake answers where none was. */
export interface Fixture {
  /** Name of its file; of a recording, with the extension of its body. */
  readonly name: string;
  readonly isRecorded: boolean;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly kind: FramingKind;
  /** The endpoint that answers so. */
  readonly endpoint: Endpoint;
}

const CONTENT_TYPES: Record<string, string> = {
  json: "application/json; charset=utf-8",
  ndjson: "application/x-ndjson",
  sse: "text/event-stream",
};

/** Beginnings of the fixtures' names; the first that fits counts. */
const ROUTES = {
  openai_chat: "/v1/chat/completions",
  openai_completions: "/v1/completions",
  openai_embeddings: "/v1/embeddings",
  openai_error: "/v1/chat/completions",
  responses: "/v1/responses",
  messages: "/v1/messages",
  chat: "/api/chat",
  generate: "/api/generate",
  embeddings: "/api/embeddings",
  embed: "/api/embed",
  pull: "/api/pull",
  push: "/api/push",
  create: "/api/create",
  error: "/api/chat",
};

/** All fixtures and recorded answers that a dialect reads. */
export function readFixtures(): Fixture[] {
  const folder = new URL("tests/fixtures/", REPOSITORY);
  const fixtures: Fixture[] = [];
  for (const { name } of [...Deno.readDirSync(folder)].sort((a, b) => a.name < b.name ? -1 : 1)) {
    const kind = framingKind(CONTENT_TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? null);
    const route = Object.entries(ROUTES).find(([beginning]) => name.startsWith(beginning))?.[1];
    if (kind === undefined || route === undefined) continue;
    const [endpoint, bytes] = [endpointOf("POST", route), Deno.readFileSync(new URL(name, folder))];
    fixtures.push({ name, kind, endpoint, bytes, isRecorded: false });
  }
  return [...fixtures, ...readRecordings().flatMap(recordedFixture)];
}

/** The answer of a recording, as the reader gets it; none where it is an error, or of a route that is not measured. */
function recordedFixture(recording: Recording): Fixture[] {
  const endpoint = endpointOf(recording.method, recording.target);
  const kind = framingKind(new Map(recording.headers).get("Content-Type") ?? null);
  if (recording.status !== 200 || endpoint.dialect === undefined || kind === undefined) return [];
  return [{ name: `${recording.name}.${kind}`, kind, endpoint, bytes: bodyOf(recording), isRecorded: true }];
}

/** Copies each chunk before it reads the next, as a reader of a tap must. */
export async function bytesOfStream(stream: ReadableStream<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk.slice());
  return join(chunks);
}
