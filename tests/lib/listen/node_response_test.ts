import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { assert, assertEquals } from "@std/assert";
import { EMPTY, join } from "../../../lib/bytes/byte_queue.ts";
import { BodyStream, type Handler, releaseMemory } from "../../../lib/http.ts";
import { sendResponse } from "../../../lib/listen/node_response.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { FIRST } from "../../support/certificates.ts";
import { bytesOf, turns } from "../../support/fixtures.ts";
import { ANY_PORT, delay, Gate, PATIENCE_MS } from "../../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../../support/raw_client.ts";
import { gatedBody, TestListener } from "../../support/test_listener.ts";

async function start(handler: Handler): Promise<TestListener> {
  return new TestListener(await listenNode(handler, ANY_PORT));
}

Deno.test("sendResponse() streams to an HTTP/1.0 client and closes the connection", async () => {
  using gate = new Gate();
  await using server = await start(() => new Response(gatedBody("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.send("GET / HTTP/1.0\r\n\r\n");
  await client.sees("begin");
  gate.open();
  assert((await client.rest()).endsWith("\r\n\r\nbeginend"));
});

const X = "x".repeat(300);

/** Request line, response, and what is received: Content-Length, Transfer-Encoding, chunks, and a body without them. */
const FRAMINGS: [string, () => Response, string[], string[], string[], string?][] = [
  ["GET /stream", () => new Response(streamOf("", "one", "", X)), [], ["chunked"], ["one", X]],
  ["GET /length", () => new Response("four", { headers: { "content-length": "4" } }), ["4"], [], [], "four"],
  ["GET /empty", () => new Response(null), ["0"], [], []],
  ["GET /204", () => new Response(null, { status: 204, headers: { "content-length": "5" } }), [], [], []],
  ["GET /304", () => new Response(null, { status: 304, headers: { "content-length": "5" } }), ["5"], [], []],
  ["GET /both", () => new Response(streamOf("four"), { headers: BOTH }), [], ["chunked"], ["four"]],
  ["HEAD /stream", () => new Response(streamOf("one")), [], [], []],
  ["HEAD /length", () => new Response(null, { headers: { "content-length": "4" } }), ["4"], [], []],
  ["HEAD /empty", () => new Response(null), [], [], []],
];

const BOTH = { "content-length": "4", "transfer-encoding": "chunked" };

function streamOf(...texts: string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return ReadableStream.from(texts.map((text) => new TextEncoder().encode(text)));
}

Deno.test("sendResponse() frames a body by its length or in chunks, and invents no length", async () => {
  for (const [line, respond, lengths, encodings, chunks, body = chunks.join("")] of FRAMINGS) {
    await using server = await start(({ url }) => url.endsWith("/next") ? new Response("next") : respond());
    using client = await RawClient.connect(server.port);
    await client.request(line);
    const response = await client.response(line.split(" ", 1)[0]);
    assertEquals(valuesOf(response, "content-length"), lengths, line);
    assertEquals(valuesOf(response, "transfer-encoding"), encodings, line);
    assertEquals([response.chunks, response.body], [chunks, body], line);
    await client.request("GET /next");
    assertEquals((await client.response()).body, "next", line);
  }
});

Deno.test("sendResponse() is done with a chunk when it reads the next, however slow the client is", async () => {
  const [count, length] = [200, 40_000];
  const chunkOf = (index: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(97 + index % 26);
  for (const headers of [{}, { "content-length": `${count * length}` }]) {
    const pulled: Uint8Array<ArrayBuffer>[] = [];
    await using server = await start(() => {
      const pull = (controller: ReadableStreamDefaultController): void => {
        releaseMemory(pulled.at(-1) ?? EMPTY);
        if (pulled.length === count) return controller.close();
        pulled.push(chunkOf(pulled.length));
        controller.enqueue(pulled.at(-1));
      };
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { headers });
    });
    const signal = AbortSignal.timeout(20_000);
    const response = await fetch(`http://127.0.0.1:${server.port}/`, { signal });
    // The client does not read until the connection is full.
    for (let seen = -1; seen !== pulled.length;) {
      seen = pulled.length;
      await delay(50);
    }
    assert(pulled.length < count, "the connection holds all of the body");
    assertEquals(await response.bytes(), join(Array.from({ length: count }, (_, index) => chunkOf(index))));
  }
});

Deno.test("sendResponse() ends each response over TLS, also while its last chunk is being written", async () => {
  const atOnce = (...texts: string[]): BodyStream =>
    new BodyStream({
      pull: (sink) => texts.length === 0 ? sink.close() : sink.enqueue(bytesOf(texts.shift() ?? "")),
      cancel: () => Promise.resolve(),
    });
  const withEnd = (...texts: string[]): BodyStream =>
    new BodyStream({
      pull(sink): void {
        sink.enqueue(bytesOf(texts.shift() ?? ""));
        if (texts.length === 0) sink.close();
      },
      cancel: () => Promise.resolve(),
    });
  const bodies = [
    () => "four",
    ...[atOnce, withEnd].flatMap((make) => [() => make("four"), () => make("fo", "ur")]),
    () => streamOf("fo", "ur"),
  ];
  for (const headers of [{}, { "content-length": "4" }]) {
    const left = bodies.map((body) => new Response(body(), { headers }));
    const handler: Handler = () => left.shift() ?? new Response("none is left");
    await using server = new TestListener(await listenNode(handler, ANY_PORT, { ...FIRST, minVersion: "TLS12" }));
    using client = Deno.createHttpClient({ caCerts: [FIRST.cert] });
    // On one connection: each request waits for the end of the response before.
    for (let index = 0; index < bodies.length; index++) {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const response = await fetch(`https://127.0.0.1:${server.port}/`, { client, signal });
      assertEquals(await response.text(), "four", `${index} of ${JSON.stringify(headers)}`);
    }
  }
});

Deno.test("sendResponse() holds the headers for a chunk that is there at once, and for no other", async () => {
  const held: boolean[] = [];
  const server = createServer((_, outgoing) => {
    const body = async function* (): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      for (const count of [1, 3]) {
        await turns(count);
        held.push((outgoing.socket?.writableLength ?? 0) > 0);
      }
      yield bytesOf("late");
    };
    sendResponse(new Response(ReadableStream.from(body())), outgoing, new AbortController().signal);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  assertEquals((await ask((server.address() as AddressInfo).port, "GET /")).body, "late");
  assertEquals(held, [true, false]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

Deno.test("sendResponse() takes a BodyStream from its source, and cancels that when the client disconnects", async () => {
  const cancelled = Promise.withResolvers<void>();
  let pulls = 0;
  const body = new BodyStream({
    pull(sink): void {
      pulls++;
      if (pulls === 3) return;
      const chunk = bytesOf(`chunk ${pulls}`);
      sink.enqueue(chunk);
      // Its memory is used again.
      chunk.fill(0);
    },
    cancel: () => Promise.resolve(cancelled.resolve()),
  });
  await using server = await start(() => new Response(body));
  using client = await RawClient.connect(server.port);
  await client.request("GET /");
  await client.sees("chunk 1");
  await client.sees("chunk 2");
  assertEquals([pulls, body.locked], [3, false]);
  client.close();
  await cancelled.promise;
});

Deno.test("abortResponse() closes the connection if the handler or the response body fails", async () => {
  await using server = await start((request) => {
    if (request.url.endsWith("/throws")) throw new Error("on purpose");
    if (request.url.endsWith("/late")) return Promise.reject(new Error("on purpose"));
    if (request.url.endsWith("/ok")) return new Response("ok");
    const body = new ReadableStream({
      start(controller): void {
        controller.enqueue(new TextEncoder().encode("beginning"));
      },
      pull: () => Promise.reject(new Error("on purpose")),
    });
    return new Response(body);
  });
  for (const path of ["/throws", "/late"]) {
    using client = await RawClient.connect(server.port);
    await client.request(`GET ${path}`);
    assertEquals(await client.rest(), "");
  }
  const { body, end } = await ask(server.port, "GET /breaks");
  assertEquals([body, end], ["beginning", "broken"]);
  assertEquals((await ask(server.port, "GET /ok")).body, "ok");
});
