/** Bytes and headers in both directions: what is forwarded unchanged, and what is not. */

import { assert, assertEquals } from "@std/assert";
import { gzipSync } from "node:zlib";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { latin1, latin1Bytes } from "../fake_ollama/wire.ts";
import { answering, CHAT, Gate, startExporter, startExporterOn, until } from "../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../support/raw_client.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

Deno.test("createProxy() drops hop-by-hop request headers, and forwards all others", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  const dropped = [
    "Connection: keep-alive, X-Listed, x-ALSO-listed , bad name",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Trailer: X-Checksum",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "X-Listed: 1",
    "X-Also-Listed: 1",
    "Accept-Encoding: gzip, br",
    "Host: client.local",
  ];
  const passed = [
    "Accept: application/x-ndjson",
    "Accept-Language: de",
    "Authorization: Bearer secret",
    "Content-Type: text/plain",
    "Cookie: a=1; b=2",
    "Origin: http://localhost:3000",
    "Range: bytes=0-1",
    "Referer: http://localhost:3000/?q=1",
    "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "User-Agent: ollama-python/0.6.1",
    "X-Forwarded-Proto: https",
    "X-Latin: caf\xe9",
    "X-Stainless-Os: Linux",
  ];
  await ask(exporter.port, "POST /api/chat", [...dropped, ...passed], latin1Bytes(JSON.stringify(CHAT)));
  const request = await fake.waitForRequest();
  const got = request.rawHeaders.map(([name, value]) => `${name}: ${value}`).sort();
  const expected = passed.map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()))
    // `ask` sends UTF-8.
    .map((line) => latin1(new TextEncoder().encode(line)));
  const added = [
    "accept-encoding: identity",
    `content-length: ${JSON.stringify(CHAT).length}`,
    `host: 127.0.0.1:${fake.port}`,
    "x-forwarded-for: 127.0.0.1",
  ];
  assertEquals(got, [...expected, ...added].sort());
});

Deno.test("createProxy() appends to X-Forwarded-For, and sends a User-Agent of its own if the client has none", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  await ask(exporter.port, "GET /", ["X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"]);
  assertEquals(fake.lastRequest().headers("x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"]);
  assertEquals(fake.lastRequest().headers("user-agent"), ["ollama-exporter/0.0.0-test"]);
});

Deno.test('createProxy() adds a closed list of headers to a request without any (docs/limits.md, "Differences")', async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  await ask(exporter.port, "GET /", []);
  assertEquals(fake.lastRequest().rawHeaders.map(([name, value]) => `${name}: ${value}`).sort(), [
    "accept-encoding: identity",
    "accept-language: *",
    "accept: */*",
    `host: 127.0.0.1:${fake.port}`,
    "user-agent: ollama-exporter/0.0.0-test",
    "x-forwarded-for: 127.0.0.1",
  ]);
});

Deno.test("createProxy() drops hop-by-hop response headers, and forwards all others", async () => {
  const head = [
    "HTTP/1.1 200 OK",
    "Connection: close, X-Listed",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "Trailer: X-Checksum",
    "Upgrade: h2c",
    "X-Listed: 1",
    "Access-Control-Allow-Origin: *",
    "Cache-Control: no-cache",
    "Content-Type: application/x-ndjson; charset=weird",
    'ETag: W/"x"',
    "Location: /elsewhere",
    "Server: nobody",
    "Set-Cookie: a=1; Path=/",
    "Set-Cookie: b=2, c",
    "Vary: Origin",
    "X-Empty:",
    "X-Latin: caf\xe9",
    "Content-Length: 2",
  ];
  await using fake = await startFakeOllama({ script: answering(`${head.join("\r\n")}\r\n\r\nok`, "close") });
  await using exporter = startExporter(fake);
  using client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  const response = await client.response();
  const got = response.headers.filter(([name]) => name.toLowerCase() !== "date").map((pair) => pair.join(": ")).sort();
  const expected = head.slice(7).map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase()));
  assertEquals(got, expected.map((line) => line.replace(/:$/, ": ")).sort());
  // The client's connection stays open, although the upstream's was closed.
  await client.request("GET /-/healthy");
  assertEquals((await client.response()).status, 200);
});

Deno.test("createProxy() forwards a body that Ollama compressed unasked, and does not read it", async () => {
  const packed = latin1(gzipSync(JSON.stringify({ model: "m", done: true, eval_count: 7 })));
  const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n";
  await using fake = await startFakeOllama({
    script: answering(`${head}Content-Length: ${packed.length}\r\n\r\n${packed}`),
  });
  await using exporter = startExporter(fake);
  const response = await ask(exporter.port, "POST /api/chat", ["Accept-Encoding: gzip"], JSON.stringify(CHAT));
  assertEquals(fake.lastRequest().headers("accept-encoding"), ["identity"]);
  assertEquals([response.body, valuesOf(response, "content-encoding")], [packed, ["gzip"]]);
  const { outcome, report, parseErrors } = await exporter.observation();
  assertEquals([outcome, report.outputTokens, parseErrors], ["ok", undefined, {}]);
});

Deno.test("createProxy() does not compress responses", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (const line of ["GET /api/tags", "GET /v1/models", "GET /"]) {
    const direct = await ask(fake.port, line);
    const response = await ask(exporter.port, line, ["Accept-Encoding: gzip, br"]);
    assertEquals(response.body, direct.body, line);
    assertEquals(valuesOf(response, "content-encoding"), [], line);
  }
});

/** Request line, and response as sent by the upstream. */
const STATUSES: [string, string][] = [
  ["GET /x", "201 Created\r\nContent-Length: 2\r\n\r\nok"],
  ["GET /x", "206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok"],
  ["DELETE /x", "204 No Content\r\nX-A: b\r\n\r\n"],
  ["GET /x", '304 Not Modified\r\nETag: "x"\r\n\r\n'],
  ["POST /api/chat", "301 Moved Permanently\r\nLocation: /api/chat/?a=1\r\nContent-Length: 0\r\n\r\n"],
  ["POST /api/chat", "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"],
  ["POST /api/chat", "418 I'm a teapot\r\nContent-Length: 2\r\n\r\nno"],
  ["POST /api/chat", "599 Weird\r\nContent-Length: 2\r\n\r\nno"],
  ["HEAD /x", "200 OK\r\nContent-Length: 12345\r\n\r\n"],
  ["GET /x", "200 OK\r\nContent-Length: 0\r\n\r\n"],
  ["GET /x", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["GET /x", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"],
];

Deno.test("createProxy() forwards status, length and framing, and does not follow redirects", async () => {
  for (const [line, answer] of STATUSES) {
    await using fake = await startFakeOllama({ script: answering(`HTTP/1.1 ${answer}`) });
    await using exporter = startExporter(fake);
    const body = line.startsWith("POST") ? JSON.stringify(CHAT) : null;
    const direct = await ask(fake.port, line, [], body);
    const response = await ask(exporter.port, line, [], body);
    const facts = [direct, response].map(({ status, body, end, chunks, headers }) => {
      const kept = headers.filter(([name]) => name.toLowerCase() !== "date");
      return {
        status,
        body,
        end,
        chunks,
        headers: kept.map(([name, value]) => `${name.toLowerCase()}: ${value}`).sort(),
      };
    });
    assertEquals(facts[1], facts[0], `${line}: ${answer}`);
    const { status, outcome, responseBytes } = await exporter.observation();
    const expected = status < 400 ? "ok" : status < 500 ? "client_error" : "server_error";
    assertEquals([status, outcome, responseBytes], [direct.status, expected, direct.body.length], `${line}: ${answer}`);
    assertEquals(fake.requestCount, 2);
  }
});

Deno.test("createProxy() forwards responses after interim ones, and responses that end with the connection", async () => {
  const interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
  for (const answer of [interim + OK, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok"]) {
    await using fake = await startFakeOllama({ script: answering(answer, "close") });
    await using exporter = startExporter(fake);
    const { status, body, end } = await ask(exporter.port, "POST /api/chat", [], JSON.stringify(CHAT));
    assertEquals([status, body, end], [200, "ok", "complete"]);
  }
});

/** Bodies that decoding and encoding would change. */
const BODIES = [
  '{"model":"llama3.2","options":{"seed":9007199254740993,"x":1e400,"y":-0,"z":1.10},"messages":[]}',
  '{ "MODEL" : "llama3.2" ,"model":"qwen3"}\n\n trailing bytes',
  '{"model":"llama3.2","prompt":"\\u00e9\\ud800 \\/ \\u003c"}',
  '{"model":"llama3.2","prompt":"\xff\xfe\x00"}',
  "\xef\xbb\xbf{}",
  "\x00\x01\x02\xff",
];

Deno.test("createProxy() forwards request bodies byte for byte, with a length or chunked", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  for (const path of ["/api/chat", "/v1/chat/completions", "/api/blobs/sha256:00", "/api/show", "/unknown"]) {
    for (const body of BODIES) {
      await ask(exporter.port, `POST ${path}`, [], latin1Bytes(body));
      const { rawHeaders, body: got } = fake.lastRequest();
      assertEquals(latin1(got), body, path);
      assertEquals(new Map(rawHeaders).get("content-length"), String(body.length), path);
      const chunks = [...body].map((character) => `1\r\n${character}\r\n`).join("") + "0\r\n\r\n";
      await ask(exporter.port, `POST ${path}`, ["Transfer-Encoding: chunked"], latin1Bytes(chunks));
      assertEquals(latin1(fake.lastRequest().body), body, path);
      assertEquals(fake.lastRequest().headers("content-length"), [], path);
      assertEquals(fake.lastRequest().headers("transfer-encoding"), ["chunked"], path);
    }
  }
  const count = exporter.proxied;
  await exporter.observation(count);
  const sent = BODIES.reduce((sum, body) => sum + body.length, 0) * 10;
  assertEquals((await exporter.scrape()).value("ollama_http_request_bytes_total"), sent);
});

Deno.test("createProxy() distinguishes requests without a body from those with an empty one", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  const rows: [string, string[], string | null, string[]][] = [
    ["POST /api/chat", [], null, ["0"]],
    ["POST /api/chat", [], "", ["0"]],
    ["POST /api/me", [], null, ["0"]],
    ["DELETE /api/delete", [], "{}", ["2"]],
    ["PUT /x", [], "", ["0"]],
    ["GET /x", [], null, []],
    // `fetch` sends no body with these, so there must be no length.
    ["GET /x", [], "body", []],
    ["HEAD /x", [], "body", []],
    ["GET /x", ["Transfer-Encoding: chunked"], "4\r\nbody\r\n0\r\n\r\n", []],
  ];
  for (const [line, headers, body, lengths] of rows) {
    using client = await RawClient.connect(exporter.port);
    await client.request(line, headers, body);
    assertEquals((await client.response(line.split(" ")[0])).status, 200, line);
    const request = fake.lastRequest();
    assertEquals(request.headers("content-length"), lengths, `${line} ${body}`);
    assertEquals(request.headers("transfer-encoding"), [], `${line} ${body}`);
    assertEquals(request.text, lengths[0] === "2" ? "{}" : "", line);
    // A body that was not forwarded is not taken for the next request.
    await client.request("GET /-/healthy");
    assertEquals((await client.response()).status, 200, `${line} ${body}`);
  }
});

Deno.test("createProxy() answers Expect: 100-continue, and forwards the body", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  using client = await RawClient.connect(exporter.port);
  const body = JSON.stringify({ ...CHAT, stream: false });
  await client.send(
    `POST /api/chat HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
  );
  await client.sees("HTTP/1.1 100 Continue\r\n\r\n");
  await client.send(body);
  assertEquals((await client.response()).status, 200);
  assertEquals(fake.lastRequest().headers("expect"), []);
});

Deno.test("createProxy() forwards a response that arrives before the upload has ended", async () => {
  await using fake = await startFakeOllama({
    script: async (_, connection) => {
      await connection.readBodyChunk();
      await connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
      // As in Go, the peer can read the response before the connection is closed during its upload.
      await connection.readBody();
    },
  });
  await using exporter = startExporter(fake);
  using client = await RawClient.connect(exporter.port);
  await client.send("POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning");
  const { status, body } = await client.response();
  assertEquals([status, body], [413, "no"]);
  assertEquals((await exporter.observation()).outcome, "client_error");
});

Deno.test("createProxy() forwards each piece of a response before the next one arrives", async () => {
  const pieces = [
    '{"message":{"content":"Hi"},"done":false}\n',
    '{"message":{"content":"cut ',
    'here"},"done":false}\n',
  ];
  for (const path of ["/api/chat", "/unknown", "/v1/chat/completions"]) {
    await using fake = await startFakeOllama();
    using gates = new DisposableStack();
    const received = pieces.map(() => gates.use(new Gate()));
    fake.behaviour.script = async (_, connection) => {
      await connection.readBody();
      await connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      for (const [index, piece] of pieces.entries()) {
        await connection.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
        await received[index]?.opened;
      }
      await connection.writeLast("0\r\n\r\n");
    };
    await using exporter = startExporter(fake);
    using client = await RawClient.connect(exporter.port);
    await client.request(`POST ${path}`, [], JSON.stringify(CHAT));
    for (const [index, piece] of pieces.entries()) {
      await client.sees(piece);
      received[index]?.open();
    }
    assertEquals((await client.response()).chunks, pieces, path);
  }
});

Deno.test("createProxy() forwards each piece of an upload before the next one arrives", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  for (const [count, framing] of ["Content-Length: 9", "Transfer-Encoding: chunked"].entries()) {
    using client = await RawClient.connect(exporter.port);
    await client.send(`POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: x\r\n${framing}\r\n\r\n`);
    const isChunked = framing.startsWith("T");
    for (const [index, piece] of ["one", "two", "end"].entries()) {
      await client.send(isChunked ? `3\r\n${piece}\r\n` : piece);
      const hasCome = (): boolean => fake.requests.at(count)?.bodyLength === 3 * (index + 1);
      await until(hasCome, `the piece "${piece}" has come`);
    }
    if (isChunked) await client.send("0\r\n\r\n");
    assertEquals((await client.response()).status, 200);
    assertEquals(fake.lastRequest().text, "onetwoend");
  }
});

Deno.test("createProxy() forwards a large upload completely", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const bytes = new Uint8Array(20 * 1024 * 1024).map((_, index) => (index * 7919) >> 3);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  const response = await fetch(`${exporter.url}/api/blobs/sha256:${hash}`, { method: "POST", body: bytes });
  assertEquals([response.status, await response.text()], [201, ""]);
  const { requestBytes } = await exporter.observation();
  assertEquals(requestBytes, bytes.length);
  assert(fake.lastRequest().bodyComplete);
});

for (const server of ["deno", "node"] as const) {
  Deno.test(`createProxy() counts the bytes of an upload that came, not those announced (${server})`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    for (const [count, path] of ["/api/blobs/sha256:00", "/api/chat"].entries()) {
      using client = await RawClient.connect(exporter.port);
      await client.send(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999\r\n\r\nten bytes.`);
      const hasCome = (): boolean => fake.requests.at(count)?.bodyLength === 10;
      await until(hasCome, "ten bytes have come");
      client.close();
      assertEquals((await exporter.observation(count + 1)).requestBytes, 10, path);
    }
  });
}

Deno.test("Deno changes only these details of a response", async () => {
  const rows: [string, string, string, (readonly [string, string])[]][] = [
    ["GET /x", "200 Fine\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok", "200 OK", [["x-a", "b"], ["content-length", "2"]]],
    ["GET /x", "599 Weird\r\nContent-Length: 2\r\n\r\nok", "599 ", [["content-length", "2"]]],
    ["HEAD /x", "200 OK\r\nX-A: b\r\n\r\n", "200 OK", [["x-a", "b"]]],
    ["GET /x", "304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 Not Modified", []],
    ["GET /x", "200 OK\r\nX-A: b\r\nX-A: c\r\nContent-Length: 0\r\n\r\n", "200 OK", [["x-a", "b, c"], [
      "content-length",
      "0",
    ]]],
  ];
  for (const [line, answer, statusLine, headers] of rows) {
    await using fake = await startFakeOllama({ script: answering(`HTTP/1.1 ${answer}`) });
    await using exporter = startExporter(fake);
    const response = await ask(exporter.port, line);
    assertEquals(response.statusLine, `HTTP/1.1 ${statusLine}`, answer);
    assertEquals(response.headers.filter(([name]) => name !== "date"), headers, answer);
  }
});
