/** Clients that disconnect: Ollama must stop generating, and each request is counted once, with its outcome. */

import { assert, assertEquals, fail } from "@std/assert";
import { type FakeOllama, type RecordedRequest, type Script, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, startExporter, type TestExporter, until } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";

const REPETITIONS = 8;

/** Sizes of requests: in one packet, longer than the first read of `Deno.serve`, in many packets. */
const PADDINGS = [0, 1500, 100_000, 2_000_000];

/** Returns a request somewhat longer than this many characters. */
function padded(characters: number): string {
  return JSON.stringify({ ...CHAT, stream: true, padding: "x".repeat(characters) });
}

const NATIVE = ["application/x-ndjson", '{"model":"llama3.2","message":{"content":" there"},"done":false}\n'] as const;
const OPENAI = ["text/event-stream", 'data: {"choices":[{"delta":{"content":" there"}}]}\n\n'] as const;

/** Responds with an endless stream. */
const ENDLESS: Script = async ({ method, path }, connection) => {
  if (method !== "POST") return;
  await connection.readBody();
  const [type, frame] = path.startsWith("/v1/") ? OPENAI : NATIVE;
  await connection.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  while (true) {
    await connection.write(`${frame.length.toString(16)}\r\n${frame}\r\n`);
    await connection.sleep(1);
  }
};

/** Returns the requests that are not the exporter's own. */
function posts(fake: FakeOllama): RecordedRequest[] {
  return fake.requests.filter(({ method }) => method === "POST");
}

/** Closes the client's connection, and asserts that the upstream's is closed, which nothing else would do. */
async function leaves(client: RawClient, fake: FakeOllama): Promise<void> {
  const request = posts(fake).at(-1) ?? fail("There was no request");
  assertEquals(request.abortedAt, undefined);
  client.close();
  await fake.waitForAbort(request);
}

/** Asserts that all requests have the outcome `client_closed`, and that no gauge counts them any more. */
async function areClosed(exporter: TestExporter, requests: number): Promise<void> {
  await exporter.observation(requests);
  for (const { outcome, upstreamError } of exporter.observations) {
    assertEquals([outcome, upstreamError], ["client_closed", undefined]);
  }
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_request_outcomes_total", { outcome: "client_closed" }), requests);
  assertEquals(metrics.value("ollama_requests_in_flight"), 0);
  assertEquals(metrics.value("ollama_requests_waiting"), 0);
  assertEquals(metrics.value("ollama_exporter_upstream_errors_total"), 0);
  assertEquals(metrics.value("ollama_response_seconds_count") ?? 0, 0);
}

for (const path of ["/api/chat", "/v1/chat/completions"]) {
  for (const upstream of ["is sending", "is silent"] as const) {
    Deno.test(`createProxy() aborts ${path} if the client disconnects within a stream while the upstream ${upstream}`, async () => {
      await using fake = await startFakeOllama(
        upstream === "is sending" ? { script: ENDLESS } : { fault: { kind: "stall" } },
      );
      await using exporter = startExporter(fake, { openaiStreamUsage: true });
      for (const padding of PADDINGS) {
        for (let i = 0; i < REPETITIONS; i++) {
          const client = await RawClient.connect(exporter.port);
          await client.request(`POST ${path}`, [], padded(padding));
          await client.sees(" there");
          await leaves(client, fake);
        }
      }
      await areClosed(exporter, PADDINGS.length * REPETITIONS);
    });
  }
}

Deno.test("createProxy() aborts all upstream requests if many clients disconnect at once", async () => {
  await using fake = await startFakeOllama({ script: ENDLESS });
  await using exporter = startExporter(fake);
  const clients = await Promise.all(Array.from({ length: 50 }, async () => {
    const client = await RawClient.connect(exporter.port);
    await client.request("POST /api/chat", [], padded(3000));
    await client.sees(" there");
    return client;
  }));
  assertEquals((await exporter.scrape()).value("ollama_requests_in_flight"), 50);
  for (const client of clients) client.close();
  await Promise.all(posts(fake).map((request) => fake.waitForAbort(request)));
  await areClosed(exporter, 50);
});

Deno.test("createProxy() aborts the upstream request if the client disconnects before the first byte, after a small request", async () => {
  await using fake = await startFakeOllama({ hang: true });
  await using exporter = startExporter(fake);
  for (let i = 0; i < 20; i++) {
    const client = await RawClient.connect(exporter.port);
    await client.request("POST /api/chat", [], padded(0));
    await until(() => posts(fake)[i]?.bodyComplete === true, "Ollama has the request");
    assertEquals((await exporter.scrape()).value("ollama_requests_waiting"), 1);
    await leaves(client, fake);
    assertEquals((await exporter.observation(i + 1)).status, 499);
  }
  await areClosed(exporter, 20);
});

Deno.test("createProxy() aborts the upstream request if the client disconnects within a body with a length", async () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
  await using fake = await startFakeOllama({
    script: async (request, connection) => {
      if (request.method !== "POST") return;
      await connection.readBody();
      await connection.write(head);
      await connection.sleep(Infinity);
    },
  });
  await using exporter = startExporter(fake);
  const paths = ["/api/chat", "/api/show", "/v1/audio/transcriptions", "/unknown"];
  for (const path of paths) {
    const client = await RawClient.connect(exporter.port);
    await client.request(`POST ${path}`, [], padded(0));
    await client.sees("\r\n\r\n{");
    await leaves(client, fake);
  }
  await exporter.observation(paths.length);
  for (const { outcome, status, responseBytes } of exporter.observations) {
    assertEquals([outcome, status, responseBytes], ["client_closed", 200, 1]);
  }
});

const BLOB = `/api/blobs/sha256:${"0".repeat(64)}`;

/** Aborted uploads, and whether they have reached Ollama. */
const UPLOADS: [string, string, string, boolean][] = [
  [BLOB, "Content-Length: 1000000", "x".repeat(70_000), true],
  [BLOB, "Transfer-Encoding: chunked", "a\r\n0123456789\r\n", true],
  ["/api/chat", "Content-Length: 100000000", "x".repeat(70_000), true],
  ["/api/chat", "Transfer-Encoding: chunked", "a\r\n0123456789\r\n", true],
  // These are read completely before they are forwarded.
  ["/api/chat", "Content-Length: 100000", "x".repeat(70_000), false],
  ["/v1/chat/completions", "Transfer-Encoding: chunked", "a\r\n0123456789\r\n", false],
];

Deno.test("createProxy() aborts the upstream request if the client disconnects within an upload", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  let asked = 0;
  for (const [index, [path, framing, beginning, isAsked]] of UPLOADS.entries()) {
    const client = await RawClient.connect(exporter.port);
    await client.send(`POST ${path} HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n${beginning}`);
    if (isAsked) {
      asked++;
      await until(() => (posts(fake)[asked - 1]?.bodyLength ?? 0) > 0, `Ollama has the beginning of ${path}`);
      await leaves(client, fake);
    } else {
      await until(() => exporter.proxied === index + 1, `${path} has come`);
      client.close();
    }
    const { outcome, status, upstreamError } = await exporter.observation(index + 1);
    assertEquals([outcome, status, upstreamError], ["client_closed", 499, undefined], `${path} ${framing}`);
  }
  assertEquals(posts(fake).length, asked);
  assert(!exporter.logLines.some((line) => line.includes("Ollama is unreachable")), "Ollama was said to be away");
});

Deno.test("createProxy() reports a complete response as ok, even if the client disconnected before its end", async () => {
  const final = '{"model":"llama3.2","message":{"content":""},"done":true,"done_reason":"stop","eval_count":3}\n';
  await using fake = await startFakeOllama({
    script: async (request, connection) => {
      if (request.method !== "POST") return;
      await connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      await connection.write(`${final.length.toString(16)}\r\n${final}\r\n`);
      await connection.sleep(Infinity);
    },
  });
  await using exporter = startExporter(fake);
  const client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], padded(0));
  await client.sees('"done":true');
  await leaves(client, fake);
  const { outcome, report } = await exporter.observation();
  assertEquals([outcome, report.outputTokens], ["ok", 3]);
});
