/** Work that a hostile peer can cause: what it grows with, by comparisons within a run. */

import { assertLessOrEqual } from "@std/assert";
import { canonicalModelName } from "../../lib/model_name.ts";
import { parseRequest, UsageFilter } from "../../lib/proxy/stream_usage.ts";
import { AnswerReader } from "../../lib/reading/answer_reader.ts";
import { endpointOf } from "../../lib/reading/endpoints.ts";
import type { FramingKind } from "../../lib/reading/framing.ts";
import { bytesOf } from "../support/fixtures.ts";

/** A busy machine disturbs some measurements, hardly all of them. */
const ATTEMPTS = 10;

const MEBIBYTE = 2 ** 20;
const LENGTH = MEBIBYTE / 4;
/** The longer inputs have this many times the length: linear work takes as many times as long, quadratic the square. */
const FACTOR = 4;
const RATIO_LIMIT = 2 * FACTOR;

/** Length of the chunks of a response: the least and the most that a read brings, roughly. */
const CHUNKS = [100, 128 * 1024];

type Run = () => unknown;

async function timeOf(run: Run): Promise<number> {
  const startedAt = performance.now();
  await run();
  return performance.now() - startedAt;
}

/** Returns the least ratio that was measured, or the first that is small enough. */
async function ratioOf(dividend: Run, divisor: Run, limit: number): Promise<number> {
  let ratio = Infinity;
  for (let attempt = 0; attempt < ATTEMPTS && ratio > limit; attempt++) {
    const below = await timeOf(divisor);
    ratio = Math.min(ratio, await timeOf(dividend) / below);
  }
  return ratio;
}

/** Many members with short names of their own. */
function members(length: number): string {
  const all: string[] = [];
  let size = 0;
  while (size < length) {
    const member = `"${all.length.toString(36)}":1`;
    all.push(member);
    size += member.length + 1;
  }
  return all.join();
}

function* chunksOf(text: string, size: number): Generator<Uint8Array> {
  const bytes = bytesOf(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Reads a response to a request for a path. */
function reading(kind: FramingKind, path: string, text: string, size: number): Run {
  const { dialect } = endpointOf("POST", path);
  if (dialect === undefined) throw new Error(`${path} has no dialect`);
  return async () => {
    const reader = new AnswerReader(kind, dialect);
    for (const chunk of chunksOf(text, size)) reader.push(chunk, 1);
    await reader.end(true);
  };
}

function filtering(text: string, size: number): Run {
  return () => {
    const filter = new UsageFilter();
    for (const chunk of chunksOf(text, size)) filter.push(chunk);
    filter.end();
  };
}

const CHAT = "/v1/chat/completions";

/** What is done with a text of some length that arrives in chunks of some size. */
const WORK: Record<string, (length: number, size: number) => Run> = {
  "a line of members": (length, size) => reading("ndjson", "/api/chat", `{${members(length)}}\n`, size),
  "a line without an end": (length, size) => reading("ndjson", "/api/chat", "x".repeat(length), size),
  "lines": (length, size) => reading("ndjson", "/api/chat", "1\n".repeat(length / 2), size),
  "a body of members": (length, size) => reading("json", "/api/chat", `{${members(length)}}`, size),
  "an event of lines": (length, size) => reading("sse", CHAT, `${"data:1\n".repeat(length / 7)}\n`, size),
  "carriage returns": (length, size) => reading("sse", CHAT, "\r".repeat(length), size),
  "open brackets": (length, size) => reading("json", "/api/embed", "[".repeat(length), size),
  "vectors": (length, size) => reading("json", "/api/embed", "[1],".repeat(length / 4), size),
  "tool calls": (length, size) =>
    reading("json", "/api/chat", `{"message":{"tool_calls":[${"{},".repeat(length / 3)}1]}}`, size),
  "events with usage": (length, size) => filtering('data: {"usage":1}\n\n'.repeat(length / 19), size),
  "an event full of usage": (length, size) => filtering(`data: {"choices":[${'"usage",'.repeat(length / 8)}1]}`, size),
  "backslashes in an event": (length, size) => filtering(`data: {"usage":"${"\\".repeat(length)}"}\n\n`, size),
};

for (const [name, work] of Object.entries(WORK)) {
  Deno.test(`Reading a response of ${name} takes time in proportion to its length`, async () => {
    for (const size of CHUNKS) {
      const ratio = await ratioOf(work(FACTOR * LENGTH, size), work(LENGTH, size), RATIO_LIMIT);
      assertLessOrEqual(ratio, RATIO_LIMIT, `chunks of ${size}`);
    }
  });
}

/** Requests as long as any that is parsed, and less work than the longest string takes. */
const REQUESTS: Record<string, (length: number) => string> = {
  "tiny members": (length) => `{"model":"m","stream":true,${members(length)}}`,
  "models": (length) => `{"stream":true,${'"model":"m",'.repeat(length / 12)}"a":1}`,
  "a model of brackets": (length) => `{"stream":true,"model":${"[".repeat(length / 2)}${"]".repeat(length / 2)}}`,
  "a model of colons": (length) => `{"stream":true,"model":"${":".repeat(length)}"}`,
  "options with tiny members": (length) => `{"stream":true,"stream_options":{${members(length)}}}`,
};

for (const [name, request] of Object.entries(REQUESTS)) {
  Deno.test(`parseRequest() takes no more time for ${name} than for a text decoded`, async () => {
    const text = request(8 * MEBIBYTE);
    const bytes = bytesOf(text);
    const ratio = await ratioOf(
      () => parseRequest(bytes, { hasOptions: true, canRequestUsage: true }),
      () => JSON.parse(`"${"x\\n".repeat(bytes.length / 3)}"`),
      3,
    );
    assertLessOrEqual(ratio, 3);
  });
}

Deno.test("canonicalModelName() takes no more time for a long name than for valid ones", async () => {
  for (const filling of [":", "/", "a", " ", "é"]) {
    const name = filling.repeat(MEBIBYTE);
    const times = (name: string): Run => () => {
      for (let index = 0; index < 1000; index++) canonicalModelName(name);
    };
    assertLessOrEqual(await ratioOf(times(name), times("hf.co/u/Repo-GGUF:Q4_K_M"), 3), 3, filling);
  }
});
