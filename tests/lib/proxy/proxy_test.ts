/** What becomes of a request when Ollama refuses, breaks off, is away, or answers as it should. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Handler } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import type { Outcome, UpstreamError } from "../../../lib/observation.ts";
import { UPSTREAM_ERROR_TEXT } from "../../../lib/proxy/upstream_errors.ts";
import { type FakeOllamaOptions, startFakeOllama } from "../../fake_ollama/mod.ts";
import {
  answering,
  ANY_PORT,
  CHAT,
  delay,
  Gate,
  GENERATE,
  startExporter,
  TestExporter,
} from "../../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../../support/raw_client.ts";

const MEBIBYTE = 1024 * 1024;
/** More than the kernel's buffers between client, exporter and upstream take; far less than what is offered. */
const PLATEAU_BYTES = 64 * MEBIBYTE;
const OFFERED_BYTES = 256 * MEBIBYTE;

/** A port of this machine that nothing listens on. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

Deno.test("createProxy() returns 502 in the shape of the API while Ollama is down", async () => {
  await using exporter = startExporter({ url: `http://127.0.0.1:${freePort()}` });
  const message = "ollama-exporter: Connection to Ollama failed";
  const openai = { error: { message, type: "api_error", param: null, code: null } };
  const rows: [string, unknown][] = [
    ["POST /api/chat", { error: message }],
    ["POST /api/generate", { error: message }],
    ["GET /api/version", { error: message }],
    ["GET /", { error: message }],
    ["POST /v1/chat/completions", openai],
    ["POST /v1/responses", openai],
    ["GET /v1/models", openai],
    ["POST /v1/messages", { type: "error", error: { type: "api_error", message } }],
  ];
  for (const [line, expected] of rows) {
    const body = line.startsWith("POST") ? JSON.stringify({ ...CHAT, stream: true }) : null;
    const response = await ask(exporter.port, line, [], body);
    assertEquals([response.status, JSON.parse(response.body)], [502, expected], line);
    assertEquals(valuesOf(response, "content-type"), ["application/json"], line);
  }
  await exporter.observation(rows.length);
  for (const { status, outcome, upstreamError } of exporter.observations) {
    assertEquals([status, outcome, upstreamError], [502, "upstream_unreachable", "connect"]);
  }
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_exporter_upstream_errors_total", { reason: "connect" }), rows.length);
  assertEquals(metrics.value("ollama_request_outcomes_total", { outcome: "upstream_unreachable" }), 5);
  assertEquals(metrics.value("ollama_http_requests_total", { code: "502" }), rows.length);
  assertEquals(metrics.value("ollama_response_seconds_count"), undefined);
});

/** Answers that are none, and what is said of each. */
const NO_ANSWERS: [string, FakeOllamaOptions, UpstreamError][] = [
  ["closes without a byte", { fault: { kind: "no_answer" } }, "reset"],
  ["closes inside the head", { fault: { kind: "half_headers" } }, "reset"],
  ["speaks another protocol", { script: answering("SSH-2.0-OpenSSH_9.9\r\n\r\n", "close") }, "protocol"],
  [
    "has a space in a header's name",
    { script: answering("HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", "close") },
    "protocol",
  ],
  ["has status 600", { script: answering("HTTP/1.1 600 What\r\nContent-Length: 2\r\n\r\nno", "close") }, "protocol"],
  ["has status 999", { script: answering("HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\nno", "close") }, "protocol"],
  ["switches protocols unasked", { script: answering("HTTP/1.1 101 Go\r\nUpgrade: h2c\r\n\r\n", "close") }, "protocol"],
  [
    "has more than 100 headers",
    { script: answering(`HTTP/1.1 200 OK\r\n${"x: 1\r\n".repeat(101)}Content-Length: 0\r\n\r\n`, "close") },
    "protocol",
  ],
];

for (const [name, behaviour, reason] of NO_ANSWERS) {
  Deno.test(`createProxy() returns 502 when the upstream ${name}`, async () => {
    await using fake = await startFakeOllama(behaviour);
    await using exporter = startExporter(fake);
    const response = await ask(exporter.port, "POST /api/chat", [], JSON.stringify(CHAT));
    assertEquals([response.status, response.end], [502, "complete"]);
    assertEquals(JSON.parse(response.body).error, `ollama-exporter: ${UPSTREAM_ERROR_TEXT[reason]}`);
    const { outcome, upstreamError, responseBytes } = await exporter.observation();
    assertEquals([outcome, upstreamError, responseBytes], ["upstream_unreachable", reason, 0]);
    // Nothing is tried twice: a prompt that is evaluated again costs minutes.
    assertEquals(fake.requestCount, 1);
  });
}

const HALF_LENGTH = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf";
const HALF_CHUNK = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n40\r\nnot all";
const FINAL = '{"model":"m","message":{"content":""},"done":true,"eval_count":1}\n';
const NO_END = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n" +
  `${FINAL.length.toString(16)}\r\n${FINAL}\r\n`;

/** Answers that break off. */
const BREAKS: [string, string, FakeOllamaOptions][] = [
  ["a chat between two chunks", "POST /api/chat", { fault: { kind: "reset" } }],
  ["a chat inside a chunk", "POST /api/chat", { fault: { kind: "half_chunk" } }],
  ["a chat after its final record", "POST /api/chat", { script: answering(NO_END, "close") }],
  ["an OpenAI stream", "POST /v1/chat/completions", { fault: { kind: "half_chunk" } }],
  ["a pull", "POST /api/pull", { fault: { kind: "reset" } }],
  ["a body with a length", "POST /api/embed", { models: [], fault: { kind: "reset" } }],
  ["a body with a length that is not read", "GET /other", { script: answering(HALF_LENGTH, "close") }],
  ["a measured body with a length that is not read", "POST /api/chat", { script: answering(HALF_LENGTH, "close") }],
  ["a body in chunks that is not read", "GET /other", { script: answering(HALF_CHUNK, "close") }],
];

for (const [name, line, behaviour] of BREAKS) {
  Deno.test(`createProxy() breaks off the client's response when the upstream breaks off ${name}`, async () => {
    await using fake = await startFakeOllama({ acceptAnyModel: true, ...behaviour });
    await using exporter = startExporter(fake);
    const body = line.startsWith("POST") ? JSON.stringify({ ...CHAT, stream: true, input: "x" }) : null;
    const direct = await ask(fake.port, line, [], body);
    assertEquals(direct.end, "broken");
    const response = await ask(exporter.port, line, [], body);
    // No last chunk, or too few bytes: a polite end would tell the client that it has everything.
    assertEquals([response.end, response.status], ["broken", 200]);
    assertEquals(response.body, direct.body);
    const { outcome, upstreamError, responseBytes } = await exporter.observation();
    // What follows the final record is only the end of the stream: the answer was complete.
    const expected: Outcome = name.includes("after its final record") ? "ok" : "upstream_broken";
    assertEquals([outcome, upstreamError, responseBytes], [expected, "reset", direct.body.length]);
  });
}

Deno.test("createProxy() forwards an error response to a streamed request", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  let requests = 0;
  for (const status of [400, 401, 403, 404, 500, 503]) {
    for (const path of ["/api/chat", "/api/generate", "/v1/chat/completions", "/v1/messages"]) {
      fake.behaviour.status = status;
      const body = JSON.stringify({ ...CHAT, stream: true });
      const direct = await ask(fake.port, `POST ${path}`, [], body);
      const response = await ask(exporter.port, `POST ${path}`, [], body);
      assertEquals(response.status, status);
      assertEquals([response.body, response.end], [direct.body, "complete"]);
      for (const name of ["content-type", "content-length"]) {
        assertEquals(valuesOf(response, name), valuesOf(direct, name), name);
      }
      const { outcome } = await exporter.observation(++requests);
      assertEquals(outcome, status < 500 ? "client_error" : "server_error");
    }
  }
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_requests_total"), 24);
  assertEquals(metrics.value("ollama_request_outcomes_total", { outcome: "client_error" }), 16);
  assertEquals(metrics.value("ollama_http_requests_total", { code: "404" }), 4);
});

Deno.test("createProxy() lets Ollama reject a body that is not JSON", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (const body of ["", "not json", '{"model":"llama3.2"', "[1,2]", "\xff\xfe", '{"model":{}}', "null"]) {
    const direct = await ask(fake.port, "POST /api/chat", [], body);
    const response = await ask(exporter.port, "POST /api/chat", [], body);
    assertEquals([response.status, response.body], [direct.status, direct.body]);
    assert(response.status >= 400 && response.status < 500, `status ${response.status}`);
    assertEquals(fake.lastRequest().text, new TextDecoder().decode(new TextEncoder().encode(body)));
  }
});

Deno.test("createProxy() adds no model label for 60 requests that name 60 unknown models", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const before = (await exporter.scrape()).labelValues("model");
  const paths = ["/api/chat", "/api/generate", "/v1/chat/completions"];
  for (let i = 0; i < 60; i++) {
    const response = await exporter.post(paths[i % 3] ?? "", { ...CHAT, ...GENERATE, model: `nope-${i}` });
    assertEquals(response.status, 404);
    assertStringIncludes(await response.text(), `nope-${i}`);
  }
  await exporter.observation(60);
  const metrics = await exporter.scrape();
  assertEquals(metrics.labelValues("model"), [...before, "unknown"].sort());
  assertEquals(metrics.value("ollama_requests_total", { model: "unknown" }), 60);
  assertEquals(metrics.value("ollama_request_outcomes_total", { model: "unknown", outcome: "client_error" }), 60);
  assert(!metrics.text.includes("nope-"));
});

Deno.test("createProxy() does not repeat a POST whose connection dies, nor reuse a connection for POST", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (let i = 0; i < 3; i++) await (await exporter.post("/api/chat", CHAT)).text();
  const connections = new Set(fake.requests.map(({ connectionId }) => connectionId));
  assertEquals([connections.size, fake.requestCount], [3, 3]);
  fake.behaviour.fault = { kind: "no_answer" };
  for (const [method, path] of [["POST", "/api/chat"], ["POST", "/api/show"], ["DELETE", "/api/delete"]]) {
    const before = fake.requestCount;
    fake.behaviour.script = async (_, connection) => {
      await connection.readBody();
      connection.close();
    };
    const response = await ask(exporter.port, `${method} ${path}`, [], JSON.stringify(CHAT));
    assertEquals([response.status, fake.requestCount - before], [502, 1], `${method} ${path}`);
  }
});

Deno.test("createProxy() reuses connections for GET, and repeats a GET whose reused connection has died", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  assertEquals((await ask(exporter.port, "GET /api/tags")).status, 200);
  await exporter.observation();
  fake.behaviour.script = (request, connection) => {
    if (request.connectionId === 1) connection.close();
    return Promise.resolve();
  };
  assertEquals((await ask(exporter.port, "GET /api/tags")).status, 200);
  assertEquals(fake.requests.map(({ connectionId }) => connectionId), [1, 1, 2]);
});

/** Waits until a number no longer grows. */
async function settled(read: () => number): Promise<number> {
  let last = -1;
  let since = performance.now();
  while (performance.now() - since < 500) {
    await delay(20);
    if (read() !== last) since = performance.now();
    last = read();
  }
  return last;
}

Deno.test("createProxy() reads no faster from Ollama than the client reads from it", async () => {
  let written = 0;
  await using fake = await startFakeOllama({
    script: async (_, connection) => {
      await connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      const line = `{"message":{"content":"${"x".repeat(64 * 1024)}"},"done":false}\n`;
      const chunk = `${line.length.toString(16)}\r\n${line}\r\n`;
      for (; written < OFFERED_BYTES; written += chunk.length) await connection.write(chunk);
    },
  });
  await using exporter = startExporter(fake);
  const client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  await client.sees('"done":false');
  const plateau = await settled(() => written);
  assert(plateau < PLATEAU_BYTES, `${plateau} bytes were taken from Ollama for a client that does not read`);
  client.close();
  await fake.waitForAbort(fake.lastRequest());
  assertEquals((await exporter.observation()).outcome, "client_closed");
});

for (const framing of ["Content-Length: 268435456", "Transfer-Encoding: chunked"]) {
  Deno.test(`createProxy() reads an upload no faster than Ollama does (${framing})`, async () => {
    await using fake = await startFakeOllama();
    using reading = new Gate();
    fake.behaviour.script = async (_, connection) => {
      await reading.opened;
      await connection.readBody();
    };
    await using exporter = startExporter(fake);
    const client = await RawClient.connect(exporter.port);
    await client.send(`POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: localhost\r\n${framing}\r\n\r\n`);
    const block = "x".repeat(64 * 1024);
    const piece = framing.startsWith("T") ? `${block.length.toString(16)}\r\n${block}\r\n` : block;
    let sent = 0;
    const upload = (async () => {
      for (; sent < OFFERED_BYTES; sent += piece.length) await client.send(piece);
    })().catch(() => {});
    const plateau = await settled(() => sent);
    assert(plateau < PLATEAU_BYTES, `${plateau} bytes were taken from the client for an Ollama that does not read`);
    client.close();
    await upload;
    // That a client has left is seen when what it has sent is read.
    reading.open();
    await fake.waitForAbort(await fake.waitForRequest());
    assertEquals((await exporter.observation()).outcome, "client_closed");
  });
}

Deno.test("createProxy() tells an exception of its own from a client's disconnect", async () => {
  await using fake = await startFakeOllama();
  const handler = Promise.withResolvers<Handler>();
  const options = { openaiStreamUsage: true, failsInside: true };
  await using exporter = new TestExporter(fake.url, options, (made) => (handler.resolve(made), listen(made, ANY_PORT)));
  const url = `${exporter.url}/v1/chat/completions`;
  const request = new Request(url, { method: "POST", headers: { "transfer-encoding": "chunked" }, body: "{}" });
  // No listener gives a body that somebody else reads.
  request.body?.getReader();
  const info = { remoteAddr: { transport: "tcp" as const, ...ANY_PORT }, completed: Promise.resolve() };
  const response = await (await handler.promise)(request, info);
  assertEquals([response.status, (await response.json()).error.type], [502, "api_error"]);
  const { outcome, status, upstreamError } = await exporter.observation();
  assertEquals([outcome, status, upstreamError], ["server_error", 502, undefined]);
  assertEquals((await exporter.scrape()).value("ollama_exporter_internal_errors_total"), 1);
  const [line = ""] = exporter.logLines.filter((line) => line.includes("level=ERROR"));
  assert(/msg="Internal error" .*stack=".*request_body.ts/.test(line), line);
});

Deno.test("createProxy() counts a response without a body as sent only if the client is there until its end", async () => {
  await using fake = await startFakeOllama();
  const handler = Promise.withResolvers<Handler>();
  await using exporter = new TestExporter(fake.url, {}, (made) => (handler.resolve(made), listen(made, ANY_PORT)));
  const handle = await handler.promise;
  for (const [index, [leaves, rejects]] of [[false, false], [true, false], [false, true]].entries()) {
    const left = new AbortController();
    const completed = Promise.withResolvers<void>();
    const info = { remoteAddr: { transport: "tcp" as const, ...ANY_PORT }, completed: completed.promise };
    const response = await handle(new Request(`${exporter.url}/`, { method: "HEAD", signal: left.signal }), info);
    if (leaves) left.abort();
    if (rejects) completed.reject(new Error("The connection was reset"));
    else completed.resolve();
    const { outcome } = await exporter.observation(index + 1);
    assertEquals([response.status, outcome], [200, leaves || rejects ? "client_closed" : "ok"]);
  }
});
