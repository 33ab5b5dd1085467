/** Request target and Host header: what Ollama receives, and the route that is counted. */

import { assertEquals } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, CHAT, startExporter, startExporterOn } from "../support/helpers.ts";
import { ask, RawClient } from "../support/raw_client.ts";

const NOTHING = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/** Request line from the client, target sent to Ollama, and route. */
const TARGETS: [string, string, string][] = [
  ["GET /", "/", "/"],
  ["GET /api/version", "/api/version", "/api/version"],
  // Nothing is decoded, joined or shortened: Ollama responds to each of these differently.
  ["POST /api/chat/", "/api/chat/", "other"],
  ["POST //api/chat", "//api/chat", "other"],
  ["GET //evil.example/api/ps", "//evil.example/api/ps", "other"],
  ["POST /api//chat", "/api//chat", "other"],
  ["POST /api/%63hat", "/api/%63hat", "/api/chat"],
  ["POST /API/CHAT", "/API/CHAT", "other"],
  ["POST /api/chat;v=1", "/api/chat;v=1", "other"],
  ["GET /api/chat", "/api/chat", "/api/chat"],
  ["GET /v1/models/ns%2Fname", "/v1/models/ns%2Fname", "other"],
  ["GET /v1/models/ns%2fname", "/v1/models/ns%2fname", "other"],
  ["GET /v1/models/ns/name", "/v1/models/ns/name", "other"],
  ["GET /v1/models/llama3.2:latest", "/v1/models/llama3.2:latest", "/v1/models/:model"],
  ["GET /v1/models/caf%C3%A9~!$&*()+,=@", "/v1/models/caf%C3%A9~!$&*()+,=@", "/v1/models/:model"],
  ["GET /%zz%", "/%zz%", "other"],
  ["HEAD /api/blobs/sha256:00ff", "/api/blobs/sha256:00ff", "/api/blobs/:digest"],
  // Dot segments are resolved, as `fetch` does anyway: the path counted is the path sent.
  ["POST /x/../api/chat", "/api/chat", "/api/chat"],
  ["POST /x/%2e%2E/api/chat", "/api/chat", "/api/chat"],
  ["POST /api/chat/..", "/api/", "other"],
  ["POST /../../api/chat", "/api/chat", "/api/chat"],
  ["POST /api/./chat", "/api/chat", "/api/chat"],
  ["POST /api\\chat", "/api/chat", "/api/chat"],
  ["POST /api/chat..", "/api/chat..", "other"],
  // Queries.
  ["GET /api/version?", "/api/version?", "/api/version"],
  ["GET /api/version?a=1&&b=%20+%2B&a=2&c", "/api/version?a=1&&b=%20+%2B&a=2&c", "/api/version"],
  ["GET /api/version?../../x=/../y", "/api/version?../../x=/../y", "/api/version"],
  ["GET /api/version?u=http://h/%zz?#", "/api/version?u=http://h/%zz?", "/api/version"],
  ["DELETE /api/delete?ts=1795373825", "/api/delete?ts=1795373825", "/api/delete"],
  // Only these are encoded by `fetch`, with the same meaning.
  ["GET /api/version?q='x'", "/api/version?q=%27x%27", "/api/version"],
  [`GET /api/version?q="<x>"`, "/api/version?q=%22%3Cx%3E%22", "/api/version"],
  // An absolute-form target may name any server; the request goes to Ollama.
  ["GET http://evil.example/api/version?a=1", "/api/version?a=1", "/api/version"],
  ["GET http://evil.example:8000/x/../api/ps", "/api/ps", "/api/ps"],
  ["GET http://evil.example", "/", "/"],
  ["GET http://evil.example?a=1", "/?a=1", "/"],
  ["OPTIONS *", "/*", "other"],
  ["OPTIONS /api/chat", "/api/chat", "/api/chat"],
  ["PROPFIND /api/tags", "/api/tags", "/api/tags"],
  ["PATCH /unknown", "/unknown", "other"],
];

Deno.test("createProxy() forwards the target unchanged, and counts the route of the path that it sends", async () => {
  await using fake = await startFakeOllama({ script: answering(NOTHING) });
  await using exporter = startExporter(fake);
  let requests = 0;
  for (const [line, target, route] of TARGETS) {
    await ask(exporter.port, line);
    assertEquals(fake.lastRequest().target, target, line);
    assertEquals(fake.lastRequest().method, line.split(" ", 1)[0], line);
    assertEquals(fake.lastRequest().header("host"), `127.0.0.1:${fake.port}`, line);
    assertEquals((await exporter.observation(++requests)).route, route, line);
  }
  assertEquals(fake.requestCount, TARGETS.length);
});

Deno.test("createProxy() prepends the base path of OLLAMA_HOST, and measures the path after it", async () => {
  await using fake = await startFakeOllama({ script: answering(NOTHING) });
  for (const basePath of ["/ollama", "/ollama/"]) {
    await using exporter = startExporter(fake, { basePath });
    const rows: [string, string, string][] = [
      ["POST /api/chat?a=1", "/ollama/api/chat?a=1", "/api/chat"],
      ["GET /", "/ollama/", "/"],
      ["GET //x", "/ollama//x", "other"],
      ["GET /../ollama/api/version", "/ollama/api/version", "/api/version"],
      ["GET /a..%2Fb", "/ollama/a..%2Fb", "other"],
      ["GET /v1/models/ns%2Fname", "/ollama/v1/models/ns%2Fname", "other"],
      ["GET /...;/x?u=..%2f", "/ollama/...;/x?u=..%2f", "other"],
    ];
    let requests = 0;
    for (const [line, target, route] of rows) {
      assertEquals((await ask(exporter.port, line)).status, 200, line);
      assertEquals(fake.lastRequest().target, target, line);
      assertEquals((await exporter.observation(++requests)).route, route, line);
    }
  }
});

Deno.test("createProxy() refuses paths that escape the base path of OLLAMA_HOST", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake, { basePath: "/ollama" });
  const paths = [
    "/..",
    "/../secret",
    "/%2e%2e/secret",
    "/.%2E/secret",
    "/a/../../secret",
    "/..\\secret",
    "/../ollama2/x",
    // A server between us and Ollama may decode these, once or twice, or cut parameters off.
    "/..%2fsecret",
    "/..%2Fsecret",
    "/%2e%2e%2fsecret",
    "/..%5csecret",
    "/..%5Csecret",
    "/a/..%2f..%2fsecret",
    "/..;/secret",
    "/..;a=1/secret",
    "/%2e%2e;/secret",
    "/..%3b/secret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/..%252fsecret",
    "/..%25252fsecret",
    "/%2e%252e%5csecret",
    "/x%2f..",
  ];
  for (const path of paths) {
    const { status, body } = await ask(exporter.port, `GET ${path}`);
    assertEquals([status, JSON.parse(body)], [400, {
      error: "Request path escapes the base path of the Ollama URL",
    }], path);
  }
  assertEquals(fake.requestCount, 0);
  const refused = { reason: "invalid_path" };
  assertEquals((await exporter.scrape()).value("ollama_exporter_refused_requests_total", refused), paths.length);
  assertEquals(exporter.logLines.filter((line) => line.includes("setting=OLLAMA_HOST")).length, 1);
});

Deno.test("createHandlers() refuses a Host header that would rewrite the path", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const hosts = ["x/api/delete?", "x/api/delete#", "a b/c?", "user@x", "x\\y", "x,y", "x/metrics?", "%2f", "x?y"];
  for (const host of hosts) {
    const { status, body } = await ask(exporter.port, "POST /api/chat", [`Host: ${host}`], JSON.stringify(CHAT));
    assertEquals([status, body], [400, "Invalid Host header\n"], host);
  }
  // Two of them, or none with HTTP/1.1, are refused by Deno or harmless.
  for (const head of ["Host: a\r\nHost: b\r\n", "Host: a\r\nHost: x/api/delete?\r\n"]) {
    using client = await RawClient.connect(exporter.port);
    await client.send(`GET /api/version HTTP/1.1\r\n${head}\r\n`);
    assertEquals((await client.response()).status, 400, head);
  }
  assertEquals(fake.requestCount, 0);
  const allowed = ["localhost", "LOCALHOST:8000", "[::1]:8000", "my-box.local", "my_box", "10.0.0.7:80", "", "a.b:"];
  for (const host of allowed) {
    const { status } = await ask(exporter.port, "POST /api/chat", [`Host: ${host}`], JSON.stringify(CHAT));
    assertEquals([status, fake.lastRequest().target], [200, "/api/chat"], host);
    assertEquals(fake.lastRequest().header("host"), `127.0.0.1:${fake.port}`, host);
  }
});

/** Methods that `fetch` does not send, or not as received. The parser of node:http knows the first only. */
const UNSENDABLE = [
  "TRACE",
  "TRACK",
  "connect",
  "trace",
  "track",
  "tRACE",
  "get",
  "Post",
  "head",
  "options",
];

for (const server of WEB_SERVERS) {
  Deno.test(`createHandlers() over ${server} refuses methods that cannot be forwarded`, async () => {
    await using fake = await startFakeOllama();
    await using exporter = await startExporterOn(server, fake);
    for (const [index, method] of UNSENDABLE.entries()) {
      for (const path of ["/api/version", "/metrics"]) {
        const { status, body } = await ask(exporter.port, `${method} ${path}`, ["X-Secret: s"]);
        if (server === "node" && index > 0) assertEquals(status, 400, method);
        else assertEquals([status, body], [501, "Method not supported\n"], method);
      }
    }
    for (
      const line of [
        "CONNECT evil.example:443",
        "CONNECT /api/chat",
        "TRACE *",
        "GE(T /api/version",
        "G@T /api/version",
        "G\u00e9T /",
      ]
    ) {
      const { status } = await ask(exporter.port, line);
      assertEquals([400, 501].includes(status), true, `${line} got ${status}`);
    }
    assertEquals(fake.requestCount, 0);
    // These are other methods than those in upper case, and `fetch` sends them as they are.
    if (server === "deno") {
      for (const method of ["patch", "PROPFIND", "x"]) {
        assertEquals((await ask(exporter.port, `${method} /api/version`)).status, 405, method);
        assertEquals(fake.lastRequest().method, method);
      }
    }
    assertEquals((await exporter.scrape()).value("ollama_exporter_upstream_errors_total"), 0);
  });
}

Deno.test("createProxy() counts unknown methods under one label value", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (let i = 0; i < 10; i++) assertEquals((await ask(exporter.port, `METHOD${i} /api/chat`)).status, 405);
  await exporter.observation(10);
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_http_requests_total", { method: "other", code: "405" }), 10);
});
