/**
 * Input that is meant to harm, over both listeners. Where the listeners differ, the table says so: a newer Deno that
 * answers otherwise fails the test and is to be looked at.
 */

import { assert, assertEquals } from "@std/assert";
import { WEB_SERVERS } from "../lib/config.ts";
import { startFakeOllama } from "./fake_ollama.ts";
import { answering, CHAT, startExporterOn } from "./helpers.ts";
import { ask, RawClient } from "./raw_client.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const IDLE_CONNECTIONS = 1000;

/** A request that could be read as two, or in two ways; the status over Deno.serve and over node:http. */
const SMUGGLED: [name: string, request: string, deno: number, node: number][] = [
  [
    "both lengths",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
    400,
  ],
  ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, 400],
  ["a signed length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400, 400],
  ["an unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, 400],
  ["a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400, 400],
  ["a folded header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400, 400],
  ["a NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400, 400],
  ["a bare CR in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400, 400],
  ["two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, 400],
  ["a path in the host", "GET / HTTP/1.1\r\nHost: x/api/delete?\r\n\r\n", 400, 400],
  // One reading only, and what goes to Ollama is written anew.
  ["bare line feeds", "GET / HTTP/1.1\nHost: x\n\n", 200, 400],
];

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}: requests that can be read in two ways are refused`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const [name, request, deno, node] of SMUGGLED) {
      using client = await RawClient.connect(exporter.port);
      await client.send(request);
      const { status } = await client.response("GET");
      assertEquals(status, server === "deno" ? deno : node, name);
      if (status === 400) assertEquals(fake.requestCount, 0, name);
    }
  });

  Deno.test(`over ${server}: a chunk's size is read in one way, or refused`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const size of ["0x1", "-1", "+1", "1 1", "FFFFFFFFFFFFFFFFF", "g"]) {
      using client = await RawClient.connect(exporter.port);
      await client.send(`POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${size}\r\na\r\n0\r\n\r\n`);
      const text = await client.rest();
      assert(!text.includes("200 OK"), `${size}: ${text}`);
    }
  });

  Deno.test(`over ${server}: what a client or an upstream writes makes no line of its own in log, labels or answers`, async () => {
    const evil = 'x"}\n# HELP evil\nevil_total 1\r\n\x1b[31m\u2028 level=ERROR';
    await using fake = await startFakeOllama({ acceptAnyModel: true });
    await using exporter = await startExporterOn(server, fake, { probeTimeoutMs: 1000 });
    for (
      const path of ["/api/chat", "/x%0aERROR%0dinjected", "/v1/models/%22%7d%0aevil_total 1".replaceAll(" ", "%20")]
    ) {
      await ask(exporter.port, `POST ${path}`, [], JSON.stringify({ ...CHAT, stream: false, model: evil }));
    }
    await exporter.observation(3);
    const { text } = await exporter.scrape();
    assert(!/^evil/m.test(text), "a label has a line of its own");
    for (const line of exporter.logLines) {
      // deno-lint-ignore no-control-regex -- that is what is looked for.
      assert(!/[\x00-\x09\x0b-\x1f\x7f]|\n./.test(line.trimEnd()), JSON.stringify(line));
    }
  });

  Deno.test(`over ${server}: no trick with a path reaches an own path, or leaves one for Ollama`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    const paths = ["/metrics/", "/%6detrics", "//metrics", "/-/../api/delete", "/metrics;x", "/METRICS", "/-/healthy/"];
    for (const path of paths) assertEquals((await ask(exporter.port, `GET ${path}`)).body, "ok", path);
    assertEquals(fake.requestCount, paths.length);
    const { status, body } = await ask(exporter.port, "DELETE /metrics");
    assertEquals([status, body.includes("ok")], [405, false]);
  });

  Deno.test(`over ${server}: garbage and ${IDLE_CONNECTIONS} connections that say nothing, or half a head, hinder nobody`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    using clients = new DisposableStack();
    for (let index = 0; index < IDLE_CONNECTIONS; index++) {
      const client = clients.use(await RawClient.connect(exporter.port));
      if (index % 2 === 0) await client.send("GET / HTTP/1.1\r\nHost:");
    }
    for (
      const garbage of ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "\0".repeat(1000), "\r\n".repeat(100)]
    ) {
      const client = clients.use(await RawClient.connect(exporter.port));
      await client.send(garbage);
    }
    assertEquals((await ask(exporter.port, "GET /")).body, "ok");
    assertEquals((await ask(exporter.port, "GET /-/healthy")).status, 200);
  });
}
