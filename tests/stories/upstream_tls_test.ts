/** An upstream with TLS and a certificate of a private CA: everything is as without TLS. */

import { assert, assertEquals, assertMatch, assertStringIncludes, fail } from "@std/assert";
import { type Script, startFakeOllama } from "../fake_ollama/mod.ts";
import { CA } from "../support/certificates.ts";
import { CHAT, Gate, type Scrape, startExporter } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";
import { TlsUpstream } from "../support/tls_upstream.ts";

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
const FIRST_LINE = '{"model":"llama3.2","message":{"content":"first"},"done":false}\n';
const LAST_LINE = '{"model":"llama3.2","message":{"content":""},"done":true,"done_reason":"stop","eval_count":7}\n';

/** Streams a line, and a last one when the gate opens. */
function streaming(gate: Gate): Script {
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
  return async ({ method }, connection) => {
    if (method !== "POST") return;
    await connection.readBody();
    await connection.write(HEAD + chunk(FIRST_LINE));
    await gate.opened;
    await connection.writeLast(`${chunk(LAST_LINE)}0\r\n\r\n`);
    return true;
  };
}

Deno.test("createExporter() trusts the CA of the upstream, for clients' requests and for its own", async () => {
  using gate = new Gate();
  await using fake = await startFakeOllama({ script: streaming(gate) });
  await using upstream = new TlsUpstream(fake);
  await using exporter = startExporter(upstream, { upstreamCa: CA });
  using client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  // The upstream has not ended the response.
  await client.sees("first");
  gate.open();
  await client.sees('"eval_count":7');
  assertEquals((await exporter.observation()).outcome, "ok");
  assertEquals((await exporter.scrape()).value("ollama_up"), 1);
  const count = upstream.protocols.length;
  await exporter.scrape();
  assertEquals(upstream.protocols.length, count, "connections of status requests are used again");
  assertEquals(new Set(upstream.protocols), new Set(["http/1.1"]), "HTTP/2 is not used");
});

Deno.test("createExporter() notices over TLS that a client disconnects, before the response and within it", async () => {
  using gate = new Gate();
  await using fake = await startFakeOllama({ script: streaming(gate) });
  await using upstream = new TlsUpstream(fake);
  await using exporter = startExporter(upstream, { upstreamCa: CA });
  const client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  await client.sees("first");
  const request = fake.requests.find(({ method }) => method === "POST") ?? fail("There was no request");
  client.close();
  await fake.waitForAbort(request);
  assertEquals((await exporter.observation()).outcome, "client_closed");
  gate.open();
});

Deno.test("createExporter() rejects the certificate of a CA that it was not told of", async () => {
  await using fake = await startFakeOllama();
  await using upstream = new TlsUpstream(fake);
  await using exporter = startExporter(upstream);
  const response = await exporter.post("/api/chat", CHAT);
  assertEquals(response.status, 502);
  assertStringIncludes(await response.text(), "ollama-exporter: ");
  const metrics: Scrape = await exporter.scrape();
  assertEquals(metrics.value("ollama_up"), 0);
  assertEquals(metrics.value("ollama_exporter_upstream_errors_total", { reason: "connect" }), 1);
  const ready = await fetch(`${exporter.url}/-/ready`);
  assertMatch(await ready.text(), /certificate: UnknownIssuer/);
  assert(fake.requestCount === 0);
});
