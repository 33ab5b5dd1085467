/** The fake Ollama controls and records the bytes on the wire. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { type FakeOllama, type FakeOllamaOptions, startFakeOllama } from "./mod.ts";
import { CHAT, chatRequest, chunkSizes, lines, MESSAGES, post, raw } from "./client.ts";

Deno.test("startFakeOllama() refuses unknown hosts with an empty 403 only if `hostCheck` is set", async () => {
  await using fake = await startFakeOllama();
  const ask = (host: string) => raw(fake, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  for (const host of ["127.0.0.1:11434", "localhost", "[::1]:9000", "192.168.1.5", "box.local", ""]) {
    assertStringIncludes(await ask(host), "HTTP/1.1 200 OK");
  }
  for (const host of ["ollama.example.com", "ollama:11434", "8.8.8.8"]) {
    assertMatch(await ask(host), /^HTTP\/1\.1 403 Forbidden\r\nDate: [^\r]+\r\nContent-Length: 0\r\n/);
  }
  fake.behaviour.hostCheck = false;
  assertStringIncludes(await ask("ollama.example.com"), "HTTP/1.1 200 OK");
});

Deno.test("startFakeOllama() sends one HTTP chunk per message, escapes markup, and ends a stream with metrics", async () => {
  await using fake = await startFakeOllama({ thinking: 1, toolCalls: [{ name: "f", arguments: { a: "<" } }] });
  const answer = await raw(fake, chatRequest(), "0\r\n\r\n");
  assertStringIncludes(answer, "Transfer-Encoding: chunked");
  assertEquals(chunkSizes(answer).length, 9);
  const { text } = await post(fake, "/api/chat", CHAT);
  assertStringIncludes(text, "\\u003cb\\u003ecafé");
  const messages = lines(text);
  assertEquals(messages.length, 8);
  assertEquals(messages[0]?.["message"], { role: "assistant", content: "", thinking: "Thought 1. " });
  const call = { id: "call_ab12cd34", function: { index: 0, name: "f", arguments: { a: "<" } } };
  assertEquals(messages[6]?.["message"], { role: "assistant", content: "", tool_calls: [call] });
  assertEquals(messages[7]?.["eval_count"], 7);
});

Deno.test("FakeBehaviour.split splits a stream anywhere and loses nothing", async () => {
  await using fake = await startFakeOllama();
  const normal = chunkSizes(await raw(fake, chatRequest(), "0\r\n\r\n"));
  const total = normal.reduce((sum, size) => sum + size, 0);
  const sizes = async (split: FakeOllama["behaviour"]["split"]) => {
    fake.behaviour.split = split;
    const got = chunkSizes(await raw(fake, chatRequest(), "\r\n0\r\n\r\n"));
    assertEquals(got.reduce((sum, size) => sum + size, 0), total);
    return got;
  };
  assertEquals(await sizes("all"), [total, 0]);
  assertEquals((await sizes({ messages: 4 })).length, 3);
  assertEquals((await sizes({ bytes: 1 })).length, total + 1);
  const seeded = await sizes({ seed: 7, max: 20 });
  assertEquals(await sizes({ seed: 7, max: 20 }), seeded);
  assert(Math.max(...seeded) <= 20);
  fake.behaviour.split = "message";
  fake.behaviour.writeBytes = 3;
  fake.behaviour.missingFinalNewline = true;
  const { text } = await post(fake, "/api/chat", CHAT);
  assert(!text.endsWith("\n"));
  assertEquals(lines(text).length, 6);
});

Deno.test("FakeBehaviour.fault ends a stream as its kind says", async (t) => {
  await using fake = await startFakeOllama();
  const whole = async (path: string, body: unknown) => (await post(fake, path, body)).text;
  await t.step("error: the native error line", async () => {
    fake.behaviour.fault = { kind: "error", message: "boom" };
    assertEquals(lines(await whole("/api/chat", CHAT)).at(-1), { error: "boom" });
    assertEquals((await post(fake, "/api/chat", { ...CHAT, stream: false })).status, 500);
    fake.behaviour.fault = { kind: "error", afterMessages: 0 };
    assertEquals((await post(fake, "/api/chat", CHAT)).status, 500);
  });
  await t.step("error: silent on /v1", async () => {
    fake.behaviour.fault = { kind: "error" };
    const chat = await whole("/v1/chat/completions", { ...CHAT, stream: true });
    assertStringIncludes(chat, '"model":""');
    assert(!chat.includes("[DONE]"));
    assert(!(await whole("/v1/responses", { ...CHAT, stream: true })).includes("completed\n"));
    assert(!(await whole("/v1/messages", { ...MESSAGES, stream: true })).includes("message_stop"));
  });
  await t.step("silent_eof: no done message, and done:false without a stream", async () => {
    fake.behaviour.fault = { kind: "silent_eof", afterMessages: 3 };
    assertEquals(lines(await whole("/api/chat", CHAT)).map((message) => message["done"]), [false, false, false]);
    assertStringIncludes(await whole("/api/chat", { ...CHAT, stream: false }), '"done":false}');
  });
  await t.step("malformed: one invalid line, then the stream continues", async () => {
    fake.behaviour.fault = { kind: "malformed", afterMessages: 1 };
    const text = await whole("/api/chat", CHAT);
    assertEquals(text.trimEnd().split("\n").length, 7);
    assertStringIncludes(text, '"done":true');
  });
  for (const kind of ["reset", "half_chunk"] as const) {
    await t.step(`${kind}: the connection is closed within the response`, async () => {
      fake.behaviour.fault = { kind };
      await assertRejects(() => whole("/api/chat", CHAT));
      await assertRejects(() => whole("/api/chat", { ...CHAT, stream: false }));
      assertEquals(await fake.lastRequest().ended, "broken");
    });
  }
  for (const kind of ["no_answer", "half_headers"] as const) {
    await t.step(`${kind}: no complete response`, async () => {
      fake.behaviour.fault = { kind };
      const text = await raw(fake, chatRequest());
      assertEquals(text.includes("\r\n\r\n"), false);
      assertEquals(text === "", kind === "no_answer");
    });
  }
});

Deno.test("FakeBehaviour.hold keeps the second token back until it resolves, or the client is gone", async () => {
  await using fake = await startFakeOllama();
  const { promise, resolve } = Promise.withResolvers<void>();
  fake.behaviour.hold = promise;
  assertEquals(chunkSizes(await raw(fake, chatRequest(), "}\n\r\n")).length, 1);
  await fake.waitForAbort(fake.lastRequest());
  const answer = post(fake, "/api/chat", CHAT);
  await fake.waitForRequest(({ connectionId }) => connectionId === 2);
  resolve();
  assertEquals(lines((await answer).text).length, 6);
});

Deno.test("FakeBehaviour.psProbe and its like answer late, with errors, or never", async () => {
  await using fake = await startFakeOllama();
  const get = async (path: string) => {
    const response = await fetch(fake.url + path, { signal: AbortSignal.timeout(100) });
    return [response.status, await response.text()];
  };
  fake.behaviour.psProbe = "hang";
  await assertRejects(() => get("/api/ps"));
  await fake.waitForAbort(fake.lastRequest());
  fake.behaviour.tagsProbe = "invalid_json";
  assert(((await get("/api/tags"))[1] as string).startsWith('{"models":[{"name"'));
  fake.behaviour.versionProbe = { status: 500 };
  assertEquals((await get("/api/version"))[0], 500);
  fake.behaviour.psProbe = { body: '{"models":[]}' };
  assertEquals(await get("/api/ps"), [200, '{"models":[]}']);
});

Deno.test("RecordedRequest has the request's bytes, headers in order, connection and end", async () => {
  await using fake = await startFakeOllama();
  await raw(fake, chatRequest(CHAT, "X-One: a\r\nx-one: b\r\n"), "0\r\n\r\n");
  const request = await fake.waitForRequest((r) => r.path === "/api/chat");
  assertEquals(request.rawHeaders.slice(2), [["X-One", "a"], ["x-one", "b"]]);
  assertEquals(JSON.parse(request.text), CHAT);
  assertEquals(request.bodySha256.length, 64);
  assertEquals(await request.ended, "answered");
  const chunked = "POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
    '5;x=y\r\n{"mod\r\n10\r\nel":  "llama3.2"\r\n1\r\n}\r\n0\r\nT: x\r\n\r\n';
  assertStringIncludes(await raw(fake, chunked, "\r\n\r\n"), "200 OK");
  assertEquals(fake.lastRequest().text, '{"model":  "llama3.2"}');
  assertEquals([fake.lastRequest().connectionId, fake.requestCount], [2, 2]);
  await fake.waitForIdle();
});

Deno.test("RecordedRequest.aborted resolves at once: before the head, within a stream, while stalled", async (t) => {
  await using fake = await startFakeOllama();
  const rows: [string, FakeOllamaOptions][] = [
    ["hang", { hang: true }],
    ["before the head", { headersDelayMs: 60_000 }],
    ["between tokens", { tokenDelayMs: 60_000 }],
    ["stalled", { fault: { kind: "stall" } }],
    ["in a long body", { tokens: 200, words: ["word ".repeat(20_000)] }],
  ];
  for (const [name, options] of rows) {
    await t.step(name, async () => {
      fake.reset();
      Object.assign(fake.behaviour, options);
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: fake.port });
      await conn.write(new TextEncoder().encode(chatRequest()));
      const request = await fake.waitForRequest();
      await new Promise((resolve) => setTimeout(resolve, 20));
      const closedAt = performance.now();
      conn.close();
      const abortedAt = await fake.waitForAbort(request);
      assert(abortedAt >= closedAt);
      assertEquals(request.answeredAt, undefined);
    });
  }
});

Deno.test("startFakeOllama() answers Expect when it reads the body, not for an existing blob", async () => {
  await using fake = await startFakeOllama();
  const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  const head = `POST /api/blobs/sha256:${digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n`;
  const expecting = `${head}Expect: 100-continue\r\n\r\n`;
  assertStringIncludes(await raw(fake, `${expecting}hello`, "201 Created"), "HTTP/1.1 100 Continue\r\n\r\n");
  const again = await raw(fake, expecting);
  assertStringIncludes(again, "HTTP/1.1 200 OK");
  assertStringIncludes(again, "Connection: close");
  assertEquals(fake.lastRequest().bodyLength, 0);
  const known = await fetch(`${fake.url}/api/blobs/sha256:${digest}`, { method: "HEAD" });
  assertEquals(known.status, 200);
  const wrong = await post(fake, `/api/blobs/sha256:${"0".repeat(64)}`, "x");
  assertEquals(wrong.status, 400);
  assertStringIncludes(wrong.text, "digest mismatch, expected");
});

Deno.test("FakeBehaviour.script answers a request, or leaves it to the fake", async () => {
  await using fake = await startFakeOllama();
  fake.behaviour.script = async (request, connection) => {
    if (request.path !== "/odd") return;
    await connection.write("HTTP/1.1 200 Fine\r\ncontent-length: 2\r\nX-Odd: yes\r\n\r\nok");
  };
  const odd = await fetch(`${fake.url}/odd`);
  assertEquals([await odd.text(), odd.headers.get("x-odd")], ["ok", "yes"]);
  assertEquals((await post(fake, "/api/chat", CHAT)).status, 200);
  assertEquals(fake.connectionCount, 1);
});

Deno.test("FakeOllama.close() throws an error of a script, which was answered with an empty 500", async () => {
  const fake = await startFakeOllama({ script: () => Promise.reject(new Error("wrong header")) });
  assertStringIncludes(await raw(fake, chatRequest()), "HTTP/1.1 500 Internal Server Error");
  await assertRejects(() => fake.close(), Error, "wrong header");
});

Deno.test("FakeBehaviour delays precede the head, the first token and each token", async () => {
  await using fake = await startFakeOllama({ headersDelayMs: 40, firstTokenDelayMs: 2000, tokenDelayMs: 10 });
  const startedAt = performance.now();
  const response = await fetch(`${fake.url}/api/chat`, { method: "POST", body: JSON.stringify(CHAT) });
  const headersAt = performance.now() - startedAt;
  const text = await response.text();
  const endAt = performance.now() - startedAt;
  // Fails only if the machine delays the head by more than a second.
  assert(headersAt >= 38 && headersAt < endAt - 1000, `head after ${headersAt} ms`);
  assert(endAt >= 2070, `end after ${endAt} ms`);
  assertEquals(lines(text).at(-1)?.["eval_duration"], 50_000_000);
});

Deno.test("FakeBehaviour.slots queues further requests in order, and drops those that disconnect", async () => {
  await using fake = await startFakeOllama({ slots: 1, tokens: 3, tokenDelayMs: 20, freshTimestamps: true });
  const first = post(fake, "/api/chat", CHAT);
  await fake.waitForRequest();
  const leaver = new AbortController();
  const second = post(fake, "/api/chat", CHAT, { signal: leaver.signal });
  await fake.waitForRequest(() => fake.requestCount === 2);
  const third = post(fake, "/api/chat", CHAT);
  leaver.abort();
  await assertRejects(() => second);
  const firstAt = lines((await first).text).map((message) => message["created_at"] as string);
  const thirdAt = lines((await third).text).map((message) => message["created_at"] as string);
  const all = [...firstAt, ...thirdAt];
  assertEquals(all.toSorted(), all);
  assert(Date.parse(all[2] ?? "") - Date.parse(all[0] ?? "") >= 38);
});
