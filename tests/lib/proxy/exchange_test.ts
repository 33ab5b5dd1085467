/** One request becomes one observation, whatever happens, and an exception of ours harms no stream. */

import { assert, assertEquals } from "@std/assert";
import { describe } from "../../../lib/errors.ts";
import { CLIENT_CLOSED_REQUEST, Exchange } from "../../../lib/proxy/exchange.ts";
import type { Observation, OpenRequest, Outcome } from "../../../lib/observation.ts";
import { isBrokenUpload, upstreamErrorOf } from "../../../lib/proxy/upstream_errors.ts";
import { type Endpoint, endpointOf } from "../../../lib/reading/endpoints.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { bytesOf, turn } from "../../support/fixtures.ts";
import { CHAT, startExporter } from "../../support/helpers.ts";
import { ask } from "../../support/raw_client.ts";

/** What an exchange reports, and the exchange itself. */
class Course {
  readonly observations: Observation[] = [];
  readonly errors: unknown[] = [];
  readonly openRequests = new Set<OpenRequest>();
  readonly exchange: Exchange;

  constructor(endpoint: Endpoint = endpointOf("POST", "/api/chat"), observe: () => void = () => {}) {
    this.exchange = new Exchange(endpoint, { method: "POST", traceId: undefined }, {
      observe: (observation) => {
        this.observations.push(observation);
        observe();
      },
      openRequests: this.openRequests,
      internalError: (error) => this.errors.push(error),
    });
  }

  /** The response headers come. */
  answer(contentType: string, status = 200): void {
    this.exchange.answered(new Response(null, { status, headers: { "content-type": contentType } }));
  }

  /** A piece of the body comes. */
  chunk(text: string): void {
    const bytes = bytesOf(text);
    this.exchange.chunk(bytes, bytes.length);
  }

  /** The one observation; everything that could make another one is tried first. */
  async outcome(): Promise<Outcome | undefined> {
    await turn();
    this.exchange.complete();
    this.exchange.cancelled();
    this.exchange.broken(new Error("late"));
    this.exchange.unreachable(502, "other");
    await turn();
    assertEquals([this.observations.length, this.openRequests.size], [1, 0]);
    return this.observations[0]?.outcome;
  }
}

const NDJSON = "application/x-ndjson";
const JSON_TYPE = "application/json; charset=utf-8";
const FINAL = '{"model":"m","done":true}\n';

/** Courses of a request to `/api/chat`, and what they are called. */
const COURSES: [string, Outcome, (course: Course) => void][] = [
  ["a stream with its final record", "ok", (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.complete())],
  ["a stream without", "incomplete", (c) => (c.answer(NDJSON), c.chunk('{"done":false}\n'), c.exchange.complete())],
  ["an empty stream", "incomplete", (c) => (c.answer(NDJSON), c.exchange.complete())],
  [
    "an error in a stream",
    "stream_error",
    (c) => (c.answer(NDJSON), c.chunk('{"error":"x"}\n'), c.exchange.complete()),
  ],
  ["one body", "ok", (c) => (c.answer(JSON_TYPE), c.chunk('{"done":true}'), c.exchange.complete())],
  [
    "one body that was cut short",
    "incomplete",
    (c) => (c.answer(JSON_TYPE), c.chunk('{"done":false}'), c.exchange.complete()),
  ],
  ["a body of another type", "ok", (c) => (c.answer("text/plain"), c.chunk("x"), c.exchange.complete())],
  ["status 404", "client_error", (c) => (c.answer(JSON_TYPE, 404), c.exchange.complete())],
  ["status 404, and the client leaves", "client_error", (c) => (c.answer(JSON_TYPE, 404), c.exchange.cancelled())],
  ["status 499 of Ollama's own", "client_error", (c) => (c.answer(JSON_TYPE, 499), c.exchange.complete())],
  ["status 503", "server_error", (c) => (c.answer(JSON_TYPE, 503), c.exchange.complete())],
  ["the client leaves before headers", "client_closed", (c) => c.exchange.cancelled()],
  [
    "the client leaves in mid-stream",
    "client_closed",
    (c) => (c.answer(NDJSON), c.chunk('{"done":'), c.exchange.cancelled()),
  ],
  [
    "the client leaves, and the body breaks off before it is cancelled",
    "client_closed",
    (c) => (c.answer(NDJSON), c.exchange.broken(new DOMException("The request has been cancelled.", "AbortError"))),
  ],
  ["the client leaves after the final record", "ok", (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.cancelled())],
  ["the upstream breaks", "upstream_broken", (c) => (c.answer(NDJSON), c.exchange.broken(new Error("reset")))],
  [
    "the upstream breaks after the final record",
    "ok",
    (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.broken(new Error())),
  ],
  ["no answer", "upstream_unreachable", (c) => c.exchange.unreachable(502, "connect")],
];

for (const [name, expected, run] of COURSES) {
  Deno.test(`Exchange observes once: ${name} is ${expected}`, async () => {
    const course = new Course();
    assertEquals(course.openRequests.size, 1);
    run(course);
    assertEquals(await course.outcome(), expected);
    assertEquals(course.errors, []);
  });
}

Deno.test("Exchange has status 499 until there is another, and waits until then", () => {
  const course = new Course();
  const [open] = course.openRequests;
  assertEquals([open?.waiting, open?.model, open?.api], [true, undefined, "chat"]);
  course.exchange.named("llama3.2");
  course.answer(NDJSON);
  assertEquals([open?.waiting, open?.model], [false, "llama3.2"]);
  const left = new Course();
  left.exchange.cancelled();
  assertEquals(left.observations[0]?.status, CLIENT_CLOSED_REQUEST);
});

Deno.test("Exchange enters no request that is not measured among the open ones", async () => {
  const course = new Course(endpointOf("GET", "/api/tags"));
  assertEquals(course.openRequests.size, 0);
  course.answer(JSON_TYPE);
  course.chunk('{"model":"m","eval_count":5}');
  course.exchange.complete();
  assertEquals([await course.outcome(), course.observations[0]?.report.outputTokens], ["ok", undefined]);
});

Deno.test("Exchange counts bytes that were passed, not those that came", () => {
  const course = new Course();
  course.answer(NDJSON);
  course.exchange.chunk(bytesOf("0123456789"), 4);
  course.exchange.chunk(bytesOf("0123456789"), 0);
  assertEquals(course.exchange.responseBytes, 4);
});

for (const contentType of [NDJSON, JSON_TYPE]) {
  Deno.test(`Exchange survives a dialect that throws (${contentType})`, async () => {
    const course = new Course({
      ...endpointOf("POST", "/api/chat"),
      dialect: {
        terminal: () => {
          throw new Error("our own");
        },
        failed: () => false,
      },
    });
    course.answer(contentType);
    for (let i = 0; i < 100; i++) course.chunk(contentType === NDJSON ? '{"done":true}\n' : " ");
    course.chunk("{}");
    course.exchange.complete();
    await course.outcome();
    assertEquals(course.errors.map(String), ["Error: our own"]);
    assertEquals(course.exchange.responseBytes, contentType === NDJSON ? 1402 : 102);
  });
}

Deno.test("Exchange reports what the consumer of its observation throws", async () => {
  const course = new Course(undefined, () => {
    throw new Error("consumer");
  });
  course.exchange.cancelled();
  assertEquals(await course.outcome(), "client_closed");
  assertEquals(course.errors.map(String), ["Error: consumer"]);
});

Deno.test("an exception in an observer stops no byte, is logged once and counted", async () => {
  await using fake = await startFakeOllama();
  let calls = 0;
  const fail = (): void => {
    if (calls++ === 0) throw new Error("observer");
  };
  await using exporter = startExporter(fake, { observe: fail, failsInside: true });
  const direct = await ask(fake.port, "POST /api/chat", [], JSON.stringify(CHAT));
  for (let i = 0; i < 2; i++) {
    const response = await ask(exporter.port, "POST /api/chat", [], JSON.stringify(CHAT));
    assertEquals([response.body, response.end], [direct.body, "complete"]);
    await exporter.observation(i + 1);
  }
  const errors = exporter.logLines.filter((line) => line.includes("level=ERROR"));
  assertEquals(errors.length, 1);
  assert(errors[0]?.includes("observer"));
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_exporter_internal_errors_total"), 1);
  assertEquals(metrics.value("ollama_requests_in_flight") ?? 0, 0);
  assertEquals(metrics.value("ollama_requests_total"), 2);
});

const SENDING = "error sending request from 127.0.0.1:5 for http://h/connect/reset?tls=invalid (127.0.0.1:9): ";

Deno.test("upstreamErrorOf() tells where a connection failed, whatever the client has written into its URL", () => {
  const rows: [string, string][] = [
    ["client error (Connect): tcp connect error: Connection refused (os error 111)", "connect"],
    ["client error (Connect): dns error: failed to lookup address information", "connect"],
    ["client error (Connect): received corrupt message of type InvalidContentType", "connect"],
    ["client error (SendRequest): connection closed before message completed", "reset"],
    ["client error (SendRequest): connection error: Connection reset by peer (os error 104)", "reset"],
    ["client error (SendRequest): invalid HTTP version parsed", "protocol"],
    ["client error (SendRequest): invalid content-length parsed", "protocol"],
    ["client error (SendRequest): message head is too large", "protocol"],
    ["client error (SendRequest): something new", "other"],
  ];
  for (const [text, expected] of rows) {
    const error = new TypeError("fetch failed", { cause: new Error(SENDING + text) });
    assertEquals(upstreamErrorOf(error), expected, text);
  }
  assertEquals(upstreamErrorOf(new TypeError("error reading a body from connection")), "reset");
  assertEquals(upstreamErrorOf(new Error("invalid status 600")), "protocol");
  assertEquals(upstreamErrorOf("?"), "other");
});

Deno.test("isBrokenUpload() knows the client's failure from the upstream's", () => {
  const cause = (text: string): Error => new TypeError("fetch failed", { cause: new Error(text) });
  assert(isBrokenUpload(cause("Cannot read request body as underlying resource unavailable")));
  assert(!isBrokenUpload(cause(`${SENDING}client error (SendRequest): connection closed before message completed`)));
});

Deno.test("describe() joins the messages of an error and its causes, and comes to an end", () => {
  const endless = new Error("a");
  endless.cause = endless;
  assertEquals(describe(endless), "a: a: a: a");
  assertEquals(describe(new Error("a", { cause: "b" })), "a: b");
  assertEquals(describe("text"), "text");
});
