import { assertEquals } from "@std/assert";
import type { Handler } from "../../../lib/http.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { ANY_PORT } from "../../support/helpers.ts";
import { ask, valuesOf } from "../../support/raw_client.ts";
import { TestListener } from "../../support/test_listener.ts";

async function start(handler: Handler): Promise<TestListener> {
  return new TestListener(await listenNode(handler, ANY_PORT));
}

Deno.test("clientRequest() joins the Host header and the unresolved request target", async () => {
  const urls: string[] = [];
  await using server = await start((request) => {
    urls.push(request.url);
    return new Response();
  });
  const targets = ["//x", "/a/../b", "/%2e%2e/%2F", "/?q='<>", "/\\", "/a;b:c@d"];
  for (const target of targets) await ask(server.port, `GET ${target}`, ["Host: h:1"]);
  await ask(server.port, "OPTIONS *", ["Host: h:1"]);
  await ask(server.port, "GET http://evil/x", ["Host: h:1"]);
  assertEquals(urls, [...targets.map((target) => `http://h:1${target}`), "http://h:1/*", "http://evil/x"]);
});

Deno.test("clientRequest() joins repeated headers, and headers keep their bytes in both directions", async () => {
  const seen: (string | null)[] = [];
  await using server = await start(({ headers }) => {
    seen.push(headers.get("cookie"), headers.get("x-a"), headers.get("x-latin"));
    const answer = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-latin", "caf\xe9"]]);
    return new Response("body", { headers: answer });
  });
  const response = await ask(server.port, "GET /", ["Cookie: a=1", "X-A: 1", "cookie: b=2", "x-a: 2", "X-Latin: \xe9"]);
  // `ask` sends UTF-8, received as one character per byte.
  assertEquals(seen, ["a=1; b=2", "1, 2", "\xc3\xa9"]);
  assertEquals(valuesOf(response, "set-cookie"), ["a=1", "b=2"]);
  assertEquals(valuesOf(response, "x-latin"), ["caf\xe9"]);
  assertEquals(valuesOf(response, "connection"), []);
});
