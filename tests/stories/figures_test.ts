/** The values in /metrics are those of Ollama's final message, for all kinds of responses. */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type FakeOllamaOptions, startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, CHAT, Gate, GENERATE, type Scrape, startExporter, until } from "../support/helpers.ts";
import { ask, RawClient } from "../support/raw_client.ts";

const MODEL = { model: "llama3.2:latest" };
const NANOSECONDS_PER_SECOND = 1e9;

/** Metric fields of Ollama's final message. */
interface FinalRecord {
  prompt_eval_count?: number;
  prompt_eval_cached_count?: number;
  eval_count?: number;
  total_duration?: number;
  load_duration?: number;
  prompt_eval_duration?: number;
  eval_duration?: number;
  done_reason?: string;
}

/** A counter or the sum of a histogram, and its expected value; `undefined` if nothing is recorded. */
const FIGURES: Record<string, (record: FinalRecord) => number | undefined> = {
  ollama_tokens_processed_total: (record) => record.prompt_eval_count,
  ollama_tokens_generated_total: (record) => record.eval_count,
  ollama_tokens_cached_total: (record) => record.prompt_eval_cached_count,
  ollama_response_seconds_sum: (record) => seconds(record.total_duration),
  ollama_load_duration_seconds_sum: (record) => seconds(record.load_duration),
  ollama_prompt_eval_duration_seconds_sum: (record) => seconds(record.prompt_eval_duration),
  ollama_eval_duration_seconds_sum: ({ load_duration, eval_duration = 0 }) => load_duration && seconds(eval_duration),
  ollama_tokens_per_second_sum: ({ eval_count = 0, eval_duration }) =>
    eval_count < 2 ? undefined : eval_duration && eval_count / (eval_duration / NANOSECONDS_PER_SECOND),
  ollama_time_per_output_token_seconds_sum: ({ eval_count = 0, eval_duration }) =>
    eval_count < 2 ? undefined : eval_duration && eval_duration / NANOSECONDS_PER_SECOND / eval_count,
  ollama_wait_duration_seconds_sum: ({ total_duration, load_duration, prompt_eval_duration = 0, eval_duration = 0 }) =>
    total_duration && load_duration &&
    seconds(total_duration - load_duration - prompt_eval_duration - eval_duration),
  ollama_request_prompt_tokens_sum: (record) => record.prompt_eval_count,
  ollama_request_generated_tokens_sum: (record) => record.eval_count,
};

function seconds(nanoseconds: number | undefined): number | undefined {
  return nanoseconds === undefined ? undefined : nanoseconds / NANOSECONDS_PER_SECOND;
}

function areThoseOf(record: FinalRecord, metrics: Scrape, name: string): void {
  for (const [metric, figure] of Object.entries(FIGURES)) {
    const expected = figure(record);
    const value = metrics.value(metric, MODEL);
    const message = `${metric} of ${name}: ${value}, not ${expected}`;
    assertAlmostEquals(value ?? -1, expected ?? 0, 1e-9, message);
    if (!metric.endsWith("_sum")) continue;
    assertEquals(metrics.value(metric.replace(/_sum$/, "_count"), MODEL), expected === undefined ? 0 : 1, message);
  }
}

/** Variants of the response. */
const ANSWERS: [string, FakeOllamaOptions][] = [
  ["plain", {}],
  ["one byte at a time", { split: { bytes: 1 } }],
  ["all in one chunk", { split: "all" }],
  ["random chunks", { split: { seed: 7 } }],
  ["tiny packets", { writeBytes: 5 }],
  ["without a final newline", { missingFinalNewline: true }],
  ["random chunks, without a final newline", { split: { seed: 8 }, missingFinalNewline: true }],
  ["thinking", { thinking: 4 }],
  ["tool calls", { toolCalls: [{ name: "f", arguments: { done: true, eval_count: 99 } }], finalText: "" }],
  ["tool calls in the final message", { toolCalls: [{ name: "f", arguments: {} }], toolCallsInFinal: true }],
  ["text in the final message", { finalText: '"done":true,"eval_count":99' }],
  ["text that looks like a final message", {
    words: ['{"done":true,"eval_count":99}\n', '"eval_count":98,"error":"x"'],
  }],
  ["no tokens", { tokens: 0, words: [], outputTokens: 0, evalNs: 0 }],
  ["one token", { tokens: 1, outputTokens: 1, evalNs: 1000 }],
  ["one token of Ollama 0.24", { tokens: 1, outputTokens: 1, evalNs: 0 }],
  ["cached tokens", { cachedTokens: 20 }],
  ["no cached token", { cachedTokens: 0 }],
  ["the whole prompt cached", { cachedTokens: 26, promptEvalNs: 0 }],
  ["truncated", { finishReason: "length" }],
  ["unknown fields", { release: "0.40", extraFields: { eval_counts: 1, nested: { eval_count: 99 } } }],
  ["large values", { promptTokens: 131_072, outputTokens: 2_000_000, evalNs: 3_600_000_000_000, totalNs: 4e12 }],
];

for (const [path, request] of [["/api/chat", CHAT], ["/api/generate", GENERATE]] as const) {
  for (const stream of [true, false]) {
    Deno.test(`createExporter() reads the final message of ${path}, ${stream ? "streamed" : "not streamed"}`, async () => {
      for (const [name, behaviour] of ANSWERS) {
        await using fake = await startFakeOllama(behaviour);
        await using exporter = startExporter(fake);
        // The default of `stream` is true.
        const response = await exporter.post(path, stream ? request : { ...request, stream });
        assertEquals(response.headers.get("content-type")?.includes("ndjson"), stream);
        const record: FinalRecord = JSON.parse((await response.text()).trimEnd().split("\n").at(-1) ?? "");
        const { outcome, firstOutputSeconds, report } = await exporter.observation();
        assertEquals(outcome, "ok", name);
        const metrics = await exporter.scrape();
        areThoseOf(record, metrics, name);
        assertEquals(metrics.value("ollama_requests_total", MODEL), 1, name);
        assertEquals(metrics.value("ollama_usage_missing_total"), 0, name);
        assertEquals(metrics.value("ollama_exporter_parse_errors_total"), 0, name);
        const calls = behaviour.toolCalls?.length;
        assertEquals(metrics.value("ollama_tool_calls_total", MODEL), calls ?? 0, name);
        const reason = calls === undefined ? record.done_reason ?? "" : "tool_calls";
        assertEquals(metrics.value("ollama_finish_reasons_total", { ...MODEL, reason }), 1, name);
        // The time to first token is measured on streams only.
        const hasOutput = stream && name !== "no tokens";
        assertEquals(metrics.value("ollama_time_to_first_token_seconds_count"), hasOutput ? 1 : 0, name);
        assertEquals([firstOutputSeconds !== undefined, report.model], [hasOutput, "llama3.2"], name);
      }
    });
  }
}

Deno.test("createExporter() reads a final line of 2 MB", async () => {
  await using fake = await startFakeOllama({ contextLength: 400_000 });
  await using exporter = startExporter(fake);
  const response = await exporter.post("/api/generate", GENERATE);
  const line = (await response.text()).trimEnd().split("\n").at(-1) ?? "";
  assert(line.length > 2_000_000, `${line.length} characters`);
  await exporter.observation();
  areThoseOf(JSON.parse(line), await exporter.scrape(), "2 MB");
});

Deno.test("createExporter() counts a line of 64 MiB of short strings as a parse error, forwards it, and reads the next line", async () => {
  const piece = '"x",'.repeat(256 * 1024);
  const final =
    '""]}\n{"model":"llama3.2","message":{"content":""},"done":true,"eval_count":3,"eval_duration":1000000000}\n';
  await using fake = await startFakeOllama({
    script: async (request, connection) => {
      if (request.method !== "POST") return;
      await connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
      );
      for (const text of ['{"names":[', ...Array<string>(64).fill(piece), final]) {
        await connection.write(`${text.length.toString(16)}\r\n${text}\r\n`);
      }
      await connection.writeLast("0\r\n\r\n");
    },
  });
  await using exporter = startExporter(fake);
  const response = await exporter.post("/api/chat", CHAT);
  let length = 0;
  let end = "";
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    end = (end + new TextDecoder().decode(chunk)).slice(-final.length);
  }
  assertEquals([length, end], [10 + 64 * 1024 * 1024 + final.length, final]);
  const { outcome, parseErrors, report, responseBytes } = await exporter.observation();
  assertEquals([outcome, parseErrors, report.outputTokens], ["ok", { too_long: 1 }, 3]);
  assertEquals(responseBytes, length);
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_exporter_parse_errors_total", { api: "chat", reason: "too_long" }), 1);
});

Deno.test("createExporter() counts a line of invalid JSON as a parse error, forwards it, and reads the others", async () => {
  await using fake = await startFakeOllama({ fault: { kind: "malformed", afterMessages: 0 } });
  await using exporter = startExporter(fake);
  const direct = await ask(fake.port, "POST /api/chat", [], JSON.stringify(CHAT));
  const response = await ask(exporter.port, "POST /api/chat", [], JSON.stringify(CHAT));
  assertEquals(response.body, direct.body);
  await exporter.observation();
  const metrics = await exporter.scrape();
  assertEquals(metrics.value("ollama_exporter_parse_errors_total", { api: "chat", reason: "invalid_json" }), 1);
  assertEquals(metrics.value("ollama_tokens_generated_total", MODEL), 5);
});

/** Responses that need no token counts, or failed. */
const SPECIAL: [string, unknown, FakeOllamaOptions, Record<string, number | undefined>][] = [
  ["/api/chat", { model: "llama3.2" }, {}, { 'reason="load"': 1, 'outcome="ok"': 1, usage_missing: 0 }],
  ["/api/generate", { model: "llama3.2" }, {}, { 'reason="load"': 1, 'outcome="ok"': 1, usage_missing: 0 }],
  ["/api/generate", { model: "llama3.2", keep_alive: 0 }, {}, { 'reason="unload"': 1, 'outcome="ok"': 1 }],
  ["/api/chat", CHAT, { omitUsage: true }, { 'reason="stop"': 1, 'outcome="ok"': 1, usage_missing: 1 }],
  ["/api/chat", { ...CHAT, stream: false }, { omitUsage: true }, { 'outcome="ok"': 1, usage_missing: 1 }],
  ["/api/chat", CHAT, { fault: { kind: "silent_eof" } }, { 'outcome="incomplete"': 1, usage_missing: 0 }],
  ["/api/chat", { ...CHAT, stream: false }, { fault: { kind: "silent_eof" } }, { 'outcome="incomplete"': 1 }],
  ["/api/chat", CHAT, { fault: { kind: "error" } }, { 'outcome="stream_error"': 1, usage_missing: 0 }],
  ["/api/chat", { ...CHAT, stream: false }, { fault: { kind: "error" } }, { 'outcome="server_error"': 1 }],
];

Deno.test("createExporter() counts missing usage only of responses that should have token counts", async () => {
  for (const [path, request, behaviour, expected] of SPECIAL) {
    await using fake = await startFakeOllama(behaviour);
    await using exporter = startExporter(fake);
    await (await exporter.post(path, request)).text();
    await exporter.observation();
    const metrics = await exporter.scrape();
    const name = `${path} ${JSON.stringify(request)} ${JSON.stringify(behaviour)}`;
    for (const [part, count] of Object.entries(expected)) {
      const [label = "", value] = part.replaceAll('"', "").split("=");
      const metric = { reason: "ollama_finish_reasons_total", outcome: "ollama_request_outcomes_total" }[label];
      const found = metric === undefined
        ? metrics.value("ollama_usage_missing_total")
        : metrics.value(metric, { [label]: value ?? "" });
      assertEquals(found, count, `${part} of ${name}`);
    }
    assertEquals(metrics.value("ollama_tokens_generated_total"), 0, name);
    assertEquals(metrics.value("ollama_tokens_per_second_count") ?? 0, 0, name);
  }
});

Deno.test("createExporter() has buckets beyond 10 s and 100 tokens per second", async () => {
  await using fake = await startFakeOllama({ outputTokens: 9000, evalNs: 45e9, totalNs: 50e9, loadNs: 1e9 });
  await using exporter = startExporter(fake);
  await (await exporter.post("/api/chat", CHAT)).text();
  await exporter.observation();
  const { text } = await exporter.scrape();
  for (const [metric, below, above] of [["ollama_response_seconds", 30, 60], ["ollama_tokens_per_second", 150, 200]]) {
    const counts = [below, above].map((le) =>
      new RegExp(`^${metric}_bucket{le="${le}",.*} (\\d+)`, "m").exec(text)?.[1]
    );
    assertEquals(counts, ["0", "1"], `${metric}`);
  }
});

Deno.test("createExporter() counts a request as in flight until its end, and as waiting until its first byte", async () => {
  await using fake = await startFakeOllama();
  using answer = new Gate();
  using end = new Gate();
  fake.behaviour.script = async (request, connection) => {
    if (request.method !== "POST") return;
    await connection.readBody();
    await answer.opened;
    await connection.write(
      "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    await end.opened;
    await connection.writeLast("0\r\n\r\n");
  };
  await using exporter = startExporter(fake);
  const gauges = async (): Promise<unknown> => {
    const metrics = await exporter.scrape();
    const labels = { ...MODEL, api: "chat" };
    return ["in_flight", "waiting"].map((name) => metrics.value(`ollama_requests_${name}`, labels));
  };
  // The server lists the model, which allows its name as a label.
  using client = await RawClient.connect(exporter.port);
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  await fake.waitForRequest(({ method }) => method === "POST");
  assertEquals(await gauges(), [1, 1]);
  answer.open();
  await client.sees("200 OK");
  assertEquals(await gauges(), [1, 0]);
  assertEquals((await exporter.scrape()).value("ollama_requests_total"), 0);
  end.open();
  assertEquals((await client.response()).end, "complete");
  await until(() => exporter.openRequests.size === 0, "no request is open");
  assertEquals(await gauges(), [0, 0]);
});

Deno.test("createExporter() counts requests and bytes of routes that are not measured", async () => {
  const body = "x".repeat(3000);
  await using fake = await startFakeOllama({
    script: answering(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
  });
  await using exporter = startExporter(fake);
  for (let i = 0; i < 3; i++) await (await exporter.post("/api/show", CHAT)).text();
  await exporter.observation(3);
  const metrics = await exporter.scrape();
  const route = { route: "/api/show" };
  assertEquals(metrics.value("ollama_http_requests_total", { ...route, method: "POST", code: "200" }), 3);
  assertEquals(metrics.value("ollama_http_request_duration_seconds_count", route), 3);
  assertEquals(metrics.value("ollama_http_request_bytes_total", route), 3 * JSON.stringify(CHAT).length);
  assertEquals(metrics.value("ollama_http_response_bytes_total", route), 3 * body.length);
  assertEquals(metrics.value("ollama_requests_total"), 0);
});
