/** Streams whose clients leave before the end: what they got until then is counted, and only that. */

import { assert, assertEquals, assertGreaterOrEqual, fail } from "@std/assert";
import { ENDPOINTS } from "../../lib/reading/endpoints.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { apiRequest } from "../support/api_requests.ts";
import { delay, type Scrape, startExporterOn, type TestExporter } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";

const MODEL = "llama3.2";
const SERVERS = ["deno", "node"] as const;
/** Time for which a client stays after it has all output. Seconds are counted up to its leaving. */
const STAY_MS = 100;

/** A message without output, and one with output, of each API that streams it. */
const MESSAGES: Record<string, { silent: unknown; output: unknown; last: unknown }> = {
  "/api/chat": {
    silent: { model: MODEL, message: { role: "assistant", content: "" }, done: false },
    output: { model: MODEL, message: { role: "assistant", content: "Hi" }, done: false },
    last: { model: MODEL, message: { role: "assistant", content: "LAST" }, done: false },
  },
  "/api/generate": {
    silent: { model: MODEL, response: "", done: false },
    output: { model: MODEL, response: "Hi", done: false },
    last: { model: MODEL, response: "LAST", done: false },
  },
  "/v1/chat/completions": {
    silent: { model: MODEL, choices: [{ index: 0, delta: { role: "assistant" }, finish_reason: null }] },
    output: { model: MODEL, choices: [{ index: 0, delta: { content: "Hi" }, finish_reason: null }] },
    last: { model: MODEL, choices: [{ index: 0, delta: { content: "LAST" }, finish_reason: null }] },
  },
  "/v1/completions": {
    silent: { model: MODEL, choices: [{ index: 0, text: "", finish_reason: null }] },
    output: { model: MODEL, choices: [{ index: 0, text: "Hi", finish_reason: null }] },
    last: { model: MODEL, choices: [{ index: 0, text: "LAST", finish_reason: null }] },
  },
  "/v1/responses": {
    silent: { response: { model: MODEL, status: "in_progress" }, type: "response.created" },
    output: { delta: "Hi", type: "response.output_text.delta" },
    last: { delta: "LAST", type: "response.output_text.delta" },
  },
  "/v1/messages": {
    silent: { type: "message_start", message: { model: MODEL } },
    output: { type: "content_block_delta", delta: { type: "text_delta", text: "Hi" } },
    last: { type: "content_block_delta", delta: { type: "text_delta", text: "LAST" } },
  },
};

/** Chunks of a stream: no output, one message with output, three in one chunk, and half a message before the last. */
function chunksOf(path: string): string[] {
  const { silent, output, last } = MESSAGES[path] ?? fail(path);
  const frame = (message: unknown): string =>
    path.startsWith("/v1/") ? `data: ${JSON.stringify(message)}\n\n` : `${JSON.stringify(message)}\n`;
  const [half, rest] = [frame(output).slice(0, 30), frame(output).slice(30)];
  return [frame(silent), frame(output), frame(output).repeat(3), half, rest + frame(last)];
}
const OUTPUT_MESSAGES = 6;

/** An Ollama that sends the first chunks of a stream, each after the client has had time to get the one before. */
function startOllama(chunks?: number): ReturnType<typeof startFakeOllama> {
  return startFakeOllama({
    script: async ({ method, path }, connection) => {
      if (method !== "POST") return;
      await connection.readBody();
      const type = path.startsWith("/v1/") ? "text/event-stream" : "application/x-ndjson";
      await connection.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`);
      for (const chunk of chunksOf(path).slice(0, chunks)) {
        await connection.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`);
        await connection.sleep(20);
      }
      await connection.sleep(Infinity);
    },
  });
}

/** Sends a request, leaves when the text has come, and scrapes when the request has ended. */
async function abandon(exporter: TestExporter, path: string, { sees, stayMs = 0 }: {
  sees: string;
  stayMs?: number;
}): Promise<Scrape> {
  const endpoint = ENDPOINTS.find(({ route }) => route === path) ?? fail(path);
  const { init: { body } } = apiRequest(endpoint, true);
  const client = await RawClient.connect(exporter.port);
  await client.request(`POST ${path}`, [], body as string);
  await client.sees(sees);
  await delay(stayMs);
  client.close();
  assertEquals((await exporter.observation()).outcome, "client_closed");
  return await exporter.scrape();
}

const [COUNTED, SECONDS] = ["ollama_abandoned_output_messages_total", "ollama_abandoned_seconds_total"];

for (const server of SERVERS) {
  for (const path of Object.keys(MESSAGES)) {
    Deno.test(`An abandoned stream of ${path} is counted by its output, over ${server}`, async () => {
      await using fake = await startOllama();
      await using exporter = await startExporterOn(server, fake, { openaiStreamUsage: true });
      const scrape = await abandon(exporter, path, { sees: "LAST", stayMs: STAY_MS });
      const { api, durationSeconds, firstOutputSeconds = NaN } = await exporter.observation();
      const labels = { model: `${MODEL}:latest`, api: api ?? "" };
      assertEquals([scrape.value(COUNTED, labels), scrape.value(COUNTED)], [OUTPUT_MESSAGES, OUTPUT_MESSAGES]);
      const seconds = scrape.value(SECONDS, labels) ?? NaN;
      assertEquals(seconds, durationSeconds - firstOutputSeconds);
      assertGreaterOrEqual(seconds, STAY_MS / 1000);
      assert(firstOutputSeconds > 0, `${firstOutputSeconds} s`);
      assertEquals(scrape.value("ollama_tokens_generated_total"), 0);
    });
  }

  Deno.test(`A stream that is abandoned before its output counts as no work, over ${server}`, async () => {
    await using fake = await startOllama(1);
    await using exporter = await startExporterOn(server, fake);
    const scrape = await abandon(exporter, "/api/chat", { sees: '"done":false', stayMs: STAY_MS });
    assertEquals([scrape.value(COUNTED), scrape.value(SECONDS)], [0, 0]);
  });

  Deno.test(`A stream that is complete counts as no work for nobody, over ${server}`, async () => {
    await using fake = await startFakeOllama();
    await using exporter = await startExporterOn(server, fake);
    const endpoint = ENDPOINTS[0] ?? fail();
    await (await fetch(exporter.url + endpoint.route, apiRequest(endpoint, true).init)).text();
    const { outcome, outputMessages } = await exporter.observation();
    assertEquals([outcome, outputMessages], ["ok", 5]);
    const scrape = await exporter.scrape();
    assertEquals([scrape.value(COUNTED), scrape.value(SECONDS)], [0, 0]);
  });
}
