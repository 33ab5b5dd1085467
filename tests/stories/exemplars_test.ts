/** Exemplars: the trace id of a request with its observed value, in OpenMetrics only. */

import { assert, assertEquals } from "@std/assert";
import { faultsOf } from "../support/exposition.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, startExporter, type TestExporter } from "../support/helpers.ts";
import { ask } from "../support/raw_client.ts";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`;
/** Histograms with exemplars. */
const TRACED = [
  "ollama_http_request_duration_seconds",
  "ollama_response_seconds",
  "ollama_time_to_first_token_seconds",
];

async function scrape(exporter: TestExporter, accept: string): Promise<string> {
  const { body } = await ask(exporter.port, "GET /metrics", [`Accept: ${accept}`]);
  assertEquals(faultsOf(body), []);
  return body;
}

/** Returns the trace ids of the exemplars in OpenMetrics, by histogram. */
async function exemplars(exporter: TestExporter): Promise<Record<string, string[]>> {
  const body = await scrape(exporter, "application/openmetrics-text");
  const found: Record<string, string[]> = {};
  for (const line of body.split("\n")) {
    const [, name, id] = /^(\w+?)(?:_bucket{.*})? .* # {trace_id="([^"]*)"}/.exec(line) ?? [];
    if (name !== undefined && id !== undefined) (found[name] ??= []).push(id);
    else assert(!line.includes(" # "), line);
  }
  return found;
}

/** Sends a streamed chat with these headers. */
async function chat(exporter: TestExporter, headers: readonly string[]): Promise<void> {
  const { status } = await ask(exporter.port, "POST /api/chat", headers, JSON.stringify(CHAT));
  assertEquals(status, 200);
}

Deno.test("createExporter() exposes the trace id of a request in OpenMetrics only, in its bucket", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  await chat(exporter, []);
  assertEquals(await exemplars(exporter), {});
  const from = Date.now() / 1000;
  await chat(exporter, [`Traceparent: ${TRACEPARENT}`, "Tracestate: vendor=opaque,other=1"]);
  await exporter.observation(2);
  const until = Date.now() / 1000;
  assertEquals(fake.lastRequest().headers("traceparent"), [TRACEPARENT]);
  assertEquals(fake.lastRequest().headers("tracestate"), ["vendor=opaque,other=1"]);
  const found = await exemplars(exporter);
  assertEquals(Object.keys(found).sort(), TRACED);
  for (const ids of Object.values(found)) assertEquals(ids, [TRACE_ID]);
  const body = await scrape(exporter, "application/openmetrics-text");
  for (const [, bound, value, at] of body.matchAll(/le="([^"]*)".* # {.*} (\S+) (\S+)$/gm)) {
    assert(Number(value) <= Number(bound?.replace("+Inf", "Infinity")), `${value} in the bucket up to ${bound}`);
    assert(Number(at) >= from && Number(at) <= until, `${at} lies between ${from} and ${until}`);
  }
  const text = await scrape(exporter, "text/plain");
  assert(!text.includes("trace") && !text.includes(" # "), text);
});

Deno.test("createExporter() keeps the latest exemplar of a bucket if a request without a trace follows", async () => {
  await using fake = await startFakeOllama({ totalNs: 1_000_000 });
  await using exporter = startExporter(fake);
  const second = TRACEPARENT.replace(TRACE_ID, "a".repeat(32));
  await chat(exporter, [`traceparent: ${TRACEPARENT}`]);
  await chat(exporter, [`traceparent: ${second}`]);
  await chat(exporter, []);
  await exporter.observation(3);
  assertEquals((await exemplars(exporter))["ollama_response_seconds"], ["a".repeat(32)]);
});

Deno.test("createExporter() has no exemplar of a request without a valid trace, and forwards its headers", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const refused = [
    "",
    "nonsense",
    TRACE_ID,
    TRACEPARENT.replace(TRACE_ID, "0".repeat(32)),
    TRACEPARENT.replace("00f067aa0ba902b7", "0".repeat(16)),
    TRACEPARENT.toUpperCase(),
    TRACEPARENT.replace("00-", "ff-"),
    TRACEPARENT.replace("00-", ""),
    TRACEPARENT.slice(0, -1),
    `${TRACEPARENT}0`,
    `${TRACEPARENT}-of-another-version`,
    `${TRACEPARENT.replace("00-", "01-")}0`,
    `${TRACEPARENT}, ${TRACEPARENT}`,
    TRACEPARENT.replace("4b", '"}'),
  ];
  for (const value of refused) {
    await chat(exporter, [`traceparent: ${value}`]);
    assertEquals(fake.lastRequest().headers("traceparent"), [value]);
  }
  await exporter.observation(refused.length);
  assertEquals(await exemplars(exporter), {});
  assertEquals(exporter.observations.map(({ traceId }) => traceId).filter((id) => id !== undefined), []);
  // Later versions may append fields (W3C Trace Context, 4.3).
  await chat(exporter, [`traceparent: ${TRACEPARENT.replace("00-", "01-")}-more`]);
  await exporter.observation(refused.length + 1);
  assertEquals((await exemplars(exporter))["ollama_response_seconds"], [TRACE_ID]);
});
