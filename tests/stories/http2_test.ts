/** HTTP/2, which `Deno.serve` has and `node:http` refuses, with the client of Deno's `fetch`. */

import { assertEquals, assertRejects } from "@std/assert";
import type { Handler, Listener, TlsConfig } from "../../lib/http.ts";
import { listen } from "../../lib/listen/deno_listener.ts";
import { listenNode } from "../../lib/listen/node_listener.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { FIRST } from "../support/certificates.ts";
import { ANY_PORT, CHAT, TestExporter } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";
import { TestListener } from "../support/test_listener.ts";

const BLOB = `/api/blobs/sha256:${"0".repeat(64)}`;
const TLS: TlsConfig = { ...FIRST, minVersion: "TLS12" };

/** A body whose length `fetch` does not know, so that it sends none. */
function streamed(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return ReadableStream.from(text.match(/.{1,10000}/gs) ?? []).pipeThrough(new TextEncoderStream());
}

/** Requests over HTTP/2 without Content-Length, and the body that Ollama is to receive. */
const REQUESTS: [line: string, body: string][] = [
  [`POST ${BLOB}`, "x".repeat(100_000)],
  ["PUT /unknown", "short"],
  ["POST /api/chat", JSON.stringify({ ...CHAT, stream: false })],
  ["POST /v1/chat/completions", JSON.stringify({ ...CHAT, stream: true })],
  ["DELETE /api/delete", ""],
  ["GET /api/tags", ""],
];

for (const [name, tls] of [["prior knowledge", undefined], ["ALPN", TLS]] as const) {
  Deno.test(`createExporter() forwards bodies without a length over HTTP/2 (${name})`, async () => {
    await using fake = await startFakeOllama();
    const listenWith = (handler: Handler): Listener => listen(handler, ANY_PORT, tls);
    await using exporter = new TestExporter(fake.url, { openaiStreamUsage: true }, listenWith);
    using client = Deno.createHttpClient({ http1: false, http2: true, caCerts: [FIRST.cert] });
    const origin = `${tls === undefined ? "http" : "https"}://localhost:${exporter.port}`;
    for (const [index, [line, body]] of REQUESTS.entries()) {
      const [method = "", path] = line.split(" ");
      const init = { client, method, body: body === "" ? null : streamed(body) };
      await (await fetch(origin + path, init)).bytes();
      const received = fake.lastRequest();
      // Usage is requested on the client's behalf.
      const expected = path === "/v1/chat/completions"
        ? { ...JSON.parse(body), stream_options: { include_usage: true } }
        : body;
      assertEquals(typeof expected === "string" ? received.text : JSON.parse(received.text), expected, line);
      assertEquals(received.headers("transfer-encoding"), body === "" ? [] : ["chunked"], line);
      assertEquals((await exporter.observation(index + 1)).requestBytes, body.length, line);
    }
  });
}

/** The protocol agreed on with a client that offers these. */
async function agreed(port: number, alpnProtocols: string[]): Promise<string | null> {
  using conn = await Deno.connectTls({ hostname: "localhost", port, caCerts: [FIRST.cert], alpnProtocols });
  return (await conn.handshake()).alpnProtocol;
}

Deno.test("listenNode() agrees on HTTP/1.1 with clients that offer HTTP/2 as well, and refuses others", async () => {
  await using server = new TestListener(await listenNode(() => new Response("ok"), ANY_PORT, TLS));
  assertEquals(await agreed(server.port, ["h2", "http/1.1"]), "http/1.1");
  assertEquals(await agreed(server.port, ["http/1.1"]), "http/1.1");
  await assertRejects(() => agreed(server.port, ["h2"]));
  using client = Deno.createHttpClient({ http1: true, http2: true, caCerts: [FIRST.cert] });
  assertEquals(await (await fetch(`https://localhost:${server.port}/`, { client })).text(), "ok");
  await using other = new TestListener(listen(() => new Response(), ANY_PORT, TLS));
  assertEquals(await agreed(other.port, ["h2", "http/1.1"]), "h2");
});

Deno.test("listenNode() answers the preface of HTTP/2 with 400 and closes the connection", async () => {
  await using server = new TestListener(await listenNode(() => new Response("ok"), ANY_PORT));
  using client = await RawClient.connect(server.port);
  await client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  assertEquals((await client.rest()).split("\r\n")[0], "HTTP/1.1 400 Bad Request");
});
