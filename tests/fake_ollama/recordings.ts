/**
 * Recorded exchanges with real Ollama servers (tests/recordings/README.md), and their replay on the fake's wire: status
 * line, header order and HTTP chunks as recorded.
 */

import { equal } from "@std/assert";
import type { Script } from "./behaviour.ts";
import { concat, type RecordedRequest } from "./request.ts";
import { utf8 } from "./json.ts";

/** Header names and values, in the order in which they were sent. */
type HeaderList = readonly (readonly [string, string])[];

/** One exchange. */
export interface Recording {
  /** Name of its file, without `.json`. */
  readonly name: string;
  readonly method: string;
  /** Request target as sent. */
  readonly target: string;
  readonly requestHeaders: HeaderList;
  /** Request body; "" if there was none. */
  readonly requestBody: string;
  readonly statusLine: string;
  readonly status: number;
  readonly headers: HeaderList;
  /** `none`: the answer has no body, whatever its headers say. */
  readonly framing: "length" | "chunked" | "none";
  readonly chunks: readonly RecordedChunk[];
}

/** An HTTP chunk, or the whole body where it was not chunked. */
interface RecordedChunk {
  /** When it came, in milliseconds after the last byte of the request was sent. */
  readonly atMs: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * How a recording's body is sent.
 *
 * - `{ timeScale }`: in its HTTP chunks, at the recorded times multiplied by this; 0 does not wait.
 * - `"whole"`: in one piece with the head, in one HTTP chunk where it is chunked.
 * - `{ cuts }`: cut at these places, counted in bytes, each piece a write and, where the body is chunked, a chunk.
 */
export type ReplayForm = "whole" | { readonly timeScale: number } | { readonly cuts: readonly number[] };

/** Folder of the recordings. */
const RECORDINGS_URL = new URL("../recordings/", import.meta.url);

/** Fields of a recording's file that are used. */
interface RecordingFile {
  readonly request: { line: string; headers: [string, string][]; body: string };
  readonly response: {
    statusLine: string;
    headers: [string, string][];
    framing: Recording["framing"];
    chunks: { ms: number; data: string }[];
  };
}

/** Reads all recordings, in the order of their names. */
export function readRecordings(): Recording[] {
  const names = [...Deno.readDirSync(RECORDINGS_URL)].map(({ name }) => name).filter((name) => name.endsWith(".json"));
  return names.sort().map((name) => {
    const file: RecordingFile = JSON.parse(Deno.readTextFileSync(new URL(name, RECORDINGS_URL)));
    const { request, response } = file;
    const [method = "", target = ""] = request.line.split(" ");
    return {
      name: name.slice(0, -".json".length),
      method,
      target,
      requestHeaders: request.headers,
      requestBody: request.body,
      statusLine: response.statusLine,
      status: Number(response.statusLine.split(" ")[1]),
      headers: response.headers,
      framing: response.framing,
      chunks: response.chunks.map(({ ms, data }) => ({ atMs: ms, bytes: utf8(data) })),
    };
  });
}

/** Returns the body of a recording's answer, HTTP chunks joined. */
export function bodyOf({ chunks }: Recording): Uint8Array<ArrayBuffer> {
  return concat(chunks.map(({ bytes }) => bytes));
}

/**
 * Returns a script that answers requests as a recording does. Requests that are not the recorded one, by method, target
 * and body, are left to the fake.
 */
export function replaying(recording: Recording, form: ReplayForm): Script {
  return async (request, connection) => {
    if (request.method !== recording.method || request.target !== recording.target) return;
    await connection.readBody();
    if (!hasBody(request, recording.requestBody)) return;
    const pieces = piecesOf(recording, form);
    const encode = recording.framing === "chunked" ? httpChunk : (bytes: Uint8Array<ArrayBuffer>) => bytes;
    const head = utf8(
      [recording.statusLine, ...recording.headers.map((header) => header.join(": "))].join("\r\n") + "\r\n\r\n",
    );
    let lead = head;
    let sentMs = 0;
    for (const { atMs, bytes } of pieces) {
      if (atMs > sentMs) await connection.sleep(atMs - sentMs);
      sentMs = Math.max(atMs, sentMs);
      await connection.write(concat([lead, encode(bytes)]));
      lead = NOTHING;
    }
    const end = recording.framing === "chunked" ? LAST_CHUNK : NOTHING;
    await connection.writeLast(concat([lead, end]));
    return true;
  };
}

const NOTHING = new Uint8Array(0);
const LAST_CHUNK = utf8("0\r\n\r\n");

/** Whether a request has a body: the same bytes, or JSON that says the same, since proxies may add members to it. */
function hasBody(request: RecordedRequest, body: string): boolean {
  if (request.text === body) return true;
  try {
    return equal(JSON.parse(request.text), JSON.parse(body));
  } catch {
    return false;
  }
}

function piecesOf(recording: Recording, form: ReplayForm): RecordedChunk[] {
  if (recording.chunks.length === 0) return [];
  if (typeof form === "object" && "timeScale" in form) {
    return recording.chunks.map(({ atMs, bytes }) => ({ atMs: atMs * form.timeScale, bytes }));
  }
  const body = bodyOf(recording);
  const cuts = form === "whole" ? [] : form.cuts;
  return [0, ...cuts].map((start, index) => ({ atMs: 0, bytes: body.slice(start, cuts[index] ?? body.length) }))
    .filter(({ bytes }) => bytes.length > 0);
}

function httpChunk(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return concat([utf8(`${bytes.length.toString(16)}\r\n`), bytes, utf8("\r\n")]);
}
