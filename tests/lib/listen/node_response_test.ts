import { assert, assertEquals } from "@std/assert";
import type { Handler } from "../../../lib/http.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { ANY_PORT, Gate } from "../../support/helpers.ts";
import { ask, RawClient } from "../../support/raw_client.ts";
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
