/** The fake Ollama responds as docs/ollama-api.md describes; all tests that use it rely on this. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { zstdCompressSync } from "node:zlib";
import { type FakeOllamaOptions, startFakeOllama } from "./mod.ts";
import { CHAT, lines, MESSAGES, post } from "./client.ts";
import { fixtures, FIXTURES_URL } from "./fixtures.ts";

const JSON_UTF8 = "application/json; charset=utf-8";
/** Method, path and body of a request; status, content type and a part of the response. */
const ROUTES: [string, string, unknown, number, string | null, string][] = [
  ["GET", "/", undefined, 200, "text/plain; charset=utf-8", "Ollama is running"],
  ["GET", "/api/version", undefined, 200, JSON_UTF8, '{"version":"0.33.0"}'],
  ["GET", "/api/status", undefined, 200, JSON_UTF8, '"source":"none"'],
  ["GET", "/api/ps", undefined, 200, JSON_UTF8, '"size_vram":3338801804,"context_length":4096'],
  ["GET", "/api/tags", undefined, 200, JSON_UTF8, '"name":"qwen3:latest"'],
  ["POST", "/api/show", { model: "llama3.2" }, 200, JSON_UTF8, '"general.architecture":"llama"'],
  ["POST", "/api/show", { model: "nope" }, 404, JSON_UTF8, `{"error":"model 'nope:latest' not found"}`],
  ["POST", "/api/me", {}, 401, JSON_UTF8, '"signin_url"'],
  ["POST", "/api/signout", {}, 200, null, ""],
  ["DELETE", "/api/user/keys/abc", undefined, 200, null, ""],
  ["POST", "/api/chat", CHAT, 200, "application/x-ndjson", '"done":true,"done_reason":"stop"'],
  ["POST", "/api/chat", { ...CHAT, stream: false }, 200, JSON_UTF8, '"eval_count":5'],
  ["POST", "/api/chat", { model: "llama3.2" }, 200, JSON_UTF8, '"done":true,"done_reason":"load"}'],
  ["POST", "/api/chat", { messages: [] }, 400, JSON_UTF8, "model is required"],
  ["POST", "/api/chat", { ...CHAT, model: "nomic-embed-text" }, 400, JSON_UTF8, "does not support chat"],
  ["POST", "/api/chat", { ...CHAT, keep_alive: "5" }, 400, JSON_UTF8, "missing unit in duration"],
  ["POST", "/api/chat", { ...CHAT, stream: "yes" }, 400, JSON_UTF8, "cannot unmarshal string"],
  ["POST", "/api/chat", { ...CHAT, messages: "x" }, 400, JSON_UTF8, "cannot unmarshal string"],
  ["POST", "/api/chat", { ...CHAT, top_logprobs: 99 }, 400, JSON_UTF8, "top_logprobs must be between 0 and 20"],
  ["POST", "/api/chat", { ...CHAT, options: { temperature: "hot" } }, 500, JSON_UTF8, "must be of type float32"],
  ["POST", "/api/chat", { ...CHAT, format: 5 }, 500, JSON_UTF8, "invalid format"],
  ["POST", "/api/chat", { ...CHAT, messages: [{ role: "user", images: ["AA=="] }] }, 400, JSON_UTF8, "image input"],
  ["POST", "/api/generate", { model: "llama3.2", prompt: "x", suffix: "y" }, 400, JSON_UTF8, "latest does not support"],
  ["POST", "/api/generate", { model: "llama3.2", prompt: "x" }, 200, "application/x-ndjson", '"context":[128006'],
  ["POST", "/api/generate", { model: "llama3.2", keep_alive: 0 }, 200, JSON_UTF8, '"done_reason":"unload"'],
  ["POST", "/api/generate", {}, 404, JSON_UTF8, "model '' not found"],
  ["POST", "/api/embed", { model: "nomic-embed-text", input: ["a", "b"] }, 200, JSON_UTF8, "]],"],
  ["POST", "/api/embed", { model: "nomic-embed-text" }, 200, JSON_UTF8, '"embeddings":[]}'],
  ["POST", "/api/embed", { model: "no", input: "a" }, 404, JSON_UTF8, `not found, try pulling it first`],
  ["POST", "/api/embed", { model: "nomic-embed-text", input: 5 }, 400, JSON_UTF8, "invalid input type"],
  ["POST", "/api/embed", { model: "llama3.2", input: "a" }, 501, JSON_UTF8, "does not support embeddings"],
  ["POST", "/v1/embeddings", { model: "llama3.2", input: "a" }, 501, "application/json", '"type":"api_error"'],
  ["POST", "/api/embeddings", { model: "nomic-embed-text", prompt: "a" }, 200, JSON_UTF8, '{"embedding":[0.01'],
  ["POST", "/v1/chat/completions", CHAT, 200, "application/json", '"object":"chat.completion"'],
  ["POST", "/v1/chat/completions", { ...CHAT, model: "no" }, 404, "application/json", '"type":"not_found_error"'],
  ["POST", "/v1/chat/completions", { model: "llama3.2" }, 400, JSON_UTF8, "[] is too short - 'messages'"],
  ["POST", "/v1/completions", { model: "llama3.2", prompt: "x" }, 200, "application/json", '"text_completion"'],
  ["POST", "/v1/embeddings", { model: "nomic-embed-text", input: "" }, 200, "application/json", '"prompt_tokens":26'],
  ["POST", "/v1/embeddings", { model: "nomic-embed-text", input: [] }, 400, JSON_UTF8, "invalid input"],
  ["POST", "/v1/responses", { ...CHAT, input: "x" }, 200, "application/json", '"input_tokens":26'],
  ["POST", "/v1/messages", MESSAGES, 200, "application/json", '"stop_reason":"end_turn"'],
  ["POST", "/v1/messages", CHAT, 400, JSON_UTF8, '{"type":"error","error":{"type":"invalid_request_error"'],
  ["GET", "/v1/models", undefined, 200, "application/json", '"owned_by":"library"'],
  ["GET", "/v1/models/llama3.2", undefined, 200, "application/json", '"id":"llama3.2"'],
  ["GET", "/v1/models/no", undefined, 404, "application/json", '"not_found_error"'],
  ["GET", "/v1/models/ns/name", undefined, 404, "text/plain", "404 page not found"],
  ["POST", "/v1/systemone", CHAT, 404, "text/plain", "404 page not found"],
  ["GET", "/metrics", undefined, 404, "text/plain", "404 page not found"],
  ["PUT", "/api/chat", undefined, 405, "text/plain", "405 method not allowed"],
  ["POST", "/api/push", { model: "llama3.2" }, 200, "application/x-ndjson", '{"status":"success"}\n'],
  ["POST", "/api/create", { model: "mine", from: "llama3.2" }, 200, "application/x-ndjson", '"success"'],
  ["POST", "/api/create", { model: "mine" }, 400, "application/json", "neither 'from' or 'files' was specified"],
  ["POST", "/api/create", { model: "m", from: "no" }, 200, "application/x-ndjson", '{"error":"pull model manifest'],
  ["POST", "/api/create", { model: "m", files: { a: "b" } }, 200, "application/x-ndjson", "validating GGUF model"],
  ["POST", "/api/pull", { model: "a b" }, 400, JSON_UTF8, "invalid model name"],
  ["POST", "/api/copy", { source: "llama3.2", destination: "other" }, 200, null, ""],
  ["POST", "/api/copy", { source: "no", destination: "x" }, 404, JSON_UTF8, '{"error":"model \\"no\\" not found"}'],
  ["DELETE", "/api/delete", { model: "other" }, 200, null, ""],
  ["DELETE", "/api/delete", { model: "other" }, 404, JSON_UTF8, "model 'other' not found"],
  ["POST", "/api/pull", { model: "new", stream: false }, 200, "application/json", '{"status":"success"}'],
  ["POST", "/api/experimental/web_search", {}, 200, JSON_UTF8, '{"results":[]}'],
];

Deno.test("startFakeOllama() answers every route with its status, content type and text", async (t) => {
  await using fake = await startFakeOllama();
  for (const [method, path, body, status, type, part] of ROUTES) {
    await t.step(`${method} ${path} ${body === undefined ? "" : JSON.stringify(body)}`.trim(), async () => {
      const init = body === undefined ? { method, body: null } : { method };
      const answer = await post(fake, path, body, init);
      assertEquals(answer.status, status);
      assertEquals(answer.type, type);
      assertStringIncludes(answer.text, part);
    });
  }
});

Deno.test("startFakeOllama() answers HEAD, redirects and OPTIONS as gin does", async () => {
  await using fake = await startFakeOllama();
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(fake.url + path, { method, headers, redirect: "manual" });
    await response.text();
    return response;
  };
  const head = await ask("HEAD", "/");
  assertEquals([head.status, head.headers.get("content-length")], [200, "17"]);
  assertEquals((await ask("HEAD", "/api/ps")).status, 405);
  assertEquals((await ask("PUT", "/api/tags")).headers.get("allow"), "GET, HEAD");
  const slash = await ask("POST", "/api/chat/?a=1");
  assertEquals([slash.status, slash.headers.get("location")], [307, "/api/chat?a=1"]);
  assertEquals((await ask("GET", "/api/tags/")).status, 301);
  assertEquals((await ask("GET", "//api/tags")).headers.get("location"), "/api/tags");
  const cors = { Origin: "http://localhost:3000", "Access-Control-Request-Method": "POST" };
  const preflight = await ask("OPTIONS", "/api/chat", cors);
  assertEquals(preflight.status, 204);
  assertEquals(preflight.headers.get("access-control-allow-origin"), "http://localhost:3000");
  assertEquals((await ask("GET", "/", { Origin: "http://evil.example" })).status, 403);
  fake.behaviour.origins = ["*"];
  const all = await ask("GET", "/", { Origin: "http://evil.example" });
  assertEquals([all.status, all.headers.get("access-control-allow-origin")], [200, "*"]);
});

Deno.test("startFakeOllama() reads JSON as Go does: any key case, any content type, nothing after the first value", async () => {
  await using fake = await startFakeOllama();
  const body = '{"MODEL":"llama3.2","Stream":false,"messages":[{"role":"user"}]} {"model":"other"}';
  const response = await fetch(`${fake.url}/api/chat`, {
    method: "POST",
    body,
    headers: { "content-type": "text/plain" },
  });
  assertEquals((await response.json()).model, "llama3.2");
  const bad = await fetch(`${fake.url}/api/chat`, { method: "POST", body: "" });
  assertEquals(await bad.json(), { error: "missing request body" });
  const packed = await fetch(`${fake.url}/v1/chat/completions`, {
    method: "POST",
    body: new Uint8Array(zstdCompressSync(JSON.stringify(CHAT))),
    headers: { "content-encoding": "zstd" },
  });
  assertEquals((await packed.json()).model, "llama3.2");
});

Deno.test("startFakeOllama() sends the fields of the final message that the behaviour selects", async (t) => {
  await using fake = await startFakeOllama();
  const rows: [string, FakeOllamaOptions, string | RegExp][] = [
    ["cached tokens", { cachedTokens: 0 }, '"prompt_eval_count":26,"prompt_eval_cached_count":0,'],
    ["zero omitted", { outputTokens: 0, promptEvalNs: 0 }, '"prompt_eval_count":26,"eval_duration"'],
    ["final text", { finalText: "!" }, '"response":"!","done":true'],
    ["extra fields", { extraFields: { new: [1] } }, '"eval_duration":41000000,"new":[1]}\n'],
    ["no usage", { omitUsage: true, contextLength: 1 }, '"done_reason":"stop","context":[128006]}\n'],
  ];
  for (const [name, options, part] of rows) {
    await t.step(name, async () => {
      fake.reset();
      Object.assign(fake.behaviour, options);
      const { text } = await post(fake, "/api/generate", { model: "llama3.2", prompt: "x" });
      assertStringIncludes(text, part as string);
    });
  }
  await t.step("a context of over a megabyte", async () => {
    fake.reset();
    fake.behaviour.contextLength = 200_000;
    const { text } = await post(fake, "/api/generate", { model: "llama3.2", prompt: "x" });
    assert(text.length > 1024 * 1024);
    assertEquals((lines(text).at(-1)?.["context"] as number[]).length, 200_000);
  });
});

Deno.test("FakeBehaviour.status forces errors in the format of each API", async () => {
  await using fake = await startFakeOllama({ status: 503 });
  const native = await post(fake, "/api/chat", CHAT);
  const message = "server busy, please try again.  maximum pending requests exceeded";
  assertEquals([native.status, native.text], [503, JSON.stringify({ error: message })]);
  assertStringIncludes((await post(fake, "/v1/completions", CHAT)).text, '"type":"api_error"');
  assertStringIncludes((await post(fake, "/v1/messages", CHAT)).text, '"type":"overloaded_error"');
  fake.behaviour.status = 404;
  assertEquals((await post(fake, "/api/generate", CHAT)).text, `{"error":"model 'llama3.2' not found"}`);
});

Deno.test("startFakeOllama() pulls, copies, deletes and loads models", async () => {
  await using fake = await startFakeOllama();
  const names = async (path: string) => {
    const { models } = await (await fetch(fake.url + path)).json();
    return models.map((model: { name: string }) => model.name);
  };
  assertEquals(await names("/api/ps"), ["llama3.2:latest"]);
  const { text } = await post(fake, "/api/pull", { model: "me/new" });
  const progress = lines(text);
  assertEquals(progress[1]?.["completed"], undefined);
  assertEquals(progress[4]?.["completed"], progress[4]?.["total"]);
  assertEquals((await names("/api/tags")).includes("me/new:latest"), true);
  await post(fake, "/api/chat", { ...CHAT, model: "me/new", keep_alive: -1 });
  assertEquals(await names("/api/ps"), ["me/new:latest", "llama3.2:latest"]);
  const { models } = await (await fetch(`${fake.url}/api/ps`)).json();
  assert(models[0].expires_at.startsWith("231"));
  await post(fake, "/api/generate", { model: "me/new", keep_alive: 0 });
  assertEquals(await names("/api/ps"), ["llama3.2:latest"]);
});

Deno.test("FakeBehaviour.release adds the routes and fields of 0.40", async () => {
  await using fake = await startFakeOllama({ release: "0.40", cachedTokens: 20 });
  const usage = { ...CHAT, stream: true, stream_options: { include_usage: true } };
  const { text } = await post(fake, "/v1/chat/completions", usage);
  assertStringIncludes(text, '"prompt_tokens_details":{"cached_tokens":20}},"timings":{"prompt_n":6,');
  const messages = await post(fake, "/v1/messages", MESSAGES);
  assertStringIncludes(messages.text, '"usage":{"input_tokens":6,"output_tokens":5,"cache_read_input_tokens":20}');
  assertStringIncludes((await post(fake, "/v1/responses", CHAT)).text, '"cached_tokens":20');
  assertStringIncludes(await (await fetch(`${fake.url}/api/ps`)).text(), '"runner":"llamacpp"');
  assertStringIncludes((await post(fake, "/v1/systemone", CHAT)).text, '"output_tokens":5');
});

Deno.test("tests/fixtures has the output of the fake's payload functions", async () => {
  const update = Deno.env.get("UPDATE_GOLDEN") === "1";
  const files = Object.entries(fixtures());
  if (update) await Deno.mkdir(FIXTURES_URL, { recursive: true });
  const encoder = new TextEncoder();
  for (const [name, content] of files) {
    const wanted = typeof content === "string" ? encoder.encode(content) : content;
    const url = new URL(name, FIXTURES_URL);
    if (update) await Deno.writeFile(url, wanted);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assertEquals(text(await Deno.readFile(url)), text(wanted), name);
  }
  for await (const { name } of Deno.readDir(FIXTURES_URL)) {
    const stale = /\.(ndjson|sse)$/.test(name) && !files.some(([known]) => known === name);
    assert(!stale, `${name} is no longer generated`);
  }
});
