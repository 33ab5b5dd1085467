/**
 * Malicious input, over both listeners. The tables state where they differ; if a newer Deno responds differently, the
 * test fails and the difference has to be reviewed.
 */

import { assert, assertEquals } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, CHAT, delay, startExporterOn } from "../support/helpers.ts";
import { ask, RawClient } from "../support/raw_client.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const IDLE_CONNECTIONS = 1000;

/** Bytes after a body, which must not become a request. */
const SECOND = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
/** Chunked body of two bytes. */
const CHUNKS = "2\r\nab\r\n0\r\n\r\n";

/** Returns a POST request with these headers. */
function post(headers: string, body: string): string {
  return `POST / HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${body}`;
}

/** Ambiguous request, and its status over Deno.serve and over node:http. */
const SMUGGLED: [name: string, request: string, deno: number, node: number][] = [
  ["both lengths", post("Content-Length: 40\r\nTransfer-Encoding: chunked", `0\r\n\r\n${SECOND}`), 400, 400],
  ["both the other way", post("Transfer-Encoding: chunked\r\nContent-Length: 5", `0\r\n\r\n${SECOND}`), 400, 400],
  ["two lengths", post("Content-Length: 1\r\nContent-Length: 2", "ab"), 400, 400],
  ["one length twice", post("Content-Length: 2\r\nContent-Length: 2", "ab"), 400, 400],
  ["a list of lengths", post("Content-Length: 2, 2", "ab"), 400, 400],
  ["a signed length", post("Content-Length: +1", "a"), 400, 400],
  ["a hexadecimal length", post("Content-Length: 0x2", "ab"), 400, 400],
  ["a length with a space", post("Content-Length: 1 2", "ab"), 400, 400],
  ["an empty length", post("Content-Length: ", ""), 400, 400],
  ["a length that wraps around", post("Content-Length: 18446744073709551618", "ab"), 400, 400],
  ["a length that is too long to be read", post(`Content-Length: ${"2".padStart(20, "0")}`, "ab"), 400, 400],
  ["an unknown coding", post("Transfer-Encoding: xchunked", CHUNKS), 400, 400],
  ["a coding behind chunked", post("Transfer-Encoding: chunked, identity", CHUNKS), 400, 400],
  ["gzip before chunked", post("Transfer-Encoding: gzip, chunked", CHUNKS), 501, 501],
  ["another coding before chunked", post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", CHUNKS), 501, 501],
  ["no coding", post("Transfer-Encoding: identity", SECOND), 400, 400],
  ["a coding in quotes", post('Transfer-Encoding: "chunked"', CHUNKS), 400, 400],
  ["a coding behind a control character", post("Transfer-Encoding: \x0bchunked", CHUNKS), 400, 400],
  ["a folded coding", post("Transfer-Encoding:\r\n chunked", CHUNKS), 400, 400],
  ["chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNKS), 400, 400],
  ["a space before the coding's colon", post("Transfer-Encoding : chunked", CHUNKS), 400, 400],
  ["a header behind a bare CR", post("X: y\rTransfer-Encoding: chunked", CHUNKS), 400, 400],
  ["a space in the target", "GET /x y HTTP/1.1\r\nHost: x\r\n\r\n", 400, 400],
  ["a space before the colon", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400, 400],
  ["a folded header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400, 400],
  ["a NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400, 400],
  ["a bare CR in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400, 400],
  ["two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, 400],
  ["a path in the host", "GET / HTTP/1.1\r\nHost: x/api/delete?\r\n\r\n", 400, 400],
  // Not ambiguous: the request to Ollama has headers of its own.
  ["bare line feeds", "GET / HTTP/1.1\nHost: x\n\n", 200, 400],
];

/** Odd but unambiguous requests with a body of two bytes, each of which reaches Ollama as one request. */
const ODD: [name: string, request: string][] = [
  ["chunked in capitals", post("Transfer-Encoding: CHUNKED", CHUNKS)],
  ["chunked behind a tab", post("Transfer-Encoding:\tchunked ", CHUNKS)],
  ["a chunk's extension", post("Transfer-Encoding: chunked", CHUNKS.replace("2", '2;a="b\\"c";d'))],
  ["a header that is nearly the coding", post("Transfer_Encoding: chunked\r\nContent-Length: 2", "ab")],
  ["zeros before a length", post("Content-Length: 002", "ab")],
];

/** Ambiguous chunks. */
const BAD_CHUNKS = [
  ...["0x1", "-1", "+1", "1 1", "FFFFFFFFFFFFFFFFF", "g"].map((size) => `${size}\r\na\r\n0\r\n\r\n`),
  ...["1;a\na\r\n0\r\n\r\n", "1;a\rb\r\na\r\n0\r\n\r\n", "1\r\nabc\r\n0\r\n\r\n", "1\r\na\n0\r\n\r\n", "1\na\n0\n\n"],
];
/** Maximum time for a response to these; `Deno.serve` waits for more bytes after some. */
const ANSWER_MS = 200;

/** Returns a response as a guard does. */
function noSniff(status: number): Response {
  return new Response(null, { status, headers: { "x-content-type-options": "nosniff" } });
}

for (const server of WEB_SERVERS) {
  Deno.test(`createExporter() over ${server} refuses ambiguous requests`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const [name, request, deno, node] of SMUGGLED) {
      using client = await RawClient.connect(exporter.port);
      await client.send(request);
      const { status } = await client.response("GET");
      assertEquals(status, server === "deno" ? deno : node, name);
      if (status >= 400) assertEquals(fake.requestCount, 0, name);
    }
  });

  Deno.test(`createExporter() over ${server} forwards odd but unambiguous requests`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const [index, [name, request]] of ODD.entries()) {
      using client = await RawClient.connect(exporter.port);
      await client.send(request);
      assertEquals((await client.response()).body, "ok", name);
      assertEquals([fake.requestCount, fake.lastRequest().text], [index + 1, "ab"], name);
    }
    // A GET has no body, and the bytes in its place are not a request, either.
    using client = await RawClient.connect(exporter.port);
    await client.send(`GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: ${SECOND.length}\r\n\r\n${SECOND}`);
    assertEquals((await client.response("GET")).body, "ok");
    assertEquals([fake.requestCount, fake.lastRequest().target, fake.lastRequest().text], [ODD.length + 1, "/x", ""]);
  });

  Deno.test(`createExporter() over ${server} forwards no complete request with ambiguous chunks`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const chunks of BAD_CHUNKS) {
      using client = await RawClient.connect(exporter.port);
      await client.send(post("Transfer-Encoding: chunked", chunks));
      const text = await Promise.race([client.rest(), delay(ANSWER_MS)]);
      assert(!text?.includes("200 OK"), `${JSON.stringify(chunks)}: ${text}`);
    }
    assertEquals(fake.requests.filter(({ bodyComplete }) => bodyComplete).map(({ text }) => text), []);
  });

  Deno.test(`createExporter() over ${server} escapes line breaks from client and upstream in log, labels and responses`, async () => {
    const evil = 'x"}\n# HELP evil\nevil_total 1\r\n\x1b[31m\x7f\x9b\u2028 level=ERROR';
    await using fake = await startFakeOllama({ acceptAnyModel: true });
    await using exporter = await startExporterOn(server, fake, { probeTimeoutMs: 1000 });
    for (
      const path of ["/api/chat", "/x%0aERROR%0dinjected", "/v1/models/%22%7d%0aevil_total 1".replaceAll(" ", "%20")]
    ) {
      await ask(exporter.port, `POST ${path}`, [], JSON.stringify({ ...CHAT, stream: false, model: evil }));
    }
    await exporter.observation(3);
    const scrape = await exporter.scrape();
    const { text } = scrape;
    assert(!/^evil/m.test(text), "a label has a line of its own");
    assertEquals(scrape.labelValues("model").filter((model) => !/^[\w.:/-]+$/.test(model)), []);
    for (const line of exporter.logLines) {
      // deno-lint-ignore no-control-regex -- that is what is looked for.
      assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]|\n./.test(line.trimEnd()), JSON.stringify(line));
    }
  });

  Deno.test(`createExporter() over ${server} serves admin endpoints only under their exact paths`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    const paths = [
      ...[
        "/metrics/",
        "/%6detrics",
        "//metrics",
        "/./metrics",
        "/x/../metrics",
        "/metrics;x",
        "/METRICS",
        "/metrics%00",
      ],
      ...["/-/healthy/", "/-/%68ealthy", "/-/../-/healthy", "/-", "/-//", "/-/../api/delete", "/-/%2e%2e/api/delete"],
      ...["http://evil/METRICS", "http://evil/-/../api/delete", "http://evil//metrics", "http://evil/x?/metrics"],
    ];
    for (const path of paths) assertEquals((await ask(exporter.port, `GET ${path}`)).body, "ok", path);
    assertEquals(fake.requestCount, paths.length);
    // An absolute-form target is the same path, equally guarded.
    await using guarded = await startExporterOn(server, fake, { guard: () => noSniff(401) });
    for (const path of ["/metrics", "/metrics?x", "http://evil/metrics", "/-/ready"]) {
      assertEquals((await ask(guarded.port, `GET ${path}`)).status, 401, path);
    }
    const { status, body } = await ask(exporter.port, "DELETE /metrics");
    assertEquals([status, body.includes("ok")], [405, false]);
  });

  Deno.test(`createExporter() over ${server} serves others during garbage and ${IDLE_CONNECTIONS} silent or half-open requests`, async () => {
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
