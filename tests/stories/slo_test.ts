/** Requests within the latency objectives, and those that count for them, over real sockets. */

import { assertEquals } from "@std/assert";
import type { Slo } from "../../lib/metrics/latency_metrics.ts";
import type { Outcome } from "../../lib/observation.ts";
import { type FakeBehaviour, type Script, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, type Scrape, startExporterOn, type TestExporter } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";

const HOUR_MS = 3_600_000;
const NO_OBJECTIVE = { firstTokenMs: undefined, perTokenMs: undefined };

/** Time before the first output. */
const SILENCE_MS = 300;

/** A stream whose first output comes late, and whose 5 tokens took 500 ms. */
const LATE: Script = async ({ method }, connection) => {
  if (method !== "POST") return;
  await connection.readBody();
  await connection.write("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n");
  await connection.sleep(SILENCE_MS);
  await connection.write('{"model":"llama3.2","message":{"content":"Hi"},"done":false}\n');
  await connection.write(
    '{"model":"llama3.2","message":{"content":""},"done":true,"done_reason":"stop","eval_count":5,' +
      '"eval_duration":500000000,"load_duration":1,"total_duration":800000000}\n',
  );
  connection.close();
};

function countsOf(scrape: Scrape): (number | undefined)[] {
  return ["ollama_requests_within_slo_total", "ollama_requests_slo_eligible_total"].map((name) => scrape.value(name));
}

/** Objectives, and whether the stream is within them. */
const OBJECTIVES: [Partial<Slo>, counts: (number | undefined)[]][] = [
  [{}, [undefined, undefined]],
  [{ firstTokenMs: HOUR_MS }, [1, 1]],
  [{ firstTokenMs: SILENCE_MS / 2 }, [0, 1]],
  [{ perTokenMs: 100 }, [1, 1]],
  [{ perTokenMs: 99 }, [0, 1]],
  [{ firstTokenMs: HOUR_MS, perTokenMs: 100 }, [1, 1]],
  [{ firstTokenMs: SILENCE_MS / 2, perTokenMs: 100 }, [0, 1]],
  [{ firstTokenMs: HOUR_MS, perTokenMs: 99 }, [0, 1]],
];

for (const server of ["deno", "node"] as const) {
  Deno.test(`A stream is within both objectives or not, over ${server}`, async () => {
    await using fake = await startFakeOllama({ script: LATE });
    for (const [slo, counts] of OBJECTIVES) {
      await using exporter = await startExporterOn(server, fake, { slo: { ...NO_OBJECTIVE, ...slo } });
      await (await exporter.post("/api/chat", CHAT)).text();
      await exporter.observation();
      assertEquals(countsOf(await exporter.scrape()), counts, JSON.stringify(slo));
    }
  });
}

const OPENAI = "/v1/chat/completions";
const NO_STREAM = { ...CHAT, stream: false };
const STREAM = { ...CHAT, stream: true };
const FAILING = { status: 500 };

type Case = [path: string, body: unknown, behaviour: Partial<FakeBehaviour>, outcome: Outcome, isEligible: boolean];

/** Requests, and whether they count. */
const CASES: Case[] = [
  ["/api/chat", CHAT, {}, "ok", true],
  ["/api/chat", NO_STREAM, {}, "ok", false],
  [OPENAI, STREAM, {}, "ok", true],
  [OPENAI, CHAT, {}, "ok", false],
  ["/api/embed", { model: "nomic-embed-text", input: "a", stream: true }, {}, "ok", false],
  // Failures before a response: what the request asks for.
  ["/api/chat", CHAT, FAILING, "server_error", true],
  ["/api/chat", { ...CHAT, stream: null }, FAILING, "server_error", true],
  ["/api/chat", NO_STREAM, FAILING, "server_error", false],
  [OPENAI, STREAM, FAILING, "server_error", true],
  [OPENAI, CHAT, FAILING, "server_error", false],
  ["/v1/messages", { ...STREAM, max_tokens: 9 }, FAILING, "server_error", true],
  ["/api/chat", "no JSON", FAILING, "server_error", false],
  ["/api/embed", { model: "nomic-embed-text", input: "a", stream: true }, FAILING, "server_error", false],
  ["/api/chat", { ...CHAT, model: "missing" }, {}, "client_error", false],
  ["/api/chat", CHAT, { fault: { kind: "no_answer" } }, "upstream_unreachable", true],
  ["/api/chat", NO_STREAM, { fault: { kind: "no_answer" } }, "upstream_unreachable", false],
  // Failures within one.
  ["/api/chat", CHAT, { fault: { kind: "error" } }, "stream_error", true],
  ["/api/chat", CHAT, { fault: { kind: "silent_eof" } }, "incomplete", true],
  ["/api/chat", CHAT, { fault: { kind: "reset" } }, "upstream_broken", true],
  ["/api/chat", NO_STREAM, { fault: { kind: "reset" } }, "upstream_broken", false],
];

/** Sends a request, whatever becomes of it, and returns how it ended. */
async function send(exporter: TestExporter, path: string, body: unknown): Promise<Outcome> {
  await exporter.post(path, body).then((response) => response.text()).catch(() => {});
  return (await exporter.observation()).outcome;
}

for (const [path, body, behaviour, outcome, isEligible] of CASES) {
  const what = JSON.stringify({ ...behaviour, stream: (body as { stream?: unknown }).stream });
  Deno.test(`A request to ${path} that ends ${outcome} counts ${isEligible ? "" : "not "}as eligible: ${what}`, async () => {
    await using fake = await startFakeOllama(behaviour);
    for (const server of ["deno", "node"] as const) {
      await using exporter = await startExporterOn(server, fake, { slo: { ...NO_OBJECTIVE, firstTokenMs: HOUR_MS } });
      assertEquals(await send(exporter, path, body), outcome, server);
      const [within = 0, eligible = 0] = countsOf(await exporter.scrape());
      assertEquals([within, eligible], [isEligible && outcome === "ok" ? 1 : 0, isEligible ? 1 : 0], server);
    }
  });
}

Deno.test("A stream whose client leaves does not count", async () => {
  await using fake = await startFakeOllama({ fault: { kind: "stall" } });
  await using exporter = await startExporterOn("node", fake, { slo: { ...NO_OBJECTIVE, firstTokenMs: HOUR_MS } });
  const client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  await client.sees(" there");
  client.close();
  assertEquals((await exporter.observation()).outcome, "client_closed");
  assertEquals(countsOf(await exporter.scrape()), [0, 0]);
});
