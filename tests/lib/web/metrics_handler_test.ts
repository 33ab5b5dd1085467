/** Content negotiation of the metrics endpoint. */

import { assert, assertEquals } from "@std/assert";
import { CONTENT_TYPES, type Format } from "../../../lib/metrics/registry.ts";
import { faultsOf } from "../../support/exposition.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { CHAT, Gate, Scrape, startExporter, startExporterOn, type TestExporter, until } from "../../support/helpers.ts";
import { ask, RawClient, type RawResponse, valuesOf } from "../../support/raw_client.ts";
import { TestTimers } from "../../support/test_clock.ts";

const PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/** `Accept` headers (`undefined` for none) and the format that they select. */
const ACCEPT: [string, string | undefined, Format][] = [
  [
    "Prometheus 2.42",
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "openMetrics",
  ],
  [
    "Prometheus 2.54 with native histograms",
    `${PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,` +
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "openMetrics",
  ],
  [
    "Prometheus 3",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "openMetrics",
  ],
  ["Prometheus 2.4", "text/plain;version=0.0.4;q=1,*/*;q=0.1", "text"],
  ["VictoriaMetrics", "text/plain;version=0.0.4;q=1,*/*;q=0.1", "text"],
  ["curl", "*/*", "text"],
  ["a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "text"],
  ["no header", undefined, "text"],
  ["an empty header", "", "text"],
  ["OpenMetrics only", "application/openmetrics-text", "openMetrics"],
  ["OpenMetrics without a version", "application/openmetrics-text; q=0.001", "openMetrics"],
  ["text preferred to OpenMetrics", "application/openmetrics-text;q=0.4, text/plain;q=0.5", "text"],
  ["OpenMetrics after text, but preferred", "text/plain;q=0.4, application/openmetrics-text;q=0.5", "openMetrics"],
  ["OpenMetrics before text, same weight", "application/openmetrics-text;q=0.5, text/plain;q=0.5", "openMetrics"],
  ["OpenMetrics after text, same weight", "text/plain, application/openmetrics-text", "text"],
  ["OpenMetrics excluded", "application/openmetrics-text;q=0, */*", "text"],
  [
    "OpenMetrics with whitespace",
    " application/openmetrics-text ; version=1.0.0 ; q=0.9 , */* ; q=0.1",
    "openMetrics",
  ],
  ["any type preferred to OpenMetrics", "*/*, application/openmetrics-text;q=0.5", "text"],
  ["any text type", "text/*", "text"],
  ["unsupported types", "application/json, image/png", "text"],
  ["all types excluded", "*/*;q=0", "text"],
  ["an invalid header", ";;q=,,/,=;q=x,text", "text"],
];

/** Scrapes with these headers. */
async function scrapeWith(exporter: TestExporter, headers: readonly string[], method = "GET"): Promise<RawResponse> {
  return await ask(exporter.port, `${method} /metrics`, headers);
}

/** Detects the format of an exposition by its peculiarities. */
function formatOf(body: string): Format {
  assertEquals(faultsOf(body), []);
  const isOpenMetrics = body.endsWith("\n# EOF\n");
  // OpenMetrics declares a counter without the suffix of its samples.
  assertEquals(body.includes("# TYPE ollama_requests counter\n"), isOpenMetrics);
  assertEquals(body.includes("# HELP ollama_requests Total"), isOpenMetrics);
  assertEquals(body.includes("# TYPE ollama_requests_total counter\n"), !isOpenMetrics);
  assertEquals(body.includes("# TYPE process_cpu_seconds counter\n"), isOpenMetrics);
  assert(body.includes('\nollama_requests_total{model="llama3.2:latest"} 1\n'), body);
  assert(body.includes('\nollama_exporter_upstream_errors_total{reason="connect"} 0\n'), body);
  assert(!body.includes("_total_total") && body.split("# EOF").length === (isOpenMetrics ? 2 : 1), body);
  return isOpenMetrics ? "openMetrics" : "text";
}

Deno.test("serveMetrics() selects the format that the scraper prefers", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await (await exporter.post("/api/chat", CHAT)).text();
  for (const [name, accept, expected] of ACCEPT) {
    const response = await scrapeWith(exporter, accept === undefined ? [] : [`Accept: ${accept}`]);
    assertEquals([response.status, response.end], [200, "complete"], name);
    assertEquals(formatOf(response.body), expected, name);
    assertEquals(valuesOf(response, "content-type"), [CONTENT_TYPES[expected]], name);
    assertEquals(valuesOf(response, "vary").join().split(/, */), ["accept", "accept-encoding"], name);
  }
  assertEquals(CONTENT_TYPES, {
    text: "text/plain; version=0.0.4; charset=utf-8",
    openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  });
});

/** Removes differences between scrapes and between formats. */
function masked(body: string): string {
  return body
    .replace("\n# EOF\n", "\n")
    .replace(/ # {trace_id.*$/gm, "")
    .replace(/^(# (?:HELP|TYPE) \w+?)(_total)? /gm, "$1 ")
    .replace(/^(ollama_exporter_(?:heap|event_loop)\w+(?:{.*})?) .*$/gm, "$1")
    .replace(/^(process_\w+|ollama_exporter_probe_duration_seconds{.*}|ollama_loaded_model_expiry\w+{.*}) .*$/gm, "$1")
    .replaceAll("\n\n", "\n");
}

Deno.test("serveMetrics() names counters correctly in both formats, also in concurrent scrapes", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await (await exporter.post("/api/chat", CHAT)).text();
  const accept = { text: "text/plain", openMetrics: "application/openmetrics-text" };
  const first = masked((await scrapeWith(exporter, [])).body);
  const orders: Format[][] = [
    ["openMetrics", "text", "openMetrics", "openMetrics", "text", "text"],
    ...Array.from({ length: 8 }, (_, i): Format[] => i % 2 ? ["text", "openMetrics"] : ["openMetrics", "text", "text"]),
  ];
  for (const formats of orders) {
    const scrapes = formats.map((format) => scrapeWith(exporter, [`Accept: ${accept[format]}`]));
    const bodies = (await Promise.all(scrapes)).map(({ body }) => body);
    assertEquals(bodies.map(formatOf), formats);
    for (const body of bodies) assertEquals(masked(body), first);
  }
});

/** Decompresses a body given as one character per byte. */
async function gunzip(body: string): Promise<string> {
  const bytes = Uint8Array.from(body, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).text();
}

/** `Accept-Encoding` headers, and whether they select gzip. */
const ACCEPT_ENCODING: [string | undefined, boolean][] = [
  ["gzip", true],
  ["gzip, deflate, br, zstd", true],
  ["br, gzip;q=0.5", true],
  ["deflate;q=0.9, gzip;q=0.1", true],
  ["identity;q=0.5, gzip", true],
  [undefined, false],
  ["", false],
  ["*", false],
  ["br", false],
  ["identity", false],
  ["gzip;q=0", false],
  ["gzip;q=0.5, identity", false],
  ["x;;q=,,=", false],
];

Deno.test("serveMetrics() compresses for scrapers that prefer gzip", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await (await exporter.post("/api/chat", CHAT)).text();
  const plain = await scrapeWith(exporter, []);
  for (const accept of ["text/plain", "application/openmetrics-text"]) {
    for (const [encoding, expected] of ACCEPT_ENCODING) {
      const headers = encoding === undefined ? [] : [`Accept-Encoding: ${encoding}`];
      const response = await scrapeWith(exporter, [`Accept: ${accept}`, ...headers]);
      assertEquals([response.status, response.end], [200, "complete"], encoding);
      assertEquals(valuesOf(response, "content-encoding"), expected ? ["gzip"] : [], encoding);
      const body = expected ? await gunzip(response.body) : response.body;
      assertEquals(masked(body), masked(plain.body), encoding);
      assertEquals(formatOf(body), accept === "text/plain" ? "text" : "openMetrics");
      assertEquals(valuesOf(response, "content-type")[0]?.split(";")[0], accept);
      if (expected) assert(response.body.length < body.length / 2, `${response.body.length} of ${body.length} bytes`);
    }
  }
});

Deno.test("serveMetrics() responds to HEAD with the headers of GET and no body", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  for (const encoding of ["identity", "gzip"]) {
    const headers = [`Accept-Encoding: ${encoding}`, "Accept: application/openmetrics-text", "Connection: close"];
    const get = await scrapeWith(exporter, headers);
    using client = await RawClient.connect(exporter.port);
    await client.request("HEAD /metrics", headers);
    const head = await client.response("HEAD");
    assertEquals([head.status, await client.rest()], [200, ""]);
    for (const name of ["content-type", "content-encoding", "vary", "x-content-type-options"]) {
      assertEquals(valuesOf(head, name), valuesOf(get, name), name);
    }
  }
});

/** Values of the scrape timeout header, and the limit of the probes in milliseconds. */
const SCRAPE_TIMEOUTS: [string | undefined, number][] = [
  ["10", 9500],
  ["1.2", 700],
  ["0.6", 100],
  ["0.3", 100],
  ["0.0001", 100],
  ["1e9", 1e12 - 500],
  ...[undefined, "0", "-1", "", "soon", "NaN", "Infinity", "1, 2"].map((text): [string | undefined, number] => [
    text,
    Infinity,
  ]),
];

/** The header with which Prometheus announces its scrape timeout. */
function scrapeTimeout(seconds: string | undefined): Record<string, string> {
  return seconds === undefined ? {} : { "X-Prometheus-Scrape-Timeout-Seconds": seconds };
}

Deno.test("serveMetrics() reserves half a second of the scrape timeout, and gives the rest to the probes", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const limits: (number | undefined)[] = [];
  const fetchState = exporter.ollama.fetchState.bind(exporter.ollama);
  exporter.ollama.fetchState = (limitMs) => {
    limits.push(limitMs);
    return fetchState();
  };
  for (const [seconds, limitMs] of SCRAPE_TIMEOUTS) {
    const response = await fetch(`${exporter.url}/metrics`, { headers: scrapeTimeout(seconds) });
    await response.body?.cancel();
    assertEquals([response.status, limits.pop()], [200, limitMs], seconds);
  }
});

Deno.test("serveMetrics() does not apply a short scrape timeout to concurrent scrapes", async () => {
  using gate = new Gate();
  await using fake = await startFakeOllama({
    script: async ({ path }) => {
      if (path === "/api/version") await gate.opened;
    },
  });
  await using exporter = startExporter(fake);
  const up = async (seconds: string | undefined): Promise<number | undefined> => {
    const response = await fetch(`${exporter.url}/metrics`, { headers: scrapeTimeout(seconds) });
    return new Scrape(await response.text()).value("ollama_up");
  };
  let calls = 0;
  const fetchState = exporter.ollama.fetchState.bind(exporter.ollama);
  exporter.ollama.fetchState = (limitMs) => {
    calls++;
    return fetchState(limitMs);
  };
  using timers = new TestTimers(125);
  const short = up("0.625");
  await until(() => fake.requestCount === 3, "the server is being probed");
  const patient = up(undefined);
  await until(() => calls === 2, "both scrapes wait");
  timers.fire();
  assertEquals(await short, 0);
  gate.open();
  assertEquals(await patient, 1);
  assertEquals(fake.requestCount, 3);
});

const ERRORS = "ollama_exporter_scrape_errors_total";

for (const server of ["deno", "node"] as const) {
  Deno.test(`serveMetrics() counts scrapes that fail, and no others, over ${server}`, async () => {
    await using fake = await startFakeOllama();
    await using exporter = await startExporterOn(server, fake, { failsInside: true });
    for (const headers of [[], ["Accept-Encoding: gzip"]]) {
      assertEquals((await scrapeWith(exporter, headers)).status, 200);
      assertEquals((await scrapeWith(exporter, headers, "HEAD")).status, 200);
    }
    assertEquals((await exporter.scrape()).value(ERRORS), 0);
    const expose = exporter.metrics.expose.bind(exporter.metrics);
    exporter.metrics.expose = () => Promise.reject(new Error("The registry is broken"));
    assertEquals((await scrapeWith(exporter, [])).status, 502);
    exporter.metrics.expose = expose;
    assertEquals((await exporter.scrape()).value(ERRORS), 1);
    // That of the proxy.
    assertEquals(exporter.proxied, 1);
    exporter.proxied--;
  });
}

for (const server of ["deno", "node"] as const) {
  Deno.test(`serveMetrics() counts scrapes whose client disconnects before the end, over ${server}`, async () => {
    await using fake = await startFakeOllama();
    using gate = new Gate();
    await using exporter = await startExporterOn(server, fake);
    fake.behaviour.script = async (request) => {
      if (request.path === "/api/version") await gate.opened;
    };
    const client = await RawClient.connect(exporter.port);
    await client.request("GET /metrics");
    await until(() => fake.requestCount === 3, "the server is being probed");
    client[Symbol.dispose]();
    gate.open();
    await until(async () => (await exporter.scrape()).value(ERRORS) === 1, "the scrape is counted");
  });

  Deno.test(`serveMetrics() counts scrapes whose client disconnects within the response, over ${server}`, async () => {
    await using fake = await startFakeOllama();
    await using exporter = await startExporterOn(server, fake);
    // More than the kernel buffers.
    exporter.metrics.expose = () => Promise.resolve("#".repeat(32 * 1024 * 1024));
    let errors = 0;
    exporter.metrics.scrapeError = () => void errors++;
    const client = await RawClient.connect(exporter.port);
    await client.request("GET /metrics");
    await client.sees("##");
    client.close();
    await until(() => errors === 1, "the scrape is counted");
  });
}
