/** Requests of `Deno.serve` as handlers expect them. */

import { assertEquals, assertRejects } from "@std/assert";
import type { ClientRequest, Handler } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { isBodyUnknown, watchUploads, withKnownBody } from "../../../lib/listen/deno_request.ts";
import { ANY_PORT } from "../../support/helpers.ts";
import { ask, RawClient } from "../../support/raw_client.ts";
import { TestListener } from "../../support/test_listener.ts";

Deno.test("isBodyUnknown() is true without the headers that tell of a body, where the method may have one", () => {
  const cases: [method: string, headers: Record<string, string>, isUnknown: boolean][] = [
    ["POST", {}, true],
    ["DELETE", {}, true],
    ["POST", { "content-length": "0" }, false],
    ["POST", { "transfer-encoding": "chunked" }, false],
    ["GET", {}, false],
    ["HEAD", {}, false],
  ];
  for (const [method, headers, isUnknown] of cases) {
    assertEquals(isBodyUnknown(new Request("http://h/", { method, headers })), isUnknown, method);
  }
});

/** A request with this body. */
function requestOf(body: ReadableStream | null): Request {
  return new Request("http://h/x?y", { method: "POST", headers: { a: "b" }, body });
}

Deno.test("withKnownBody() keeps a body, and makes an empty one null", async () => {
  const full = await withKnownBody(requestOf(ReadableStream.from(["a", "bc"]).pipeThrough(new TextEncoderStream())));
  assertEquals([full.method, full.url, full.headers.get("a")], ["POST", "http://h/x?y", "b"]);
  assertEquals(await full.bytes(), new TextEncoder().encode("abc"));
  for (const body of [ReadableStream.from([]), ReadableStream.from([new Uint8Array()]), null]) {
    const empty = await withKnownBody(requestOf(body));
    assertEquals([empty.body, (await empty.bytes()).length], [null, 0]);
  }
});

Deno.test("withKnownBody() returns a body that fails at once, and cancels one", async () => {
  const failing = new ReadableStream({ start: (controller) => controller.error(new Error("gone")) });
  const failed = await withKnownBody(requestOf(failing));
  await assertRejects(() => failed.bytes(), Error, "gone");
  let reason: unknown;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(1)),
    cancel: (given) => void (reason = given),
  });
  await (await withKnownBody(requestOf(endless))).body?.cancel("enough");
  assertEquals(reason, "enough");
});

Deno.test("listen() passes requests without a body as such", async () => {
  const bodies: ClientRequest["body"][] = [];
  await using server = new TestListener(listen((request) => {
    bodies.push(request.body);
    return new Response();
  }, ANY_PORT));
  await ask(server.port, "POST /");
  await ask(server.port, "DELETE /");
  assertEquals(bodies, [null, null]);
});

/** A listener that reports chunked uploads of more than 10 bytes and returns what it receives. */
function watched(report: () => void): TestListener {
  const echo: Handler = async (request) => new Response(await request.bytes());
  return new TestListener(listen(watchUploads(echo, report, 10), ANY_PORT));
}

Deno.test("watchUploads() reports the first chunked body over the limit, while it arrives", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let reports = 0;
  await using server = watched(() => {
    reports++;
    resolve();
  });
  const chunked = (body: string) => ask(server.port, "POST /", ["Transfer-Encoding: chunked"], body);
  assertEquals((await chunked("a\r\n0123456789\r\n0\r\n\r\n")).body, "0123456789");
  assertEquals((await ask(server.port, "POST /", [], "x".repeat(100))).body.length, 100);
  assertEquals((await ask(server.port, "GET /")).status, 200);
  assertEquals(reports, 0);
  using client = await RawClient.connect(server.port);
  await client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\nx\r\n");
  await promise;
  await client.send("0\r\n\r\n");
  assertEquals((await client.response()).body, "0123456789x");
  assertEquals((await chunked("b\r\n0123456789x\r\n0\r\n\r\n")).body, "0123456789x");
  assertEquals(reports, 1);
});

Deno.test("watchUploads() ignores HTTP/2", async () => {
  let reports = 0;
  await using server = watched(() => reports++);
  using client = Deno.createHttpClient({ http1: false, http2: true });
  const body = ReadableStream.from(["0123456789", "x"]).pipeThrough(new TextEncoderStream());
  const response = await fetch(`http://localhost:${server.port}/`, { client, method: "POST", body });
  assertEquals([await response.text(), reports], ["0123456789x", 0]);
});
