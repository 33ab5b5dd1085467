/** What `Deno.serve` does for us, and where it falls short: a Deno that does better fails the test that says so. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Handler, Listener } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { CHAT, delay, Gate, startExporter, until } from "../../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../../support/raw_client.ts";

const LOOPBACK = { hostname: "127.0.0.1", port: 0 };

/** A listener that is stopped at the end of its block. */
class TestListener implements AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;
  #isDown = false;

  constructor(handler: Handler) {
    this.listener = listen(handler, LOOPBACK);
    this.port = this.listener.address.port;
  }

  shutdown(): Promise<void> {
    this.#isDown = true;
    return this.listener.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDown) return;
    this.listener.abort();
    await this.listener.shutdown();
  }
}

/** A body that sends a beginning, and its end when it may. */
function stream(beginning: string, gate: Gate, end: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  const texts = [Promise.resolve(beginning), gate.opened.then(() => end)];
  return ReadableStream.from(texts).pipeThrough(new TextEncoderStream());
}

Deno.test("listen() says where it listens, and that an address is in use", async () => {
  await using server = new TestListener(() => new Response("here"));
  assert(server.port > 0);
  assertEquals(server.listener.address.hostname, "127.0.0.1");
  assertEquals((await ask(server.port, "GET /")).body, "here");
  assertThrows(() => listen(() => new Response(), { ...LOOPBACK, port: server.port }), Deno.errors.AddrInUse);
});

Deno.test("listen() gives the path as it came, without resolving it", async () => {
  const urls: string[] = [];
  await using server = new TestListener((request) => {
    urls.push(request.url);
    return new Response();
  });
  const targets = ["//x", "/a/../b", "/%2e%2e/%2F", "/?q='\"<>", "/\\"];
  for (const target of targets) await ask(server.port, `GET ${target}`, ["Host: h:1"]);
  assertEquals(urls, targets.map((target) => `http://h:1${target}`));
});

Deno.test("listen() compresses nothing", async () => {
  const body = '{"text":"' + "x".repeat(5000) + '"}';
  await using server = new TestListener(() => new Response(body, { headers: { "content-type": "application/json" } }));
  const response = await ask(server.port, "GET /", ["Accept-Encoding: gzip, br"]);
  assertEquals([response.body, valuesOf(response, "content-encoding")], [body, []]);
});

Deno.test("listen() keeps connections open, and takes pipelined requests in their order", async () => {
  await using server = new TestListener((request) => new Response(new URL(request.url).pathname));
  using client = await RawClient.connect(server.port);
  for (const path of ["/1", "/2", "/3"]) await client.request(`GET ${path}`);
  for (const path of ["/1", "/2", "/3"]) assertEquals((await client.response()).body, path);
});

Deno.test("listen() streams to a client of HTTP/1.0, and closes behind the answer", async () => {
  using gate = new Gate();
  await using server = new TestListener(() => new Response(stream("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.send("GET / HTTP/1.0\r\n\r\n");
  await client.sees("begin");
  gate.open();
  assert((await client.rest()).endsWith("\r\n\r\nbeginend"));
});

Deno.test("Listener.shutdown() accepts nothing more, lets open requests end, and resolves then", async () => {
  using gate = new Gate();
  await using server = new TestListener(() => new Response(stream("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  using idle = await RawClient.connect(server.port);
  await idle.request("HEAD /");
  await idle.response("HEAD");
  await client.request("GET /");
  await client.sees("begin");
  let isDown = false;
  const down = server.shutdown().then(() => isDown = true);
  assertEquals(await idle.rest(), "", "a connection without a request is closed");
  await assertRejects(async () => {
    using late = await RawClient.connect(server.port);
    await late.request("GET /");
    await late.response();
  });
  await delay(50);
  assert(!isDown, "it resolved before the open request had ended");
  gate.open();
  const { body, end } = await client.response();
  assertEquals([body, end], ["beginend", "complete"]);
  await down;
});

Deno.test("Listener.abort() breaks off what is open", async () => {
  using gate = new Gate();
  let cancelled = false;
  const body = (): ReadableStream =>
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode("begin")),
      pull: () => gate.opened,
      cancel: () => void (cancelled = true),
    });
  await using server = new TestListener(() => new Response(body()));
  using client = await RawClient.connect(server.port);
  await client.request("GET /");
  await client.sees("begin");
  server.listener.abort();
  assertEquals((await client.response()).end, "broken");
  await until(() => cancelled, "the body is cancelled");
});

Deno.test("listen() breaks off the response whose body breaks, and goes on", async () => {
  let pulls = 0;
  const body = (): ReadableStream =>
    new ReadableStream({
      pull: (controller) => {
        if (pulls++ > 0) controller.error(new Error("gone"));
        else controller.enqueue(new TextEncoder().encode("half"));
      },
    });
  await using server = new TestListener((request) => new Response(request.url.endsWith("/break") ? body() : "fine"));
  const { end, chunks } = await ask(server.port, "GET /break");
  assertEquals([end, chunks], ["broken", ["half"]]);
  assertEquals((await ask(server.port, "GET /")).body, "fine");
});

Deno.test("listen() refuses what could smuggle a request", async () => {
  let handled = 0;
  await using server = new TestListener(() => {
    handled++;
    return new Response();
  });
  const heads = [
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 3\r\nContent-Length: 4\r\n",
    "Content-Length : 3\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Content-Length: +3\r\n",
  ];
  for (const head of heads) {
    using client = await RawClient.connect(server.port);
    await client.send(`POST / HTTP/1.1\r\nHost: h\r\n${head}\r\n0\r\n\r\n`);
    assertEquals((await client.response()).status, 400, head);
  }
  assertEquals(handled, 0);
});

/** What to do when Deno has mended the defect that the tests below show. */
const MENDED =
  "This Deno tells that a client has left before the response headers. Take out this test and its remarks, " +
  "and add these sizes to disconnect_test.ts where it says `after a small request`. See deno-notes 1.2.";

/** Requests of which Deno 2.9.6 does not tell that their client left before the response headers. */
const UNNOTICED: [string, (client: RawClient) => Promise<void>][] = [
  ["over 1 KB", (client) => client.request("POST /api/chat", [], request(1500))],
  ["over many packets", (client) => client.request("POST /api/chat", [], request(100_000))],
  ["whose body comes after its head", async (client) => {
    const body = request(0);
    await client.send(`POST /api/chat HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n`);
    await delay(50);
    await client.send(body);
  }],
];

function request(padding: number): string {
  return JSON.stringify({ ...CHAT, padding: "x".repeat(padding) });
}

for (const [name, send] of UNNOTICED) {
  Deno.test(`Deno.serve tells only with the answer that a client has left: a request ${name}`, async () => {
    await using fake = await startFakeOllama({ fault: { kind: "stall" } });
    using gate = new Gate();
    fake.behaviour.script = async ({ method }, connection) => {
      if (method !== "POST") return;
      await connection.readBody();
      await gate.opened;
    };
    await using exporter = startExporter(fake);
    const client = await RawClient.connect(exporter.port);
    await send(client);
    const upstream = await fake.waitForRequest(({ method }) => method === "POST");
    await until(() => upstream.bodyComplete, "Ollama has the request");
    client.close();
    const noticed = await fake.waitForAbort(upstream, 1000).then(() => true, () => false);
    assert(!noticed, MENDED);
    assertEquals(exporter.observations, []);
    // As soon as Ollama sends something it is left, and the request counted as what it was.
    gate.open();
    await fake.waitForAbort(upstream);
    assertEquals((await exporter.observation()).outcome, "client_closed");
  });
}
