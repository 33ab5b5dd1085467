/**
 * Invalid input: bytes are forwarded, values are right or missing, what cannot be parsed is counted, and nothing
 * throws.
 */

import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import { join } from "../../lib/bytes/byte_queue.ts";
import { Exchange } from "../../lib/proxy/exchange.ts";
import { Metrics } from "../../lib/metrics/request_metrics.ts";
import { type Observation, type OpenRequest, OUTCOMES, type Report } from "../../lib/observation.ts";
import { LoopTicks } from "../../lib/proxy/gather.ts";
import { tap } from "../../lib/proxy/tap.ts";
import { UsageFilter } from "../../lib/proxy/stream_usage.ts";
import type { Endpoint } from "../../lib/reading/endpoints.ts";
import { apiRequest } from "../support/api_requests.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { latin1, latin1Bytes } from "../fake_ollama/wire.ts";
import { bytesOf, bytesOfStream, type Fixture, readFixtures } from "../support/fixtures.ts";
import { startExporter } from "../support/helpers.ts";
import { JsonWriter } from "../support/random_json.ts";
import { RawClient } from "../support/raw_client.ts";
import { messagesIn, Spoiler } from "../support/spoiler.ts";
import { readUsagePairs } from "../support/usage_pairs.ts";

const FIXTURES = readFixtures().filter(({ name }) => !name.includes("error_"));
const STREAMS = FIXTURES.filter(({ kind }) => kind !== "json");
const CONTENT_TYPES = { json: "application/json", ndjson: "application/x-ndjson", sse: "text/event-stream" };

const OPEN = new Set<OpenRequest>();
const METRICS = new Metrics({ modelLimit: 10, openRequests: OPEN });

/** Result of a response. */
interface Passed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly observation: Observation;
}

/** Passes a response through tap, filter and exchange to the metrics, as the proxy does. */
async function pass(
  { kind, endpoint }: Pick<Fixture, "kind" | "endpoint">,
  chunks: Iterable<Uint8Array<ArrayBuffer>>,
  hides = false,
): Promise<Passed> {
  const { promise, resolve, reject } = Promise.withResolvers<Observation>();
  const observe = (observation: Observation) => {
    METRICS.observe(observation);
    resolve(observation);
  };
  const options = { observe, openRequests: OPEN, internalError: reject };
  const exchange = new Exchange(endpoint, { method: "POST", traceId: undefined, client: undefined }, options);
  exchange.onResponse(new Response(null, { headers: { "content-type": CONTENT_TYPES[kind] } }));
  const source = chunks[Symbol.iterator]();
  const body: ReadableStream<Uint8Array<ArrayBuffer>> = new ReadableStream({
    type: "bytes",
    pull(controller): void {
      const { done, value } = source.next();
      if (!done) return controller.enqueue(value.slice());
      controller.close();
      controller.byobRequest?.respond(0);
    },
  });
  const filter = hides ? new UsageFilter() : undefined;
  const bytes = await bytesOfStream(tap(body, { watcher: exchange, ticks: new LoopTicks(), filter }));
  return { bytes, observation: await promise };
}

function undecoded({ name, ...fixture }: Fixture): Fixture {
  const { skip: _, ...dialect } = fixture.endpoint.dialect ?? {};
  return { ...fixture, name, endpoint: { ...fixture.endpoint, dialect } as Endpoint };
}

function parseErrorsOf({ parseErrors }: Observation): number {
  return Object.values(parseErrors).reduce((sum, count) => sum + count, 0);
}

Deno.test("createProxy() forwards each fixture with garbage in it, reads its values, and counts what it cannot parse", async () => {
  for (const fixture of STREAMS) {
    const clean = (await pass(fixture, [fixture.bytes])).observation;
    for (let seed = 1; seed <= 8; seed++) {
      const spoiler = new Spoiler(seed);
      const { bytes, parseErrors } = spoiler.spoil(fixture);
      const { observation, bytes: passed } = await pass(fixture, spoiler.cut(bytes));
      const where = `${fixture.name}, seed ${seed}`;
      assertEquals(passed, bytes, where);
      assertEquals(observation.report, clean.report, where);
      assertEquals(observation.outcome, clean.outcome, where);
      assertLessOrEqual(parseErrorsOf(observation), parseErrors + parseErrorsOf(clean), where);
      // Without skipping, every piece is counted.
      const all = (await pass(undecoded(fixture), spoiler.cut(bytes))).observation;
      assertEquals(parseErrorsOf(all), parseErrors + parseErrorsOf(clean), where);
      assertEquals(all.report, clean.report, where);
    }
  }
});

Deno.test("createProxy() counts what it cannot parse before the first output, and after the last", async () => {
  for (const fixture of STREAMS.filter(({ name }) => /_stream(_usage)?\./.test(name))) {
    const bad = bytesOf(fixture.kind === "sse" ? "data: {bad}\n\n" : "{bad}\n");
    const { bytes, observation } = await pass(fixture, [bad, fixture.bytes, bad]);
    assertEquals(bytes, join([bad, fixture.bytes, bad]));
    assertGreaterOrEqual(observation.parseErrors.invalid_json ?? 0, 1, fixture.name);
  }
});

Deno.test("createProxy() hides the usage that it requested, and forwards garbage around it", async () => {
  for (const { withUsage, plainText } of readUsagePairs()) {
    const asked = STREAMS.find(({ name }) => name === `${withUsage.name}.sse`);
    assert(asked !== undefined);
    const clean = (await pass(asked, [asked.bytes])).observation;
    for (let seed = 1; seed <= 100; seed++) {
      const spoiler = new Spoiler(seed);
      const shown = messagesIn("sse", bytesOf(plainText));
      const sent: string[] = [];
      const wanted: string[] = [];
      for (const message of messagesIn("sse", asked.bytes)) {
        const [garbage] = spoiler.garbage("sse");
        sent.push(garbage, message);
        wanted.push(garbage, message.includes('"choices":[]') ? "" : shown.shift() ?? "");
      }
      const { bytes, observation } = await pass(asked, spoiler.cut(latin1Bytes(sent.join(""))), true);
      assertEquals(latin1(bytes), wanted.join(""), `${asked.name}, seed ${seed}`);
      assertEquals(observation.report, clean.report, `${asked.name}, seed ${seed}`);
      assertEquals(observation.responseBytes, bytes.length);
    }
  }
});

Deno.test("createProxy() forwards each fixture with damage at random positions, and does not throw", async () => {
  for (const fixture of FIXTURES) {
    for (let seed = 1; seed <= 12; seed++) {
      const spoiler = new Spoiler(seed);
      const bytes = spoiler.damage(fixture.bytes);
      const where = `${fixture.name}, seed ${seed}`;
      const { bytes: passed, observation } = await pass(fixture, spoiler.cut(bytes));
      assertEquals(passed, bytes, where);
      assert(OUTCOMES.includes(observation.outcome));
      assertUsable(observation.report, where);
      if (fixture.endpoint.asksForUsage !== true || fixture.kind !== "sse") continue;
      const { bytes: left } = await pass(fixture, spoiler.cut(bytes), true);
      assert(isLeftOf(left, bytes), where);
    }
  }
});

/** Asserts that metrics accept the numbers in a report. */
function assertUsable(report: Readonly<Report>, where: string): void {
  for (const [field, value] of Object.entries(report)) {
    if (typeof value === "number") assert(Number.isFinite(value) && value >= 0, `${field} is ${value} in ${where}`);
  }
}

/** Returns whether `left` is `all` with only some pieces removed. */
function isLeftOf(left: Uint8Array, all: Uint8Array): boolean {
  let at = 0;
  for (const byte of all) {
    if (byte === left[at]) at++;
  }
  return at === left.length;
}

/** Keys that dialects read. */
const KEYS = [
  ...["model", "done", "done_reason", "message", "response", "error", "type", "status", "digest", "completed"],
  ...["usage", "timings", "choices", "delta", "content", "text", "tool_calls", "function", "name", "output"],
  ...["prompt_eval_count", "eval_count", "total_duration", "load_duration", "eval_duration", "prompt_ms"],
  ...["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"],
  ...["prompt_tokens_details", "input_tokens_details", "cache_read_input_tokens", "predicted_ms", "finish_reason"],
  ...["content_block", "stop_reason", "object", "embeddings", "0", "__proto__", "constructor", "toString"],
];
const VALUES = [
  '"26"',
  "-1",
  "1e308",
  "1e400",
  "26.5",
  "null",
  "[]",
  "{}",
  "true",
  '"stop"',
  '"success"',
  "9007199254740993",
];

/** Returns an object with known keys and random values. */
function oddMessage(writer: JsonWriter, depth: number): string {
  const members = Array.from({ length: 1 + writer.below(7) }, () => {
    const nested = depth > 0 && writer.below(2) === 0;
    const value = nested
      ? oddMessage(writer, depth - 1)
      : writer.below(4) === 0
      ? writer.value(1)
      : writer.pick(VALUES);
    return `"${writer.pick(KEYS)}":${nested && writer.below(3) === 0 ? `[${value}]` : value}`;
  });
  return `{${members.join(",")}}`;
}

Deno.test("createProxy() reads valid values, or none, from messages with random values", async () => {
  const endpoints = new Map(FIXTURES.map((fixture) => [fixture.endpoint.route + fixture.kind, fixture]));
  for (const fixture of endpoints.values()) {
    for (let seed = 1; seed <= 60; seed++) {
      const writer = new JsonWriter(seed);
      const messages = Array.from({ length: fixture.kind === "json" ? 1 : 5 }, () => oddMessage(writer, 3));
      const text = messages.map((message) => fixture.kind === "sse" ? `data: ${message}\n\n` : `${message}\n`).join("");
      const { bytes, observation } = await pass(fixture, [bytesOf(text)]);
      assertEquals(bytes, bytesOf(text));
      assertUsable(observation.report, `${fixture.endpoint.route}: ${text}`);
    }
  }
});

/** Usage in a response of `/v1/chat/completions`, and the tokens read from it. */
const USAGES: Record<string, { usages: string[]; tokens: [number | undefined, number | undefined]; invalid?: number }> =
  {
    "twice": {
      usages: ['{"prompt_tokens":1,"completion_tokens":2}', '{"prompt_tokens":3,"completion_tokens":4}'],
      tokens: [3, 4],
    },
    "as strings": {
      usages: ['{"prompt_tokens":"26","completion_tokens":"5"}'],
      tokens: [undefined, undefined],
      invalid: 2,
    },
    "below zero": { usages: ['{"prompt_tokens":-1,"completion_tokens":5}'], tokens: [undefined, 5], invalid: 1 },
    "out of range": {
      usages: ['{"prompt_tokens":1e308,"completion_tokens":1e400}'],
      tokens: [undefined, undefined],
      invalid: 2,
    },
    "as fractions": { usages: ['{"prompt_tokens":26.5,"completion_tokens":5}'], tokens: [undefined, 5], invalid: 1 },
    "with a null count": { usages: ['{"prompt_tokens":null,"completion_tokens":5}'], tokens: [undefined, 5] },
    "null": { usages: ["null"], tokens: [undefined, undefined] },
    "of another type": { usages: ['"26"', "[26,5]", "26", "true"], tokens: [undefined, undefined] },
    "without one count": { usages: ['{"completion_tokens":5}'], tokens: [undefined, 5] },
    "of zeros, which is none": {
      usages: ['{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'],
      tokens: [undefined, undefined],
    },
  };

for (const [name, { usages, tokens, invalid = 0 }] of Object.entries(USAGES)) {
  Deno.test(`createProxy() reads usage ${name}`, async () => {
    const fixture = STREAMS.find(({ name }) => name === "v1_chat_stream.sse");
    assert(fixture !== undefined);
    const events = usages.map((usage) => `data: {"model":"m","choices":[],"usage":${usage}}\n\n`).join("");
    const { observation: { report, parseErrors } } = await pass(fixture, [bytesOf(events), fixture.bytes]);
    assertEquals([report.promptTokens, report.outputTokens], tokens);
    assertEquals(parseErrors.invalid_value ?? 0, invalid);
  });
}

Deno.test("createProxy() reads events of 5 MB and 9 MiB, and counts one of 9 MiB of short strings as too long", async () => {
  const fixture = STREAMS.find(({ name }) => name === "v1_chat_stream_usage.sse");
  assert(fixture !== undefined);
  const long = (length: number): string => `"${"x".repeat(length)}"`;
  const many = `[${Array(9 * 1024 * 1024 / 4).fill('"x"').join(",")}]`;
  for (const [content, errors] of [[long(5_000_000), 0], [long(9 * 1024 * 1024), 0], [many, 1]] as const) {
    const event = bytesOf(`data: {"choices":[{"delta":{"content":${content}}}]}\n\n`);
    const whole = join([event, fixture.bytes]);
    const chunks = Array.from(
      { length: Math.ceil(whole.length / 65536) },
      (_, i) => whole.slice(i * 65536, (i + 1) * 65536),
    );
    const { bytes, observation } = await pass(fixture, chunks, true);
    assertEquals(
      bytes.length,
      event.length + (STREAMS.find(({ name }) => name === "v1_chat_stream.sse")?.bytes.length ?? 0),
    );
    assertEquals(observation.parseErrors.too_long ?? 0, errors);
    assertEquals(observation.report.outputTokens, 9);
  }
});

Deno.test("createProxy() forwards damaged fixtures over real sockets, byte for byte, with the same values", async () => {
  let answer: Iterable<Uint8Array<ArrayBuffer>> = [];
  let head = "";
  await using fake = await startFakeOllama({
    script: async ({ method }, connection) => {
      if (method !== "POST") return;
      await connection.readBody();
      await connection.write(head);
      for (const piece of answer) {
        await connection.write(latin1Bytes(`${piece.length.toString(16)}\r\n${latin1(piece)}\r\n`));
      }
      await connection.writeLast("0\r\n\r\n");
    },
  });
  await using exporter = startExporter(fake, { openaiStreamUsage: false });
  let parseErrors = 0;
  for (const [index, fixture] of STREAMS.entries()) {
    const spoiler = new Spoiler(index);
    const { bytes } = spoiler.spoil(fixture);
    head = `HTTP/1.1 200 OK\r\nContent-Type: ${CONTENT_TYPES[fixture.kind]}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    answer = spoiler.cut(bytes);
    using client = await RawClient.connect(exporter.port);
    const { body } = apiRequest(fixture.endpoint, true).init;
    assert(typeof body === "string");
    await client.request(`POST ${fixture.endpoint.route}`, [], body);
    const response = await client.response();
    assertEquals([response.body, response.end], [latin1(bytes), "complete"], fixture.name);
    const { report, outcome, ...rest } = await exporter.observation(index + 1);
    const clean = (await pass(fixture, [fixture.bytes])).observation;
    assertEquals([report, outcome], [clean.report, clean.outcome], fixture.name);
    parseErrors += parseErrorsOf({ report, outcome, ...rest });
  }
  const scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_exporter_parse_errors_total"), parseErrors);
  assertGreaterOrEqual(parseErrors, 5);
  assertEquals(scrape.value("ollama_exporter_internal_errors_total"), 0);
});
