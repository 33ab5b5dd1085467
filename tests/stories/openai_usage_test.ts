/** Usage requested by the exporter, over real sockets: it is counted, and invisible to the client. */

import { assert, assertEquals } from "@std/assert";
import { zstdCompressSync } from "node:zlib";
import { type FakeBehaviour, type FakeOllama, type RecordedRequest, startFakeOllama } from "../fake_ollama/mod.ts";
import { startExporter, type TestExporter } from "../support/helpers.ts";
import { RawClient, type RawResponse, valuesOf } from "../support/raw_client.ts";

const MEBIBYTE = 1024 * 1024;

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const ROUTES = { [CHAT]: "openai_chat", [COMPLETIONS]: "openai_completions" };
type Route = keyof typeof ROUTES;

/** Members of a streamed request, without `stream_options`. */
const REQUEST: Record<Route, string> = {
  [CHAT]: '"model":"llama3.2","messages":[{"role":"user","content":"Hello"}],"stream":true',
  [COMPLETIONS]: '"model":"llama3.2","prompt":"Hello","stream":true',
};

/** A fake Ollama, and in front of it an exporter that requests usage. */
class Stage implements AsyncDisposable {
  readonly fake: FakeOllama;
  readonly exporter: TestExporter;

  private constructor(fake: FakeOllama, openaiStreamUsage: boolean) {
    this.fake = fake;
    this.exporter = startExporter(fake, { openaiStreamUsage });
  }

  static async set(behaviour: Partial<FakeBehaviour> = {}, openaiStreamUsage = true): Promise<Stage> {
    return new Stage(await startFakeOllama({ startMs: 0, ...behaviour }), openaiStreamUsage);
  }

  /** Sends the same request to the fake directly and through the exporter. */
  async both(route: Route, body: string | Uint8Array, headers: readonly string[] = []): Promise<Both> {
    const [direct, through] = [await post(this.fake.port, route, body, headers), this.fake.requests.length];
    const response = await post(this.exporter.port, route, body, headers);
    const request = this.fake.requests[through];
    assert(request !== undefined);
    await request.ended;
    return { direct, through: response, request };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exporter[Symbol.asyncDispose]();
    await this.fake.close();
  }
}

interface Both {
  readonly direct: RawResponse;
  readonly through: RawResponse;
  /** Request that the exporter sent. */
  readonly request: RecordedRequest;
}

async function post(
  port: number,
  route: string,
  body: string | Uint8Array,
  headers: readonly string[] = [],
): Promise<RawResponse> {
  using client = await RawClient.connect(port);
  await client.request(`POST ${route}`, headers, body);
  return await client.response();
}

/** Asserts that the client sees the same. */
function assertSame({ direct, through }: Both): void {
  assertEquals(through.body, direct.body);
  assertEquals([through.status, through.end], [direct.status, direct.end]);
  assertEquals(valuesOf(through, "content-type"), valuesOf(direct, "content-type"));
  // With a length or chunked, as without the exporter.
  assertEquals(through.chunks.length > 0, direct.chunks.length > 0);
}

/** Returns a chunked body with chunks of the given size, and its header. */
function inChunks(body: string, size: number): { body: string; headers: string[] } {
  let text = "";
  for (let at = 0; at < body.length; at += size) {
    const chunk = body.slice(at, at + size);
    text += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
  }
  return { body: `${text}0\r\n\r\n`, headers: ["Transfer-Encoding: chunked"] };
}

/** Options in the request, and whether the client requests usage with them. */
const OPTIONS: Record<string, { options: string; asks?: boolean }> = {
  "no stream_options": { options: "" },
  "stream_options null": { options: ',"stream_options":null' },
  "stream_options {}": { options: ',"stream_options":{}' },
  "include_usage false": { options: ',"stream_options":{"include_usage":false}' },
  "include_usage null among others": { options: ',"Stream_Options":{"x":1,"include_usage":null}' },
  "include_usage true": { options: ',"stream_options":{"include_usage":true}', asks: true },
};

for (const route of [CHAT, COMPLETIONS] as const) {
  for (const [name, { options, asks = false }] of Object.entries(OPTIONS)) {
    Deno.test(`createProxy() responds to a client with ${name} as Ollama does: ${route}`, async () => {
      await using stage = await Stage.set();
      const body = `{${REQUEST[route]}${options}}`;
      const chunked = inChunks(body, 7);
      for (const [sent, headers] of [[body, []], [chunked.body, chunked.headers]] as const) {
        const both = await stage.both(route, sent, headers);
        assertSame(both);
        assertEquals(both.direct.body.includes('"usage"'), asks);
        assertUpstream(both.request, body, asks);
        const known = headers.length === 0;
        const { text } = both.request;
        assertEquals(both.request.header("content-length"), known ? String(text.length) : undefined);
        assertEquals(both.request.header("transfer-encoding"), known ? undefined : "chunked");
      }
      await assertFigures(stage, route, 2);
    });
  }
}

/** Asserts that the exporter sent the client's request, with usage requested unless the client did. */
function assertUpstream({ text }: RecordedRequest, body: string, asks: boolean): void {
  if (asks) return assertEquals(text, body);
  const { stream_options: options, Stream_Options: Options, ...rest } = JSON.parse(text);
  assertEquals((options ?? Options).include_usage, true);
  const { stream_options: _, Stream_Options: __, ...wanted } = JSON.parse(body);
  assertEquals(rest, wanted);
}

/** Asserts the number of requests that were answered and whose tokens were counted. */
async function assertFigures({ exporter }: Stage, route: Route, requests: number): Promise<void> {
  await exporter.observation(requests);
  const scrape = await exporter.scrape();
  const labels = { model: "llama3.2:latest" };
  const api = ROUTES[route];
  assertEquals(scrape.value("ollama_request_outcomes_total", { ...labels, api, outcome: "ok" }), requests);
  assertEquals(scrape.value("ollama_tokens_processed_total", labels), 26 * requests);
  assertEquals(scrape.value("ollama_tokens_generated_total", labels), 5 * requests);
  assertEquals(scrape.value("ollama_usage_missing_total", { ...labels, api }) ?? 0, 0);
  assertEquals(scrape.value("ollama_exporter_parse_errors_total"), 0);
}

/** Variants of Ollama's response. */
const BEHAVIOURS: Record<string, Partial<FakeBehaviour>> = {
  "thinking": { thinking: 3 },
  "tool calls": { toolCalls: [{ name: "f", arguments: { usage: {}, choices: [] } }] },
  "the fields of release 0.40": { release: "0.40", cachedTokens: 20 },
  "text about usage": { words: ['"choices":[]', '"usage":{"total_tokens":0}', "data: [DONE]\n\n"] },
  "no output": { tokens: 0 },
  "one chunk for all": { split: "all" },
  "chunks of one byte": { split: { bytes: 1 } },
  "random chunks": { split: { seed: 1 } },
  "other random chunks": { split: { seed: 2, max: 300 } },
  "no line ends after the last event": { missingFinalNewline: true },
  "an end without its marker": { fault: { kind: "silent_eof", afterMessages: 3 } },
  "a failing model": { fault: { kind: "error", afterMessages: 3 } },
  "a failing model, before its first token": { fault: { kind: "error", afterMessages: 0 } },
  "an end inside a chunk": { fault: { kind: "half_chunk", afterMessages: 2 } },
};

for (const [name, behaviour] of Object.entries(BEHAVIOURS)) {
  Deno.test(`createProxy() hides the usage that it requested: ${name}`, async () => {
    await using stage = await Stage.set(behaviour);
    for (const route of [CHAT, COMPLETIONS] as const) {
      const both = await stage.both(route, `{${REQUEST[route]}}`);
      assertUpstream(both.request, `{${REQUEST[route]}}`, false);
      if (name !== "an end inside a chunk") assertSame(both);
      else assertBrokenOff(both);
    }
  });
}

/** A stream that breaks within a chunk ends the same way, possibly at another byte of its last event. */
function assertBrokenOff({ direct, through }: Both): void {
  assertEquals([through.end, direct.end], ["broken", "broken"]);
  const events = ({ body }: RawResponse) => body.slice(0, body.lastIndexOf("\n\n"));
  assert(events(direct).length > 100);
  assertEquals(events(through), events(direct));
}

Deno.test("createProxy() forwards each event at once while it looks for the one with usage", async () => {
  await using stage = await Stage.set({ fault: { kind: "stall", afterMessages: 2 } });
  for (const route of [CHAT, COMPLETIONS] as const) {
    using client = await RawClient.connect(stage.exporter.port);
    await client.request(`POST ${route}`, [], `{${REQUEST[route]}}`);
    // The second of two events has arrived, and no more will follow.
    await client.sees(" there");
  }
});

/** Requests whose body is left unchanged, without usage in the response. */
const UNTOUCHED: Record<string, { body: (route: Route) => string | Uint8Array; headers?: string[] }> = {
  "a body over 8 MiB": { body: (route) => `{${REQUEST[route]},"x":"${"x".repeat(8 * MEBIBYTE)}"}` },
  "a body that is compressed": {
    body: (route) => zstdCompressSync(new TextEncoder().encode(`{${REQUEST[route]}}`)),
    headers: ["Content-Encoding: zstd"],
  },
  "stream_options twice": { body: (route) => `{${REQUEST[route]},"stream_options":{},"stream_options":{}}` },
};

for (const [name, { body, headers }] of Object.entries(UNTOUCHED)) {
  Deno.test(`createProxy() forwards ${name} unchanged and counts missing usage`, async () => {
    await using stage = await Stage.set();
    for (const route of [CHAT, COMPLETIONS] as const) {
      const both = await stage.both(route, body(route), headers);
      assertSame(both);
      assertEquals(both.through.status, 200);
      const sent = body(route);
      assertEquals(both.request.bodyLength, sent.length);
      const direct = stage.fake.requests.at(-2)?.bodySha256;
      assertEquals(both.request.bodySha256, direct);
    }
    await assertMissing(stage);
  });
}

/** Asserts that one request to each API succeeded without token counts. */
async function assertMissing({ exporter }: Stage): Promise<void> {
  await exporter.observation(2);
  const scrape = await exporter.scrape();
  for (const api of Object.values(ROUTES)) {
    const labels = { model: "llama3.2:latest", api };
    assertEquals(scrape.value("ollama_request_outcomes_total", { ...labels, outcome: "ok" }), 1);
    assertEquals(scrape.value("ollama_usage_missing_total", labels), 1);
  }
  assertEquals(scrape.value("ollama_tokens_generated_total"), 0);
}

Deno.test("createProxy() forwards a chunked body over 8 MiB unchanged", async () => {
  await using stage = await Stage.set();
  const body = `{${REQUEST[CHAT]},"x":"${"x".repeat(9 * MEBIBYTE)}"}`;
  const { body: sent, headers } = inChunks(body, MEBIBYTE);
  const both = await stage.both(CHAT, sent, headers);
  assertSame(both);
  assertEquals(both.through.status, 200);
  assertEquals(both.request.text, body);
  assertEquals((await stage.exporter.observation()).requestBytes, body.length);
});

Deno.test("createProxy() requests no usage if OPENAI_STREAM_USAGE is false, and counts that it is missing", async () => {
  await using stage = await Stage.set({}, false);
  for (const route of [CHAT, COMPLETIONS] as const) {
    const both = await stage.both(route, `{${REQUEST[route]}}`);
    assertSame(both);
    assertEquals(both.request.text, `{${REQUEST[route]}}`);
  }
  await assertMissing(stage);
});

Deno.test("createProxy() counts missing usage if Ollama does not report it despite the request", async () => {
  await using stage = await Stage.set({ omitUsage: true });
  for (const route of [CHAT, COMPLETIONS] as const) assertSame(await stage.both(route, `{${REQUEST[route]}}`));
  await assertMissing(stage);
});

Deno.test("createProxy() does not change requests that are not streamed", async () => {
  await using stage = await Stage.set();
  for (const route of [CHAT, COMPLETIONS] as const) {
    const body = `{${REQUEST[route].replace("true", "false")}}`;
    const both = await stage.both(route, body);
    assertSame(both);
    assertEquals(both.request.text, body);
    assert(both.through.body.includes('"usage"'));
  }
});

/** Requests that Ollama refuses, including ones in which usage is requested. */
const REFUSED: Record<string, { body: string; status: number; behaviour?: Partial<FakeBehaviour> }> = {
  "without messages": { body: '{"model":"llama3.2","messages":[],"stream":true}', status: 400 },
  "without a model": { body: '{"messages":[{"role":"user","content":"Hi"}],"stream":true}', status: 400 },
  "to an unknown model": { body: `{${REQUEST[CHAT].replace("llama3.2", "none")}}`, status: 404 },
  "that is not JSON": { body: '{"stream":true,', status: 400 },
  "of another type": { body: '{"model":"llama3.2","stream":true,"messages":[1],"model":5}', status: 400 },
  "to a busy server": { body: `{${REQUEST[CHAT]}}`, status: 503, behaviour: { status: 503 } },
};

for (const [name, { body, status, behaviour }] of Object.entries(REFUSED)) {
  Deno.test(`createProxy() forwards the response to a request ${name}`, async () => {
    await using stage = await Stage.set(behaviour);
    const both = await stage.both(CHAT, body);
    assertSame(both);
    assertEquals(both.through.status, status);
    const { outcome, report } = await stage.exporter.observation();
    assertEquals(outcome, status < 500 ? "client_error" : "server_error");
    assertEquals(report.model, undefined);
    const scrape = await stage.exporter.scrape();
    assertEquals(scrape.labelValues("model").includes("none"), false);
  });
}

Deno.test("createProxy() reports a stream that ends like that of a failing model as incomplete", async () => {
  await using stage = await Stage.set({ fault: { kind: "error", afterMessages: 2 } });
  for (const route of [CHAT, COMPLETIONS] as const) {
    for (const options of ["", ',"stream_options":{"include_usage":true}']) {
      const both = await stage.both(route, `{${REQUEST[route]}${options}}`);
      assertSame(both);
      assert(!both.through.body.includes("[DONE]"));
    }
  }
  await stage.exporter.observation(4);
  const scrape = await stage.exporter.scrape();
  const labels = { model: "llama3.2:latest", outcome: "incomplete" };
  assertEquals(scrape.value("ollama_request_outcomes_total", labels), 4);
  // The zeros in each chunk of a completion are not token counts.
  assertEquals(scrape.value("ollama_tokens_generated_total"), 0);
  assertEquals(scrape.value("ollama_usage_missing_total"), 0);
});

/** Responses of a server that is not Ollama to a request in which usage was requested. */
const ODD: Record<string, { head: string; body: string; gets: string }> = {
  "an event stream with a length": {
    head: "Content-Type: text/event-stream",
    body: 'data: {"choices":[{}]}\n\ndata: {"choices":[],"usage":{"total_tokens":1}}\n\ndata: [DONE]\n\n',
    gets: 'data: {"choices":[{}]}\n\ndata: [DONE]\n\n',
  },
  "an event with the content type of JSON": {
    head: "Content-Type: application/json",
    body: 'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
    gets: 'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
  },
  "an event stream of another type": {
    head: "Content-Type: text/plain",
    body: 'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
    gets: 'data: {"choices":[],"usage":{"total_tokens":1}}\n\n',
  },
};

for (const [name, { head, body, gets }] of Object.entries(ODD)) {
  Deno.test(`createProxy() hides usage in events only: ${name}`, async () => {
    await using stage = await Stage.set({
      script: async (_, connection) => {
        await connection.readBody();
        await connection.write(`HTTP/1.1 200 OK\r\n${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      },
    });
    const response = await post(stage.exporter.port, CHAT, `{${REQUEST[CHAT]}}`);
    assertEquals([response.status, response.body, response.end], [200, gets, "complete"]);
  });
}
