/** One request to each API, streamed and not, and exactly the values that it adds to /metrics. */

import { assert, assertEquals } from "@std/assert";
import type { Api, FinishReason } from "../../lib/observation.ts";
import { type Endpoint, ENDPOINTS } from "../../lib/reading/endpoints.ts";
import { type ApiRequest, apiRequest, apiRequests } from "../support/api_requests.ts";
import { type FakeBehaviour, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { type Scrape, startExporter, until } from "../support/helpers.ts";

/** Metric values of one model and API; missing if there is none, or nothing was recorded. Durations are in seconds. */
interface Figures {
  readonly prompt?: number;
  readonly output?: number;
  readonly cached?: number;
  readonly load?: number;
  readonly promptEval?: number;
  readonly eval?: number;
  readonly total?: number;
  readonly wait?: number;
  readonly perToken?: number;
  readonly toolCalls?: number;
  readonly usageMissing?: number;
  readonly finish?: FinishReason;
}

/** For each value, its metric and whether that has an `api` label. */
const METRICS: Record<Exclude<keyof Figures, "finish">, readonly [name: string, byApi?: true]> = {
  prompt: ["ollama_tokens_processed_total"],
  output: ["ollama_tokens_generated_total"],
  cached: ["ollama_tokens_cached_total"],
  load: ["ollama_load_duration_seconds_sum"],
  promptEval: ["ollama_prompt_eval_duration_seconds_sum"],
  eval: ["ollama_eval_duration_seconds_sum"],
  total: ["ollama_response_seconds_sum"],
  wait: ["ollama_wait_duration_seconds_sum"],
  perToken: ["ollama_time_per_output_token_seconds_sum", true],
  toolCalls: ["ollama_tool_calls_total", true],
  usageMissing: ["ollama_usage_missing_total", true],
};

const DURATIONS = { load: 0.052, promptEval: 0.13, eval: 0.041, total: 0.25, wait: 0.027, perToken: 0.0082 };
const NATIVE: Figures = { prompt: 26, output: 5, ...DURATIONS, finish: "stop" };
const COUNTS: Figures = { prompt: 26, output: 5, finish: "stop" };

/**
 * Values of the default response. Durations that the API does not report, and the exporter measures, are not compared.
 */
const EXPECTED: Record<Api, Figures> = {
  chat: NATIVE,
  generate: NATIVE,
  embed: { prompt: 26, load: 0.052, total: 0.065124417 },
  embeddings: {},
  openai_chat: COUNTS,
  openai_completions: COUNTS,
  openai_embeddings: { prompt: 26 },
  openai_responses: COUNTS,
  openai_transcriptions: {},
  anthropic_messages: COUNTS,
};

/** Values of a response of release 0.40 to a prompt with 20 cached tokens. */
const TIMINGS = { promptEval: 0.13, eval: 0.041, perToken: 0.0082 };
const EXPECTED_LATER: Record<Api, Figures> = {
  ...EXPECTED,
  chat: { ...NATIVE, cached: 20 },
  generate: { ...NATIVE, cached: 20 },
  openai_chat: { ...COUNTS, ...TIMINGS, cached: 20 },
  openai_completions: { ...COUNTS, cached: 20 },
  openai_responses: { ...COUNTS, cached: 20 },
  anthropic_messages: { ...COUNTS, cached: 20 },
};

/** Model labels of the APIs that are not sent to the default model. The model in a form is not read. */
const MODEL: Partial<Record<Api, string>> = {
  embed: "nomic-embed-text:latest",
  embeddings: "nomic-embed-text:latest",
  openai_embeddings: "nomic-embed-text:latest",
  openai_transcriptions: "unknown",
};

function modelOf(api: Api): string {
  return MODEL[api] ?? "llama3.2:latest";
}

function figuresOf(scrape: Scrape, api: Api, expected: Figures): Figures {
  const model = modelOf(api);
  const found: Record<string, unknown> = {};
  for (const [figure, [name, byApi]] of Object.entries(METRICS)) {
    const labels = byApi ? { model, api } : { model };
    const value = scrape.value(name, labels);
    const count = scrape.value(name.replace(/_sum$/, "_count"), labels) ?? 0;
    // Values measured by the exporter are present, too.
    const isOurs = figure === "total" || figure === "perToken" && expected.eval === undefined;
    if (!value || count === 0 || isOurs && expected[figure as keyof Figures] === undefined) continue;
    found[figure] = Number(value.toFixed(9));
  }
  const reasons = scrape.labelValues("reason").filter((reason) =>
    (scrape.value("ollama_finish_reasons_total", { model, api, reason }) ?? 0) > 0
  );
  if (reasons.length > 0) found["finish"] = reasons.join();
  return found;
}

/** Sends one request through a new exporter, and returns the metrics after it. */
async function ask(fake: FakeOllama, { endpoint, init }: ApiRequest): Promise<{ scrape: Scrape; bytes: number }> {
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  const response = await fetch(exporter.url + endpoint.route, init);
  const bytes = (await response.bytes()).length;
  assertEquals(response.status, 200);
  await exporter.observation();
  return { scrape: await exporter.scrape(), bytes };
}

async function compare(fake: FakeOllama, request: ApiRequest, expected: Figures): Promise<Scrape> {
  const { api } = request.endpoint;
  assert(api !== undefined);
  const { scrape } = await ask(fake, request);
  assertEquals(figuresOf(scrape, api, expected), expected, request.name);
  return scrape;
}

const INFERENCE = ENDPOINTS.filter((endpoint): endpoint is Endpoint & { api: Api } => endpoint.api !== undefined);
/** Requests to APIs that generate text. */
const GENERATING = INFERENCE.filter(({ api }) => EXPECTED[api].finish !== undefined);

for (const request of apiRequests()) {
  const { endpoint: { route, api }, streamed, init } = request;
  if (api === undefined) continue;
  Deno.test(`createExporter() measures a request to ${request.name}`, async () => {
    await using fake = await startFakeOllama();
    const scrape = await compare(fake, request, EXPECTED[api]);
    const labels = { model: modelOf(api), api };
    assertEquals(scrape.value("ollama_requests_total", { model: modelOf(api) }), 1);
    assertEquals(scrape.value("ollama_requests_total"), 1);
    assertEquals(scrape.value("ollama_request_outcomes_total", { ...labels, outcome: "ok" }), 1);
    assertEquals(scrape.value("ollama_request_outcomes_total"), 1);
    assertEquals(scrape.value("ollama_response_seconds_count"), 1);
    const hasTokens = streamed && api !== "openai_transcriptions";
    assertEquals(scrape.value("ollama_time_to_first_token_seconds_count", labels) ?? 0, hasTokens ? 1 : 0);
    assertEquals(scrape.value("ollama_requests_in_flight"), 0);
    assertEquals(scrape.value("ollama_exporter_parse_errors_total"), 0);
    assertEquals(scrape.value("ollama_http_requests_total", { route, method: "POST", code: "200" }), 1);
    assertEquals(scrape.value("ollama_http_requests_total"), 1);
    if (typeof init.body !== "string") return;
    assertEquals(scrape.value("ollama_http_request_bytes_total", { route }), init.body.length);
  });

  Deno.test(`createExporter() reads cached tokens and timings of release 0.40: ${request.name}`, async () => {
    await using fake = await startFakeOllama({ release: "0.40", cachedTokens: 20 });
    await compare(fake, request, EXPECTED_LATER[api]);
  });
}

Deno.test("createExporter() counts the bytes sent to the client, without those hidden from it", async () => {
  await using fake = await startFakeOllama();
  for (const request of apiRequests()) {
    const { scrape, bytes } = await ask(fake, request);
    const { route } = request.endpoint;
    assertEquals(scrape.value("ollama_http_response_bytes_total", { route }), bytes, request.name);
  }
});

/** Responses, and the `reason` label of each. */
const ENDS: { name: string; behaviour: Partial<FakeBehaviour>; reason: FinishReason }[] = [
  { name: "truncated", behaviour: { finishReason: "length" }, reason: "length" },
  {
    name: "with tool calls",
    behaviour: { toolCalls: [{ name: "f", arguments: {} }, { name: "g", arguments: { a: 1 } }] },
    reason: "tool_calls",
  },
];
/** `/v1/completions` has no tools. `/v1/responses` reports `completed` even if the output was truncated. */
const OTHER_ENDS: Record<string, FinishReason> = {
  "openai_completions with tool calls": "stop",
  "openai_responses truncated": "stop",
};

for (const { name, behaviour, reason } of ENDS) {
  Deno.test(`createExporter() uses the same finish reason for all APIs: responses ${name}`, async () => {
    await using fake = await startFakeOllama(behaviour);
    for (const endpoint of GENERATING) {
      for (const streamed of [false, true]) {
        const { api, route } = endpoint;
        const { scrape } = await ask(fake, apiRequest(endpoint, streamed));
        const expected = OTHER_ENDS[`${api} ${name}`] ?? reason;
        assertEquals(figuresOf(scrape, api, {}).finish, expected, route);
        const calls = expected === "tool_calls" ? 2 : 0;
        assertEquals(scrape.value("ollama_tool_calls_total", { model: "llama3.2:latest", api }) ?? 0, calls, route);
      }
    }
  });
}

Deno.test("createExporter() counts each tool call once if it is in the last message", async () => {
  const toolCalls = [{ name: "f", arguments: {} }, { name: "g", arguments: {} }];
  await using fake = await startFakeOllama({ toolCalls, toolCallsInFinal: true });
  for (const endpoint of INFERENCE.filter(({ route }) => ["/api/chat", "/v1/chat/completions"].includes(route))) {
    const { scrape } = await ask(fake, apiRequest(endpoint, true));
    assertEquals(scrape.value("ollama_tool_calls_total"), 2, endpoint.route);
  }
});

/** Requests that only load or unload a model. */
const LOADS: { route: string; changes: Record<string, unknown>; reason?: FinishReason }[] = [
  { route: "/api/chat", changes: { messages: [] }, reason: "load" },
  { route: "/api/chat", changes: { messages: [], keep_alive: 0 }, reason: "unload" },
  { route: "/api/generate", changes: { prompt: "" }, reason: "load" },
  { route: "/api/generate", changes: { prompt: "", keep_alive: 0 }, reason: "unload" },
  { route: "/api/embed", changes: { input: [] } },
];

for (const { route, changes, reason } of LOADS) {
  Deno.test(`createExporter() expects no usage when a model is loaded: ${route} with ${JSON.stringify(changes)}`, async () => {
    await using fake = await startFakeOllama();
    const endpoint = INFERENCE.find((endpoint) => endpoint.route === route);
    assert(endpoint !== undefined);
    const expected = reason === undefined ? {} : { finish: reason };
    await compare(fake, apiRequest(endpoint, reason !== undefined, changes), expected);
  });
}

Deno.test("createExporter() counts missing usage for each API that should report it", async () => {
  await using fake = await startFakeOllama({ omitUsage: true });
  for (const request of apiRequests()) {
    const { api } = request.endpoint;
    if (api === undefined) continue;
    const { scrape } = await ask(fake, request);
    const missing = EXPECTED[api].prompt === undefined ? 0 : 1;
    assertEquals(scrape.value("ollama_usage_missing_total", { model: modelOf(api), api }) ?? 0, missing, request.name);
    assertEquals(scrape.value("ollama_tokens_processed_total"), 0);
  }
});

/** Responses of unknown routes, with the tokens and the model that they report. */
const UNKNOWN: Record<string, { type?: string; body: string; model?: string; tokens?: [number, number] }> = {
  "/v1/systemone": {
    body: '{"model":"llama3.2","answers":["yes"],"usage":{"input_tokens":7,"output_tokens":2}}',
    model: "llama3.2:latest",
    tokens: [7, 2],
  },
  "/v1/other?a=1": {
    body: '{"model":"new","usage":{"prompt_tokens":7,"completion_tokens":2}}',
    model: "new:latest",
    tokens: [7, 2],
  },
  "/v1/responses/compact": {
    body: '{"object":"response.compaction","usage":{"input_tokens":7,"output_tokens":2}}',
    model: "unknown",
    tokens: [7, 2],
  },
  "/v1/nothing": { body: '{"model":"llama3.2"}' },
  "/v1/broken": { body: '{"model":"llama3.2","usage":' },
  "/v1/odd": { body: '{"usage":{"input_tokens":"7","output_tokens":-2}}' },
  "/v1/text": { type: "text/plain", body: '{"model":"llama3.2","usage":{"input_tokens":7}}' },
  "/v2/other": { body: '{"model":"llama3.2","usage":{"input_tokens":7,"output_tokens":2}}' },
};

for (const [target, { type = "application/json", body, model = "", tokens }] of Object.entries(UNKNOWN)) {
  Deno.test(`createExporter() counts the tokens of unknown routes under /v1/ that report them: ${target}`, async () => {
    await using fake = await startFakeOllama({
      script: async ({ path }, connection) => {
        if (path.startsWith("/api/")) return;
        const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
        await connection.write(head + body);
      },
    });
    await using exporter = startExporter(fake);
    const response = await exporter.post(target, { model: "llama3.2", state: 1 });
    assertEquals(await response.text(), body);
    await exporter.observation();
    const scrape = await exporter.scrape();
    const value = (name: string) => scrape.value(name, tokens && { model });
    assertEquals(value("ollama_tokens_processed_total"), tokens?.[0] ?? 0);
    assertEquals(value("ollama_tokens_generated_total"), tokens?.[1] ?? 0);
    assertEquals(scrape.value("ollama_requests_total"), 0);
    assertEquals(scrape.value("ollama_http_requests_total", { route: "other", code: "200" }), 1);
  });
}

Deno.test("createExporter() labels open requests with the model, or unknown if it is not listed", async () => {
  const gate = Promise.withResolvers<void>();
  await using fake = await startFakeOllama({
    script: ({ method }) => method === "POST" ? gate.promise : Promise.resolve(),
  });
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  const measured = apiRequests().filter(({ endpoint }) => endpoint.api !== undefined);
  const sent = measured.map(({ endpoint, init }) => fetch(exporter.url + endpoint.route, init));
  sent.push(exporter.post("/api/chat", { model: "never/heard:of", messages: [] }));
  await until(() => fake.requests.length === sent.length, "all requests have arrived");
  const scrape = await exporter.scrape();
  gate.resolve();
  for (const response of await Promise.all(sent)) await response.body?.cancel();
  await exporter.observation(sent.length);
  for (const metric of ["ollama_requests_in_flight", "ollama_requests_waiting"]) {
    assertEquals(scrape.value(metric), sent.length);
    for (const { api } of INFERENCE) {
      const open = measured.filter(({ endpoint }) => endpoint.api === api).length;
      assertEquals(scrape.value(metric, { model: modelOf(api), api }), open, `${metric} ${api}`);
    }
    assertEquals(scrape.value(metric, { model: "unknown", api: "chat" }), 1);
  }
  const later = await exporter.scrape();
  assertEquals(later.value("ollama_requests_in_flight", { model: "llama3.2:latest", api: "chat" }), 0);
  assertEquals(later.value("ollama_requests_in_flight"), 0);
  assert(!later.labelValues("model").some((model) => model.includes("never")));
});

Deno.test("createExporter() counts a request as in flight, but not as waiting, once its response has begun", async () => {
  await using fake = await startFakeOllama({ fault: { kind: "stall", afterMessages: 2 } });
  await using exporter = startExporter(fake, { openaiStreamUsage: true });
  for (const endpoint of GENERATING) {
    const response = await fetch(exporter.url + endpoint.route, apiRequest(endpoint, true).init);
    const scrape = await exporter.scrape();
    const labels = { model: "llama3.2:latest", api: endpoint.api };
    assertEquals(scrape.value("ollama_requests_in_flight", labels), 1, endpoint.route);
    assertEquals(scrape.value("ollama_requests_waiting", labels), 0, endpoint.route);
    await response.body?.cancel();
  }
});
