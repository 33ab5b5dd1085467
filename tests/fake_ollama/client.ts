/** Test client of the fake Ollama, with or without a proxy in front of it: JSON by fetch, raw bytes by TCP. */

import { assert } from "@std/assert";
import type { FakeOllama } from "./mod.ts";
import { latin1 } from "./wire.ts";

/** A request for /api/chat and /v1/chat/completions. */
export const CHAT = { model: "llama3.2", messages: [{ role: "user", content: "Hello" }] };
/** A request for /v1/messages. */
export const MESSAGES = { ...CHAT, max_tokens: 100 };

/** Sends a JSON body and reads the whole response. */
export async function post(
  fake: FakeOllama,
  path: string,
  body: unknown,
  init: RequestInit = {},
): Promise<{ status: number; type: string | null; text: string; headers: Headers }> {
  const response = await fetch(fake.url + path, { method: "POST", body: JSON.stringify(body), ...init });
  const text = await response.text();
  return { status: response.status, type: response.headers.get("content-type"), text, headers: response.headers };
}

/** Parses an NDJSON text. */
export function lines(text: string): Record<string, unknown>[] {
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Sends raw bytes and reads until the fake closes the connection or sends `until`. Returns one character per byte. */
export async function raw(fake: FakeOllama, request: string, until = "\0"): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port: fake.port });
  await conn.write(new TextEncoder().encode(request));
  const buffer = new Uint8Array(65536);
  let text = "";
  while (!text.includes(until)) {
    const count = await conn.read(buffer).catch(() => null);
    if (count === null) break;
    text += latin1(buffer.subarray(0, count));
  }
  return text;
}

/** Returns a raw POST request to /api/chat. `head`: additional header lines. */
export function chatRequest(body: unknown = CHAT, head = ""): string {
  const text = JSON.stringify(body);
  const length = new TextEncoder().encode(text).length;
  return `POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n${head}\r\n${text}`;
}

/** Returns the chunk sizes of a chunked response in order, including the final 0. */
export function chunkSizes(answer: string): number[] {
  const sizes: number[] = [];
  let at = answer.indexOf("\r\n\r\n") + 4;
  while (at < answer.length) {
    const end = answer.indexOf("\r\n", at);
    const size = parseInt(answer.slice(at, end), 16);
    assert(size >= 0, `no chunk size at ${at}`);
    sizes.push(size);
    at = end + 2 + size + 2;
  }
  return sizes;
}
