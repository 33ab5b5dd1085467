/** Pipelined requests over the listener on `node:http`. */

import { assert, assertEquals } from "@std/assert";
import type { Handler, TlsConfig } from "../../../lib/http.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { PIPELINED_LIMIT_BYTES } from "../../../lib/listen/pipeline.ts";
import { FIRST } from "../../support/certificates.ts";
import { ANY_PORT, delay, Gate, until } from "../../support/helpers.ts";
import { RawClient } from "../../support/raw_client.ts";
import { gatedBody, TestListener } from "../../support/test_listener.ts";

async function start(handler: Handler, tls?: TlsConfig): Promise<TestListener> {
  return new TestListener(await listenNode(handler, ANY_PORT, tls));
}

function pathOf(url: string): string {
  return new URL(url).pathname;
}

/** A request as text. */
function post(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

const CHUNKED = "POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

/** Requests with every kind of body, and what the handler receives. */
const REQUESTS: [string, string][] = [
  ["GET /get HTTP/1.1\r\nHost: h\r\n\r\n", "/get:"],
  [post("/length", "one\r\n\r\ntwo"), "/length:one\r\n\r\ntwo"],
  [`${CHUNKED}3\r\none\r\n4\r\n\r\n\r\n\r\n3;x=y\r\ntwo\r\n0\r\n\r\n`, "/chunked:one\r\n\r\ntwo"],
  [post("/empty", ""), "/empty:"],
  [`${CHUNKED}0\r\nTrailer: value\r\n\r\n`, "/chunked:"],
  ["\r\nGET /after-empty-line HTTP/1.1\r\nHost: h\r\n\r\n", "/after-empty-line:"],
  [`GET /body HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc`, "/body:"],
];

Deno.test("Pipeline handles one request at a time, however the bytes are split", async () => {
  let open = 0;
  await using server = await start(async (request) => {
    assertEquals(++open, 1);
    const text = new TextDecoder().decode(await request.bytes());
    await delay(0);
    open--;
    return new Response(`${pathOf(request.url)}:${text}`);
  });
  const bytes = new TextEncoder().encode(REQUESTS.map(([text]) => text).join(""));
  for (const size of [1, 2, 3, 7, 100, bytes.length]) {
    using client = await RawClient.connect(server.port);
    for (let start = 0; start < bytes.length; start += size) {
      await client.send(bytes.slice(start, start + size));
      if (size < 10) await delay(0);
    }
    for (const [, expected] of REQUESTS) assertEquals((await client.response()).body, expected, `${size}`);
  }
});

Deno.test("Pipeline starts no request behind an open one, and aborts that when the client disconnects", async () => {
  const started: string[] = [];
  const aborted: string[] = [];
  await using server = await start(({ url, signal }) => {
    started.push(pathOf(url));
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        aborted.push(pathOf(url));
        reject(signal.reason);
      });
    });
  });
  const client = await RawClient.connect(server.port);
  const requests = Array.from({ length: 1000 }, (_, index) => post(`/${index}`, "x".repeat(250)));
  await client.send(requests.join(""));
  await until(() => started.length > 0, "the first request is handled");
  client.close();
  await until(() => aborted.length > 0, "the disconnect is detected");
  await delay(50);
  assertEquals([started, aborted], [["/0"], ["/0"]]);
});

Deno.test("Pipeline leaves unread what exceeds its limit, and handles it later", async () => {
  using gate = new Gate();
  const lengths: number[] = [];
  await using server = await start(async (request) => {
    if (request.url.endsWith("/first")) await gate.opened;
    lengths.push((await request.bytes()).length);
    return new Response();
  });
  using client = await RawClient.connect(server.port);
  const piece = new Uint8Array(1024 * 1024);
  const pieces = 4 * PIPELINED_LIMIT_BYTES / piece.length;
  let sent = 0;
  const sending = (async () => {
    await client.send(post("/first", "") + post("/large", "").replace(": 0", `: ${pieces * piece.length}`));
    for (; sent < pieces; sent++) await client.send(piece);
    await client.send(post("/last", "abc"));
  })();
  let before = -1;
  // Paused means that nothing is sent for a while, however long it takes to fill the buffers.
  while (sent !== before) {
    before = sent;
    await delay(300);
  }
  assert(sent > 0 && sent < pieces / 2, `${sent} of ${pieces} MiB were read`);
  gate.open();
  await sending;
  for (let count = 0; count < 3; count++) assertEquals((await client.response()).status, 200);
  assertEquals(lengths, [0, pieces * piece.length, 3]);
});

Deno.test("Pipeline reads on after a response that ends before its request", async () => {
  await using server = await start(({ url }) =>
    new Response(pathOf(url), { status: url.endsWith("/early") ? 413 : 200 })
  );
  using client = await RawClient.connect(server.port);
  for (const framing of ["Content-Length: 9", "Transfer-Encoding: chunked"]) {
    await client.send(`POST /early HTTP/1.1\r\nHost: h\r\n${framing}\r\n\r\n`);
    const { status, body } = await client.response();
    assertEquals([status, body], [413, "/early"]);
    await client.send(framing.endsWith("9") ? "4\r\n\r\n\r\n\r\n" : "4\r\n\r\n\r\n\r\n0\r\n\r\n");
    await client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    assertEquals((await client.response()).body, "/next");
  }
});

Deno.test("Pipeline drops requests behind the last one of a connection", async () => {
  const paths: string[] = [];
  await using server = await start(({ url }) => {
    paths.push(pathOf(url));
    return new Response("last");
  });
  using client = await RawClient.connect(server.port);
  await client.send(
    "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /dropped HTTP/1.1\r\nHost: h\r\n\r\n",
  );
  assertEquals((await client.response()).body, "last");
  assertEquals(await client.rest(), "");
  assertEquals(paths, ["/last"]);
});

Deno.test("Pipeline completes a response before it rejects what follows", async () => {
  using gate = new Gate();
  await using server = await start(() => new Response(gatedBody("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nno request\r\n\r\n");
  await client.sees("begin");
  await delay(50);
  gate.open();
  assertEquals((await client.response()).body, "beginend");
  assertEquals((await client.response()).status, 400);
  assertEquals(await client.rest(), "");
});

Deno.test("Pipeline handles requests over TLS one at a time", async () => {
  let open = 0;
  await using server = await start(async ({ url }) => {
    assertEquals(++open, 1);
    await delay(1);
    open--;
    return new Response(`<${pathOf(url)}>`);
  }, { ...FIRST, minVersion: "TLS12" });
  using client = await Deno.connectTls({ hostname: "localhost", port: server.port, caCerts: [FIRST.cert] });
  const last = "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  await client.write(new TextEncoder().encode(post("/a", "x") + post("/b", "y") + last));
  const text = await new Response(client.readable).text();
  assertEquals(text.match(/<.*>/g), ["</a>", "</b>", "</c>"]);
});
