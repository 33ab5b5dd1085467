/** Admin endpoints and proxied paths, over real sockets. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "node:http2";
import { createExporter, type Exporter } from "../../../lib/exporter.ts";
import type { Listener } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { createLog } from "../../../lib/log/log.ts";
import { type Refusal, REFUSALS } from "../../../lib/metrics/refusal_metrics.ts";
import { WEB_SERVERS } from "../../../lib/settings/settings.ts";
import type { Handlers } from "../../../lib/web/handlers.ts";
import { type FakeOllama, startFakeOllama } from "../../fake_ollama/mod.ts";
import {
  CHAT,
  PATIENCE_MS,
  Scrape,
  startExporter,
  startExporterOn,
  type TestExporterOptions,
} from "../../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../../support/raw_client.ts";

/** An exporter with a listener per handler. */
class ThreeListeners implements AsyncDisposable {
  readonly logLines: string[] = [];
  readonly ports: Record<keyof Handlers, number>;
  readonly #exporter: Exporter;
  readonly #listeners: Listener[];

  constructor(upstream: { url: string }, options: TestExporterOptions = {}) {
    this.#exporter = createExporter({
      upstream: new URL(upstream.url),
      version: "0.0.0-test",
      homepage: "https://example.com/exporter",
      log: createLog({ level: "INFO", format: "text", write: (line) => this.logLines.push(line) }),
      metricsPath: "/metrics",
      modelLimit: 200,
      probeTimeoutMs: PATIENCE_MS,
      openaiStreamUsage: false,
      allowedHosts: [],
      fetch,
      ...options,
    });
    const { combined, admin, proxy } = this.#exporter.handlers;
    this.#listeners = [combined, admin, proxy].map((handler) => listen(handler, { hostname: "127.0.0.1", port: 0 }));
    const [first = 0, second = 0, third = 0] = this.#listeners.map(({ address }) => address.port);
    this.ports = { combined: first, admin: second, proxy: third };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.abort();
    await Promise.all(this.#listeners.map((listener) => listener.shutdown()));
    this.#exporter.close();
  }
}

/** Starts an Ollama with a metrics endpoint. */
function startOllamaWithMetrics(): Promise<FakeOllama> {
  const body = "# from Ollama\n";
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return startFakeOllama({
    script: async ({ path }, connection) => {
      if (path !== "/metrics") return;
      await connection.writeLast(answer);
      return true;
    },
  });
}

const ADMIN_PATHS = ["/metrics", "/-/healthy", "/-/ready"];

Deno.test("createHandlers() serves admin endpoints and proxies all other paths", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake);
  for (
    const path of [...ADMIN_PATHS, "/metrics?x=1", "/-/ready?", "http://elsewhere/metrics", "http://elsewhere/-/ready"]
  ) {
    const before = fake.requestCount;
    const response = await ask(exporter.ports.combined, `GET ${path}`);
    assertEquals([response.status, response.end], [200, "complete"], path);
    assertEquals(valuesOf(response, "x-content-type-options"), ["nosniff"], path);
    const asked = fake.requests.slice(before).map(({ path }) => path);
    assert(asked.every((path) => ["/api/version", "/api/ps", "/api/tags"].includes(path)), `${path}: ${asked}`);
  }
  for (
    const path of ["/", "/metrics/", "/Metrics", "/%6detrics", "//metrics", "/metrics/x", "/-", "/-/x", "/-/healthy/"]
  ) {
    await ask(exporter.ports.combined, `GET ${path}`);
    assertEquals(fake.lastRequest().target, path);
  }
});

Deno.test("createHandlers() returns an admin handler that responds with 404 to other paths", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const path of ADMIN_PATHS) {
    const response = await ask(exporter.ports.admin, `GET ${path}`);
    assertEquals(response.status, 200, path);
  }
  const before = fake.requestCount;
  for (const line of ["POST /", "GET /api/version", "POST /api/chat", "GET /metrics/", "DELETE /api/delete"]) {
    const response = await ask(exporter.ports.admin, line, [], line.startsWith("POST") ? JSON.stringify(CHAT) : null);
    assertEquals([response.status, response.body], [404, "Not found\n"], line);
  }
  assertEquals(fake.requestCount, before);
});

Deno.test("createHandlers() returns an admin handler that redirects / to the status page", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const method of ["GET", "HEAD"]) {
    const response = await ask(exporter.ports.admin, `${method} /?x`);
    assertEquals([response.status, valuesOf(response, "location")], [302, ["/-/"]]);
  }
});

Deno.test("createHandlers() returns a proxy handler that proxies the paths of admin endpoints too", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake);
  const response = await ask(exporter.ports.proxy, "GET /metrics");
  assertEquals([response.status, response.body], [200, "# from Ollama\n"]);
  for (const path of ["/-/healthy", "/-/ready"]) {
    const answer = await ask(exporter.ports.proxy, `GET ${path}`);
    assertEquals([answer.status, answer.body], [404, "404 page not found"]);
    assertEquals(fake.lastRequest().path, path);
  }
  // Requests to one listener are in the metrics of the other.
  const { body } = await ask(exporter.ports.admin, "GET /metrics");
  assert(body.includes('\nollama_http_requests_total{route="other",method="GET",code="404"} 2\n'), body);
});

Deno.test("createHandlers() serves metrics under the configured path only", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake, { metricsPath: "/custom/metrics" });
  const custom = await ask(exporter.ports.combined, "GET /custom/metrics");
  assert(custom.body.includes("\nollama_up 1\n"));
  assertEquals((await ask(exporter.ports.combined, "GET /metrics")).body, "# from Ollama\n");
  assertEquals((await ask(exporter.ports.admin, "GET /metrics")).status, 404);
});

Deno.test("createHandlers() responds with 405 to methods that admin endpoints do not support", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const port of [exporter.ports.combined, exporter.ports.admin]) {
    for (const path of ADMIN_PATHS) {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]) {
        const response = await ask(port, `${method} ${path}`, [], method === "POST" ? "x" : null);
        assertEquals([response.status, valuesOf(response, "allow")], [405, ["GET, HEAD"]], `${method} ${path}`);
      }
    }
  }
  assertEquals(fake.requestCount, 0);
});

Deno.test("createHandlers() serves the health endpoints: ready only while Ollama is reachable", async () => {
  await using fake = await startFakeOllama({ version: "0.40.1" });
  await using exporter = startExporter(fake, { probeTimeoutMs: 1000 });
  const answer = async (path: string) => {
    const { status, body } = await ask(exporter.port, `GET /-/${path}`);
    const head = await ask(exporter.port, `HEAD /-/${path}`);
    assertEquals([head.status, head.body], [status, ""]);
    assertEquals(valuesOf(head, "content-type"), ["text/plain; charset=utf-8"]);
    return [status, body];
  };
  assertEquals(await answer("ready"), [200, "Ready: Ollama 0.40.1 is reachable\n"]);
  const reasons: [FakeOllama["behaviour"]["versionProbe"], string][] = [
    [{ status: 500, body: '{"error":"x"}' }, "/api/version: unexpected status 500"],
    ["hang", "/api/version: no response within 1000 ms"],
    [{ body: "{}" }, "/api/version: no version in the response"],
  ];
  for (const [probe, reason] of reasons) {
    fake.behaviour.versionProbe = probe;
    assertEquals(await answer("ready"), [503, `Not ready: Ollama is unreachable: ${reason}\n`]);
    assertEquals(await answer("healthy"), [200, "Healthy\n"]);
  }
  await fake.close();
  const [status, body] = await answer("ready");
  assertEquals(status, 503);
  assertMatch(String(body), /^Not ready: Ollama is unreachable: \/api\/version: [^\n]+\n$/);
  assertEquals(await answer("healthy"), [200, "Healthy\n"]);
});

Deno.test("createHandlers() calls the guard for admin endpoints only", async () => {
  await using fake = await startFakeOllama();
  const guarded: (string | null)[] = [];
  await using exporter = new ThreeListeners(fake, {
    guard: async ({ headers }) => {
      guarded.push(headers.get("x-path"));
      await Promise.resolve();
      return headers.get("authorization") === "let me in" ? undefined : new Response("Who are you?", { status: 401 });
    },
  });
  for (const port of [exporter.ports.combined, exporter.ports.admin]) {
    for (const path of ADMIN_PATHS) {
      const rejected = await ask(port, `GET ${path}`, [`x-path: ${path}`]);
      assertEquals([rejected.status, rejected.body], [401, "Who are you?"], path);
      const allowed = await ask(port, `GET ${path}`, [`x-path: ${path}`, "authorization: let me in"]);
      assertEquals(allowed.status, 200, path);
    }
  }
  assertEquals(guarded.length, 12);
  for (const [port, path] of [["combined", "/api/tags"], ["proxy", "/api/tags"], ["admin", "/api/tags"]] as const) {
    const { status } = await ask(exporter.ports[port], `GET ${path}`);
    assertEquals(status, port === "admin" ? 404 : 200);
  }
  assertEquals(guarded.length, 12);
});

Deno.test("createHandlers() responds with 502 to an internal error, logs and counts it", async () => {
  await using fake = await startFakeOllama();
  let isFailing = true;
  await using exporter = new ThreeListeners(fake, {
    guard: () => {
      if (isFailing) throw new Error("The guard is broken");
      return undefined;
    },
  });
  const { status, body } = await ask(exporter.ports.combined, "GET /metrics");
  assertEquals([status, JSON.parse(body)], [502, { error: "ollama-exporter: internal error, see its log" }]);
  assertEquals(exporter.logLines.length, 1);
  assertMatch(exporter.logLines[0] ?? "", /level=ERROR msg="Internal error" error="Error: The guard is broken" stack=/);
  isFailing = false;
  const scrape = await ask(exporter.ports.admin, "GET /metrics");
  assert(scrape.body.includes("\nollama_exporter_internal_errors_total 1\n"));
});

/** Request line, headers, reason and status of a refusal. */
const REFUSED: [line: string, headers: string[], reason: Refusal, status: number][] = [
  ...["x/api/delete?", "x/metrics#", "a b", "x@y", "x\\y", "é", "x,y", "[::1]/x", "x%2f"].map((
    host,
  ): typeof REFUSED[0] => ["GET /api/tags", [`Host: ${host}`], "invalid_host", 400]),
  ["GET http://user@x/api/tags", [], "invalid_host", 400],
  ["GET /api/tags", [`Content-Length: ${"0".repeat(20)}`], "invalid_content_length", 400],
  ["POST /api/chat", ["Transfer-Encoding: gzip, chunked"], "unsupported_transfer_encoding", 501],
  ["TRACE /api/tags", [], "unsupported_method", 501],
  ["TRACK /api/tags", [], "unsupported_method", 501],
  ["get /metrics", [], "unsupported_method", 501],
  ["GET /api/tags", ["Host: evil.com", "Referer: http://evil.com/"], "host_not_allowed", 403],
  ["HEAD /metrics", ["Host: evil.com", "Sec-Fetch-Site: none"], "host_not_allowed", 403],
  // An absolute target takes precedence over Host (RFC 9112, 3.2.2).
  ["GET http://evil.com/api/tags", ["Host: localhost", "Origin: null"], "host_not_allowed", 403],
];

Deno.test("createHandlers() refuses requests by their heads, counts and logs them", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  const counts = new Map<string, number>(REFUSALS.map((reason) => [reason, 0]));
  for (const port of Object.values(exporter.ports)) {
    for (const [line, headers, reason, status] of REFUSED) {
      const body = line.startsWith("POST") ? "0\r\n\r\n" : null;
      assertEquals((await ask(port, line, headers, body)).status, status, `${line} ${headers}`);
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    assertEquals((await ask(port, "CONNECT localhost:443")).status, 501);
    counts.set("unsupported_method", (counts.get("unsupported_method") ?? 0) + 1);
  }
  assertEquals(fake.requestCount, 0);
  const scrape = new Scrape((await ask(exporter.ports.admin, "GET /metrics")).body);
  const counted = REFUSALS.map((
    reason,
  ) => [reason, scrape.value("ollama_exporter_refused_requests_total", { reason })]);
  assertEquals(Object.fromEntries(counted), Object.fromEntries(counts));
  // All but the one that only a base path provokes.
  assertEquals(exporter.logLines.length, REFUSALS.length - 1, exporter.logLines.join("\n"));
  const line = exporter.logLines.find((line) => line.includes("reason=host_not_allowed")) ?? "";
  assertMatch(line, /level=WARN msg="Refused request" .* setting=ALLOWED_HOSTS host=evil\.com method=GET$/);
});

Deno.test("createHandlers() checks the host of every request on loopback, by the address of each listener", async () => {
  await using fake = await startFakeOllama();
  for (const [proxy, admin] of [["127.0.0.1", "0.0.0.0"], ["::", "::1"], ["0.0.0.0", "10.0.0.7"]] as const) {
    await using exporter = new ThreeListeners(fake, { bound: { proxy, admin }, allowedHosts: ["ollama.example.com"] });
    const status = async (port: number, host: string, ...headers: string[]): Promise<number> =>
      (await ask(port, "GET /-/healthy", [`Host: ${host}`, ...headers])).status;
    const onLoopback = { combined: proxy === "127.0.0.1", admin: admin === "::1" };
    for (const [name, isStrict] of Object.entries(onLoopback)) {
      const port = exporter.ports[name as keyof Handlers];
      assertEquals(await status(port, "gpu.example.com"), isStrict ? 403 : 200, `${name} of ${proxy} ${admin}`);
      assertEquals(await status(port, "gpu.example.com", "Origin: http://gpu.example.com"), 403);
      for (const host of ["localhost:8000", "10.0.0.7", "ollama.example.com", ""]) {
        assertEquals(await status(port, host), 200, host);
        assertEquals(await status(port, host, "Referer: http://x/"), 200, host);
      }
    }
    const proxied = await ask(exporter.ports.proxy, "GET /api/tags", ["Host: gpu.example.com"]);
    assertEquals(proxied.status, onLoopback.combined ? 403 : 200);
  }
});

Deno.test("createHandlers() accepts an HTTP/1.0 request without Host, as Ollama does", async () => {
  await using fake = await startFakeOllama();
  const bound = { proxy: "127.0.0.1", admin: "127.0.0.1" };
  for (const server of WEB_SERVERS) {
    await using exporter = await startExporterOn(server, fake, { bound });
    using client = await RawClient.connect(exporter.port);
    await client.send("GET /api/version HTTP/1.0\r\n\r\n");
    assertEquals((await client.response("GET")).status, 200, server);
  }
});

/** Sends a GET request over HTTP/2 without TLS, and returns the status of the response. */
async function statusOverHttp2(port: number, headers: Record<string, string>): Promise<number> {
  const session = connect(`http://127.0.0.1:${port}`);
  const status = Promise.withResolvers<number>();
  const request = session.request({ ":path": "/api/version", ...headers });
  request.on("response", (response) => status.resolve(Number(response[":status"])));
  request.on("error", status.reject);
  request.resume();
  try {
    return await status.promise;
  } finally {
    session.destroy();
  }
}

Deno.test("createHandlers() takes the authority of HTTP/2 for the host", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake, { allowedHosts: ["ollama.example.com"] });
  const browser = { "user-agent": "Mozilla/5.0", "accept-language": "en" };
  const rows: [Record<string, string>, number][] = [
    [{ ":authority": "evil.com:8000", ...browser }, 403],
    // It takes precedence over Host (RFC 9113, 8.3.1).
    [{ ":authority": "evil.com:8000", host: "localhost", ...browser }, 403],
    [{ ":authority": "evil.com:8000", "user-agent": "curl/8.0" }, 200],
    [{ ":authority": "ollama.example.com:8000", ...browser }, 200],
    [{ ":authority": "user@localhost" }, 400],
  ];
  for (const [headers, status] of rows) {
    assertEquals(await statusOverHttp2(exporter.port, headers), status, JSON.stringify(headers));
  }
});
