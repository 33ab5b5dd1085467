/** Compression of responses. */

import { assert, assertEquals } from "@std/assert";
import { compressed } from "../../../lib/web/compression.ts";
import { turns } from "../../support/fixtures.ts";

function respond(encoding: string | undefined, body: BodyInit | null = "text"): Response {
  const headers = encoding === undefined ? [] : [["accept-encoding", encoding] as [string, string]];
  const init = { status: 202, headers: { "content-type": "text/html", "vary": "accept" } };
  return compressed({ headers: new Headers(headers) }, new Response(body, init));
}

for (const encoding of ["gzip", "br, gzip", "gzip;q=0.5, identity;q=0.1"]) {
  Deno.test(`compressed() compresses for a client that accepts ${encoding}`, async () => {
    const response = respond(encoding);
    assertEquals([response.status, response.headers.get("content-encoding")], [202, "gzip"]);
    assertEquals(response.headers.get("content-type"), "text/html");
    assertEquals(response.headers.get("vary"), "accept, accept-encoding");
    const body = response.body?.pipeThrough(new DecompressionStream("gzip"));
    assertEquals(await new Response(body).text(), "text");
  });
}

for (const encoding of [undefined, "*", "br", "identity, gzip;q=0.1", "gzip;q=0"]) {
  Deno.test(`compressed() leaves the body to a client that accepts ${encoding ?? "nothing in particular"}`, async () => {
    const response = respond(encoding);
    assertEquals([response.status, response.headers.get("content-encoding")], [202, null]);
    assertEquals(response.headers.get("vary"), "accept, accept-encoding");
    assertEquals(await response.text(), "text");
  });
}

Deno.test("compressed() lets the event loop run while it compresses a long text", async () => {
  const text = "ollama_requests_total 1\n".repeat(100_000);
  const parts = Math.ceil(text.length / (128 * 1024));
  let count = 0;
  let isDone = false;
  const countTurns = async (): Promise<void> => {
    for (; !isDone; count++) await turns(1);
  };
  const counting = countTurns();
  const body = respond("gzip", text).body?.pipeThrough(new DecompressionStream("gzip"));
  assertEquals(await new Response(body).text(), text);
  isDone = true;
  await counting;
  assert(count >= parts - 1, `${count} turns`);
});

Deno.test("compressed() keeps the length of a response that it does not compress", async () => {
  const respondPlain = (request: Request): Response => compressed(request, new Response("text"));
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, respondPlain);
  const init = { headers: { "accept-encoding": "identity" } };
  const response = await fetch(`http://127.0.0.1:${server.addr.port}`, init);
  assertEquals(response.headers.get("content-length"), "4");
  await response.body?.cancel();
});

Deno.test("compressed() leaves a response without a body as it is", () => {
  assertEquals(respond("gzip", null).headers.get("content-encoding"), null);
});
