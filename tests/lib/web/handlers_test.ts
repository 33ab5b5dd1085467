/** The exporter's own paths, who may ask them and how, and what belongs to Ollama. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { createExporter, type Exporter } from "../../../lib/exporter.ts";
import type { Listener } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { createLog } from "../../../lib/log/log.ts";
import type { Handlers } from "../../../lib/web/handlers.ts";
import { type FakeOllama, startFakeOllama } from "../../fake_ollama/mod.ts";
import { CHAT, PATIENCE_MS, startExporter, type TestExporterOptions } from "../../support/helpers.ts";
import { ask, valuesOf } from "../../support/raw_client.ts";

/** An exporter with a listener for each of its handlers. */
class ThreeListeners implements AsyncDisposable {
  readonly logLines: string[] = [];
  readonly ports: Record<keyof Handlers, number>;
  readonly #exporter: Exporter;
  readonly #listeners: Listener[];

  constructor(upstream: { url: string }, options: TestExporterOptions = {}) {
    this.#exporter = createExporter({
      upstream: new URL(upstream.url),
      version: "0.0.0-test",
      log: createLog({ level: "INFO", format: "text", write: (line) => this.logLines.push(line) }),
      metricsPath: "/metrics",
      modelLimit: 200,
      probeTimeoutMs: PATIENCE_MS,
      openaiStreamUsage: false,
      allowedHosts: [],
      fetch,
      ...options,
    });
    const { both, own, proxied } = this.#exporter.handlers;
    this.#listeners = [both, own, proxied].map((handler) => listen(handler, { hostname: "127.0.0.1", port: 0 }));
    const [first = 0, second = 0, third = 0] = this.#listeners.map(({ address }) => address.port);
    this.ports = { both: first, own: second, proxied: third };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.abort();
    await Promise.all(this.#listeners.map((listener) => listener.shutdown()));
    this.#exporter.close();
  }
}

/** An Ollama that has metrics of its own. */
function startOllamaWithMetrics(): Promise<FakeOllama> {
  const body = "# its own\n";
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return startFakeOllama({
    script: async ({ path }, connection) => {
      if (path !== "/metrics") return;
      await connection.writeLast(answer);
      return true;
    },
  });
}

const OWN_PATHS = ["/metrics", "/-/healthy", "/-/ready"];

Deno.test("createHandlers() answers own paths itself, and Ollama everything else", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake);
  for (
    const path of [...OWN_PATHS, "/metrics?x=1", "/-/ready?", "http://elsewhere/metrics", "http://elsewhere/-/ready"]
  ) {
    const before = fake.requestCount;
    const response = await ask(exporter.ports.both, `GET ${path}`);
    assertEquals([response.status, response.end], [200, "complete"], path);
    assertEquals(valuesOf(response, "x-content-type-options"), ["nosniff"], path);
    const asked = fake.requests.slice(before).map(({ path }) => path);
    assert(asked.every((path) => ["/api/version", "/api/ps", "/api/tags"].includes(path)), `${path}: ${asked}`);
  }
  for (
    const path of ["/", "/metrics/", "/Metrics", "/%6detrics", "//metrics", "/metrics/x", "/-", "/-/x", "/-/healthy/"]
  ) {
    await ask(exporter.ports.both, `GET ${path}`);
    assertEquals(fake.lastRequest().target, path);
  }
});

Deno.test("createHandlers() has a handler of own paths only, which answers 404 for others", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const path of OWN_PATHS) {
    const response = await ask(exporter.ports.own, `GET ${path}`);
    assertEquals(response.status, 200, path);
  }
  const before = fake.requestCount;
  for (const line of ["GET /", "GET /api/version", "POST /api/chat", "GET /metrics/", "DELETE /api/delete"]) {
    const response = await ask(exporter.ports.own, line, [], line.startsWith("POST") ? JSON.stringify(CHAT) : null);
    assertEquals([response.status, response.body], [404, "Not found.\n"], line);
  }
  assertEquals(fake.requestCount, before);
});

Deno.test("createHandlers() has a handler that passes even own paths to Ollama", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake);
  const response = await ask(exporter.ports.proxied, "GET /metrics");
  assertEquals([response.status, response.body], [200, "# its own\n"]);
  for (const path of ["/-/healthy", "/-/ready"]) {
    const answer = await ask(exporter.ports.proxied, `GET ${path}`);
    assertEquals([answer.status, answer.body], [404, "404 page not found"]);
    assertEquals(fake.lastRequest().path, path);
  }
  // What passes there is measured, and seen where the own paths are.
  const { body } = await ask(exporter.ports.own, "GET /metrics");
  assert(body.includes('\nollama_http_requests_total{route="other",method="GET",code="404"} 2\n'), body);
});

Deno.test("createHandlers() serves metrics at their configured path only", async () => {
  await using fake = await startOllamaWithMetrics();
  await using exporter = new ThreeListeners(fake, { metricsPath: "/own/metrics" });
  const own = await ask(exporter.ports.both, "GET /own/metrics");
  assert(own.body.includes("\nollama_up 1\n"));
  assertEquals((await ask(exporter.ports.both, "GET /metrics")).body, "# its own\n");
  assertEquals((await ask(exporter.ports.own, "GET /metrics")).status, 404);
});

Deno.test("createHandlers() answers 405 for methods that own paths do not know, and does not ask Ollama", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const port of [exporter.ports.both, exporter.ports.own]) {
    for (const path of OWN_PATHS) {
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]) {
        const response = await ask(port, `${method} ${path}`, [], method === "POST" ? "x" : null);
        assertEquals([response.status, valuesOf(response, "allow")], [405, ["GET, HEAD"]], `${method} ${path}`);
      }
    }
  }
  assertEquals(fake.requestCount, 0);
});

Deno.test("createHandlers() is healthy while it serves, and ready while Ollama answers", async () => {
  await using fake = await startFakeOllama({ version: "0.40.1" });
  await using exporter = startExporter(fake, { probeTimeoutMs: 1000 });
  const answer = async (path: string) => {
    const { status, body } = await ask(exporter.port, `GET /-/${path}`);
    const head = await ask(exporter.port, `HEAD /-/${path}`);
    assertEquals([head.status, head.body], [status, ""]);
    assertEquals(valuesOf(head, "content-type"), ["text/plain; charset=utf-8"]);
    return [status, body];
  };
  assertEquals(await answer("ready"), [200, "Ready: Ollama 0.40.1 answers.\n"]);
  const reasons: [FakeOllama["behaviour"]["versionProbe"], string][] = [
    [{ status: 500, body: '{"error":"x"}' }, "/api/version: status 500"],
    ["hang", "/api/version: no answer within 1000 ms"],
    [{ body: "{}" }, "/api/version: no version in the answer"],
  ];
  for (const [probe, reason] of reasons) {
    fake.behaviour.versionProbe = probe;
    assertEquals(await answer("ready"), [503, `Not ready: Ollama does not answer: ${reason}\n`]);
    assertEquals(await answer("healthy"), [200, "Healthy.\n"]);
  }
  await fake.close();
  const [status, body] = await answer("ready");
  assertEquals(status, 503);
  assertMatch(String(body), /^Not ready: Ollama does not answer: \/api\/version: [^\n]+\n$/);
  assertEquals(await answer("healthy"), [200, "Healthy.\n"]);
});

Deno.test("createHandlers() lets the guard of own paths refuse, and asks it for nothing else", async () => {
  await using fake = await startFakeOllama();
  const guarded: (string | null)[] = [];
  await using exporter = new ThreeListeners(fake, {
    guard: async ({ headers }) => {
      guarded.push(headers.get("x-path"));
      await Promise.resolve();
      return headers.get("authorization") === "let me in" ? undefined : new Response("Who are you?", { status: 401 });
    },
  });
  for (const port of [exporter.ports.both, exporter.ports.own]) {
    for (const path of OWN_PATHS) {
      const refused = await ask(port, `GET ${path}`, [`x-path: ${path}`]);
      assertEquals([refused.status, refused.body], [401, "Who are you?"], path);
      const allowed = await ask(port, `GET ${path}`, [`x-path: ${path}`, "authorization: let me in"]);
      assertEquals(allowed.status, 200, path);
    }
  }
  assertEquals(guarded.length, 12);
  for (const [port, path] of [["both", "/api/tags"], ["proxied", "/api/tags"], ["own", "/api/tags"]] as const) {
    const { status } = await ask(exporter.ports[port], `GET ${path}`);
    assertEquals(status, port === "own" ? 404 : 200);
  }
  assertEquals(guarded.length, 12);
});

Deno.test("createHandlers() answers 502, logs and counts where its own code throws", async () => {
  await using fake = await startFakeOllama();
  let isFailing = true;
  await using exporter = new ThreeListeners(fake, {
    guard: () => {
      if (isFailing) throw new Error("The guard is broken");
      return undefined;
    },
  });
  const { status, body } = await ask(exporter.ports.both, "GET /metrics");
  assertEquals([status, JSON.parse(body)], [502, { error: "ollama-exporter: internal error; see its log." }]);
  assertEquals(exporter.logLines.length, 1);
  assertMatch(exporter.logLines[0] ?? "", /level=ERROR msg="Internal error" error="Error: The guard is broken" stack=/);
  isFailing = false;
  const scrape = await ask(exporter.ports.own, "GET /metrics");
  assert(scrape.body.includes("\nollama_exporter_internal_errors_total 1\n"));
});

Deno.test("createHandlers() refuses a Host that would change the path, and methods for other proxies", async () => {
  await using fake = await startFakeOllama();
  await using exporter = new ThreeListeners(fake);
  for (const port of Object.values(exporter.ports)) {
    for (const host of ["x/api/delete?", "x/metrics#", "a b", "x@y", "x\\y", "é", "x,y", "[::1]/x", "x%2f"]) {
      const { status } = await ask(port, "GET /api/tags", [`Host: ${host}`]);
      assertEquals(status, 400, host);
    }
    assertEquals((await ask(port, "TRACE /api/tags")).status, 501);
    assertEquals((await ask(port, "CONNECT localhost:443")).status, 501);
  }
  assertEquals(fake.requestCount, 0);
});
