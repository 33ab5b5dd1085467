/** One request becomes one observation, whatever happens, and an exception of ours harms no stream. */

import { assert, assertEquals } from "@std/assert";
import { CLIENT_CLOSED_REQUEST, Exchange } from "../../../lib/proxy/exchange.ts";
import { NO_FACTS } from "../../../lib/proxy/stream_usage.ts";
import type { Observation, OpenRequest, Outcome } from "../../../lib/observation.ts";
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
  readonly openStreams = new Set<OpenRequest>();
  readonly exchange: Exchange;

  constructor(endpoint: Endpoint = endpointOf("POST", "/api/chat"), observe: () => void = () => {}) {
    this.exchange = new Exchange(endpoint, { method: "POST", traceId: undefined, client: undefined }, {
      observe: (observation) => {
        this.observations.push(observation);
        observe();
      },
      openRequests: this.openRequests,
      openStreams: this.openStreams,
      internalError: (error) => this.errors.push(error),
    });
  }

  /** The response headers come. */
  answer(contentType: string, status = 200): void {
    this.exchange.onResponse(new Response(null, { status, headers: { "content-type": contentType } }));
  }

  /** A piece of the body comes. */
  chunk(text: string): void {
    const bytes = bytesOf(text);
    this.exchange.chunk(bytes, bytes.length);
  }

  /** The one observation; everything that could make another one is tried first. */
  async outcome(): Promise<Outcome | undefined> {
    await turn();
    this.exchange.end("complete");
    this.exchange.end("cancelled");
    this.exchange.end("broken", new Error("late"));
    this.exchange.fail(502, "other");
    await turn();
    assertEquals([this.observations.length, this.openRequests.size, this.openStreams.size], [1, 0, 0]);
    return this.observations[0]?.outcome;
  }
}

const NDJSON = "application/x-ndjson";
const JSON_TYPE = "application/json; charset=utf-8";
const FINAL = '{"model":"m","done":true}\n';

/** Courses of a request to `/api/chat`, and what they are called. */
const COURSES: [string, Outcome, (course: Course) => void][] = [
  ["a stream with its final record", "ok", (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.end("complete"))],
  [
    "a stream without",
    "incomplete",
    (c) => (c.answer(NDJSON), c.chunk('{"done":false}\n'), c.exchange.end("complete")),
  ],
  ["an empty stream", "incomplete", (c) => (c.answer(NDJSON), c.exchange.end("complete"))],
  [
    "an error in a stream",
    "stream_error",
    (c) => (c.answer(NDJSON), c.chunk('{"error":"x"}\n'), c.exchange.end("complete")),
  ],
  ["one body", "ok", (c) => (c.answer(JSON_TYPE), c.chunk('{"done":true}'), c.exchange.end("complete"))],
  [
    "one body that was cut short",
    "incomplete",
    (c) => (c.answer(JSON_TYPE), c.chunk('{"done":false}'), c.exchange.end("complete")),
  ],
  ["a body of another type", "ok", (c) => (c.answer("text/plain"), c.chunk("x"), c.exchange.end("complete"))],
  ["status 404", "client_error", (c) => (c.answer(JSON_TYPE, 404), c.exchange.end("complete"))],
  ["status 404, and the client leaves", "client_error", (c) => (c.answer(JSON_TYPE, 404), c.exchange.end("cancelled"))],
  ["status 499 of Ollama's own", "client_error", (c) => (c.answer(JSON_TYPE, 499), c.exchange.end("complete"))],
  ["status 503", "server_error", (c) => (c.answer(JSON_TYPE, 503), c.exchange.end("complete"))],
  ["the client leaves before headers", "client_closed", (c) => c.exchange.end("cancelled")],
  [
    "the client leaves in mid-stream",
    "client_closed",
    (c) => (c.answer(NDJSON), c.chunk('{"done":'), c.exchange.end("cancelled")),
  ],
  [
    "the client leaves, and the body breaks off before it is cancelled",
    "client_closed",
    (
      c,
    ) => (c.answer(NDJSON),
      c.exchange.end("broken", new DOMException("The request has been cancelled.", "AbortError"))),
  ],
  [
    "the client leaves after the final record",
    "ok",
    (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.end("cancelled")),
  ],
  ["the upstream breaks", "upstream_broken", (c) => (c.answer(NDJSON), c.exchange.end("broken", new Error("reset")))],
  [
    "the upstream breaks after the final record",
    "ok",
    (c) => (c.answer(NDJSON), c.chunk(FINAL), c.exchange.end("broken", new Error())),
  ],
  ["no answer", "upstream_unreachable", (c) => c.exchange.fail(502, "connect")],
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

Deno.test("Exchange reports the figures of a final record that no client got, which stays client_closed", async () => {
  const course = new Course();
  course.answer(NDJSON);
  course.chunk('{"model":"m","message":{"content":"Hi"},"done":false}\n');
  // Not in the same millisecond.
  await new Promise((resolve) => setTimeout(resolve, 5));
  course.exchange.chunk(bytesOf('{"model":"m","done":true,"eval_count":7}\n'), 0);
  course.exchange.end("cancelled");
  assertEquals([await course.outcome(), course.observations[0]?.report.outputTokens], ["client_closed", 7]);
});

Deno.test("Exchange observes that a prompt exceeds the context, of a JSON body with status 400 to a measured API", async () => {
  const cases: [isExceeded: boolean, contentType: string, status: number, path: string][] = [
    [true, JSON_TYPE, 400, "/api/chat"],
    [true, "application/json", 400, "/v1/messages"],
    [true, JSON_TYPE, 400, "/api/embed"],
    [false, JSON_TYPE, 404, "/api/chat"],
    [false, JSON_TYPE, 200, "/api/chat"],
    [false, "text/plain", 400, "/api/chat"],
    [false, JSON_TYPE, 400, "/api/pull"],
    [false, JSON_TYPE, 400, "/api/show"],
  ];
  for (const [isExceeded, contentType, status, path] of cases) {
    const course = new Course(endpointOf("POST", path));
    course.answer(contentType, status);
    course.chunk('{"error":"the input length exceeds');
    course.chunk(' the context length"}');
    course.exchange.end("complete");
    await course.outcome();
    const [observation] = course.observations;
    const what = `${path} ${status} ${contentType}`;
    assertEquals([observation?.isContextExceeded, observation?.parseErrors], [isExceeded, {}], what);
    if (status === 400) assertEquals(observation?.outcome, "client_error", what);
  }
});

Deno.test("Exchange has status 499, and is waiting, until there is a response", () => {
  const course = new Course();
  const [open] = course.openRequests;
  assertEquals([open?.waiting, open?.model, open?.api], [true, undefined, "chat"]);
  course.exchange.onRequestBody({ ...NO_FACTS, bytes: 0, model: "llama3.2" });
  course.answer(NDJSON);
  assertEquals([open?.waiting, open?.model], [false, "llama3.2"]);
  const left = new Course();
  left.exchange.end("cancelled");
  assertEquals(left.observations[0]?.status, CLIENT_CLOSED_REQUEST);
});

Deno.test("Exchange is an open stream from the response headers of a stream to its end", () => {
  const course = new Course();
  assertEquals(course.openStreams.size, 0);
  course.answer(NDJSON);
  assertEquals(course.openStreams, course.openRequests);
  course.exchange.end("cancelled");
  assertEquals(course.openStreams.size, 0);
  const others: [Endpoint, type: string, status: number][] = [
    [endpointOf("POST", "/api/chat"), JSON_TYPE, 200],
    [endpointOf("POST", "/api/chat"), NDJSON, 500],
    [endpointOf("POST", "/api/pull"), NDJSON, 200],
  ];
  for (const [endpoint, type, status] of others) {
    const other = new Course(endpoint);
    other.answer(type, status);
    assertEquals(other.openStreams.size, 0, `${type} ${status}`);
  }
});

Deno.test("Exchange adds only measured requests to the open ones", async () => {
  const course = new Course(endpointOf("GET", "/api/tags"));
  assertEquals(course.openRequests.size, 0);
  course.answer(JSON_TYPE);
  course.chunk('{"model":"m","eval_count":5}');
  course.exchange.end("complete");
  assertEquals([await course.outcome(), course.observations[0]?.report.outputTokens], ["ok", undefined]);
});

Deno.test("Exchange counts bytes that were forwarded, not those received", async () => {
  const course = new Course();
  course.answer(NDJSON);
  course.exchange.chunk(bytesOf("0123456789"), 4);
  course.exchange.chunk(bytesOf("0123456789"), 0);
  course.exchange.end("complete");
  await course.outcome();
  assertEquals(course.observations[0]?.responseBytes, 4);
});

Deno.test("Exchange counts messages with output that were forwarded, parsed or skipped, several of them in one chunk", async () => {
  const output = '{"model":"m","message":{"content":"Hi"},"done":false}\n';
  const course = new Course();
  course.answer(NDJSON);
  course.chunk(output.replace("Hi", ""));
  course.chunk(output);
  // From here on output is skipped.
  await turn();
  course.chunk(output.repeat(3));
  course.chunk(output + output.slice(0, 10));
  course.chunk(output.slice(10) + output.replace("Hi", "").replace("false", "true"));
  course.exchange.chunk(bytesOf(output.repeat(5)), 0);
  course.exchange.end("cancelled");
  await course.outcome();
  assertEquals(course.observations[0]?.outputMessages, 6);
});

Deno.test("Exchange observes whether the response is a stream, or without one whether one was asked for", async () => {
  const rows: [isStream: boolean | undefined, isAskedFor: boolean | undefined, (course: Course) => void][] = [
    [true, false, (c) => c.answer(NDJSON)],
    [true, undefined, (c) => c.answer("text/event-stream")],
    [false, true, (c) => c.answer(JSON_TYPE)],
    [false, true, (c) => c.answer("text/plain")],
    [false, true, (c) => c.answer(NDJSON, 302)],
    [true, true, (c) => c.answer(JSON_TYPE, 500)],
    [false, false, (c) => c.answer(JSON_TYPE, 404)],
    [undefined, undefined, (c) => c.answer(JSON_TYPE, 500)],
    [true, true, (c) => c.exchange.fail(502, "connect")],
    [undefined, undefined, (c) => c.exchange.fail(502, "connect")],
  ];
  for (const [isStream, isAskedFor, run] of rows) {
    const course = new Course();
    course.exchange.onRequestBody({ ...NO_FACTS, bytes: 0, isStream: isAskedFor });
    run(course);
    await course.outcome();
    assertEquals(course.observations[0]?.isStream, isStream, String(run));
  }
});

Deno.test("Exchange has no number of messages where the response is no stream", async () => {
  for (const [type, status] of [[JSON_TYPE, 200], ["text/plain", 200], [NDJSON, 500]] as const) {
    const course = new Course();
    course.answer(type, status);
    course.chunk('{"model":"m","message":{"content":"Hi"},"done":true}');
    course.exchange.end("complete");
    await course.outcome();
    assertEquals(course.observations[0]?.outputMessages, undefined, `${type}, ${status}`);
  }
});

for (const contentType of [NDJSON, JSON_TYPE]) {
  Deno.test(`Exchange reports what a dialect throws, and observes the request (${contentType})`, async () => {
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
    course.exchange.end("complete");
    await course.outcome();
    assertEquals(course.errors.map(String), ["Error: our own"]);
    assertEquals(course.observations[0]?.responseBytes, contentType === NDJSON ? 1402 : 102);
  });
}

Deno.test("Exchange reports what the consumer of its observation throws", async () => {
  const course = new Course(undefined, () => {
    throw new Error("consumer");
  });
  course.exchange.end("cancelled");
  assertEquals(await course.outcome(), "client_closed");
  assertEquals(course.errors.map(String), ["Error: consumer"]);
});

Deno.test("Exchange forwards all bytes when an observer throws, which is logged and counted once", async () => {
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
