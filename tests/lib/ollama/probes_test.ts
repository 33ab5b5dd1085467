/** Probes of a server that is slow, silent or broken, and callers that share them. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { HeadersFile } from "../../../lib/ollama/headers_file.ts";
import { ANSWER_LIMIT_CHARACTERS, type ProbeError } from "../../../lib/ollama/probes.ts";
import { type Probe, PROBES, type ServerState } from "../../../lib/ollama/state.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { type Answer, AskedOllama, hanging, listing, refusing, saying } from "../../support/asked_ollama.ts";
import { random, turn } from "../../support/fixtures.ts";
import { CHAT, Scrape, startExporter, until } from "../../support/helpers.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";
import { TestClock, TestTimers } from "../../support/test_clock.ts";

const HOUR_MS = 3_600_000;
/** Timeout of probes that are never answered. All others are answered before any timer can fire. */
const TIMEOUT_MS = 100;

/** Whether each probe succeeded, in the order of {@linkcode PROBES}. */
function successes(state: ServerState): boolean[] {
  return PROBES.map((probe) => state.probes[probe].error === undefined);
}

/** Answers when the test does, unless the probe is aborted before. Counts the probes that were. */
function gated(): { answer: Answer; respond: (response: Response) => void; aborted: () => number } {
  const gate = Promise.withResolvers<Response>();
  let aborted = 0;
  const onAbort = (error: unknown): never => {
    aborted++;
    throw error;
  };
  return {
    answer: (signal) => Promise.race([gate.promise, hanging(signal).catch(onAbort)]),
    respond: (response) => gate.resolve(response),
    aborted: () => aborted,
  };
}

Deno.test("Ollama.fetchState() requests each status endpoint once", async () => {
  using asked = new AskedOllama({ ps: listing({ name: "m", size: 1 }), tags: listing({ name: "m", size: 2 }) });
  const state = await asked.ollama.fetchState();
  assertEquals([state.version, state.loaded?.[0]?.sizeBytes, state.installed], ["0.33.0", 1, [{
    name: "m",
    sizeBytes: 2,
  }]]);
  assertEquals(successes(state), [true, true, true]);
  assertEquals(
    asked.asked.sort(),
    ["ps", "tags", "version"].map((name) => `http://ollama.test:11434/base/api/${name}`),
  );
});

Deno.test("Ollama.fetchLoaded() requests the models in memory alone, and joins probes in flight", async () => {
  using clock = new TestClock();
  const { answer, respond } = gated();
  using asked = new AskedOllama({ ps: listing({ name: "m", context_length: 2048 }) });
  clock.now = 5;
  await asked.ollama.fetchLoaded();
  assertEquals([asked.asked, asked.ollama.lastState], [["http://ollama.test:11434/base/api/ps"], undefined]);
  assertEquals([asked.loaded[0]?.requestedAt, asked.loaded[0]?.models[0]?.contextTokens], [5, 2048]);

  asked.answers.ps = answer;
  const state = asked.ollama.fetchState();
  await asked.ollama.fetchLoaded();
  clock.now = 9;
  respond(new Response('{"models":[]}'));
  await state;
  assertEquals(asked.asked.filter((url) => url.endsWith("/ps")).length, 2);
  assertEquals(asked.loaded[1], { models: [], requestedAt: 5 });

  asked.answers.ps = refusing;
  await asked.ollama.fetchLoaded();
  await asked.ollama.fetchState();
  assertEquals(asked.loaded.slice(2), [undefined, undefined]);
});

async function* broken(): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode('{"version":"0.33.0","models":[]}');
  await Promise.resolve();
  throw new TypeError("error reading a body from connection");
}

/** Answers that are not valid responses, the error that is reported, and the reason that is counted. */
const FAILURES: Record<string, [Answer, error: string, counted: ProbeError]> = {
  "status 500": [saying('{"version":"0.33.0","models":[]}', 500), "unexpected status 500", "status"],
  "status 404": [saying("404 page not found", 404), "unexpected status 404", "status"],
  "status 401": [saying('{"version":"0.33.0","models":[]}', 401), "unauthorized (status 401)", "unauthorized"],
  "status 403": [saying('{"version":"0.33.0","models":[]}', 403), "unauthorized (status 403)", "unauthorized"],
  "a redirect": [
    () => new Response(null, { status: 307, headers: { location: "/" } }),
    "unexpected status 307",
    "status",
  ],
  "truncated JSON": [saying('{"version":"0.33.0","models":['), "", "invalid_response"],
  "an empty body": [saying(""), "", "invalid_response"],
  "a list": [saying("[]"), "no ", "invalid_response"],
  "null": [saying("null"), "no ", "invalid_response"],
  "a text": [saying('"0.33.0"'), "no ", "invalid_response"],
  "other members": [saying('{"Version":"0.33.0","Models":[]}'), "no ", "invalid_response"],
  "members of other types": [saying('{"version":33,"models":{"0":{"name":"m"}}}'), "no ", "invalid_response"],
  "an error": [saying('{"error":"unauthorized"}'), "no ", "invalid_response"],
  "silence": [hanging, `no response within ${TIMEOUT_MS} ms`, "timeout"],
  "a refused connection": [refusing, "error sending request: client error (Connect)", "connection"],
  "a body that breaks off": [
    () => new Response(ReadableStream.from(broken())),
    "error reading a body from connection",
    "connection",
  ],
  "a body over the limit": [
    saying('{"version":"1","models":[]}'.padEnd(ANSWER_LIMIT_CHARACTERS + 1)),
    `response exceeds ${ANSWER_LIMIT_CHARACTERS} characters`,
    "invalid_response",
  ],
};

/** The value that each probe fetches. */
function valuesOf(state: ServerState): Record<Probe, unknown> {
  return { version: state.version, ps: state.loaded, tags: state.installed };
}

for (const [name, [answer, reason, counted]] of Object.entries(FAILURES)) {
  for (const failing of PROBES) {
    Deno.test(`Ollama.fetchState() fails the ${failing} probe, and no other, on ${name}`, async () => {
      const models = listing({ name: "llama3.2", size: 3000 });
      using asked = new AskedOllama({ ps: models, tags: models }, { timeoutMs: TIMEOUT_MS });
      const good = valuesOf(await asked.ollama.fetchState());
      asked.answers[failing] = answer;
      const state = await asked.ollama.fetchState();
      assertEquals(valuesOf(state), { ...good, [failing]: undefined });
      for (const probe of PROBES.filter((probe) => probe !== failing)) {
        assertEquals(state.probes[probe].error, undefined, probe);
      }
      const { error = "" } = state.probes[failing];
      assert(error.startsWith(`/api/${failing}: ${reason}`) && !error.includes("\n"), error);
      const scrape = new Scrape(await asked.metrics.expose("text", state));
      const errors = "ollama_exporter_probe_errors_total";
      assertEquals([scrape.value(errors), scrape.value(errors, { probe: failing, reason: counted })], [1, 1]);
    });
  }
}

Deno.test("Ollama.fetchState() accepts a response as long as the limit", async () => {
  using asked = new AskedOllama({ version: saying('{"version":"1"}'.padEnd(ANSWER_LIMIT_CHARACTERS)) });
  assertEquals((await asked.ollama.fetchState()).version, "1");
});

Deno.test("Ollama.version() returns the version, or throws the reason that there is none", async () => {
  using asked = new AskedOllama({}, { timeoutMs: TIMEOUT_MS });
  assertEquals(await asked.ollama.version(), "0.33.0");
  for (const [answer, reason] of Object.values(FAILURES)) {
    asked.answers.version = answer;
    const { message } = await assertRejects(() => asked.ollama.version(), Error);
    assert(message.startsWith(`/api/version: ${reason}`) && !message.includes("\n"), message);
  }
});

Deno.test("Ollama.fetchState() applies a caller's limit to that caller alone", async () => {
  const version = gated();
  using asked = new AskedOllama({ version: version.answer }, { timeoutMs: HOUR_MS });
  const first = asked.ollama.fetchState(1);
  const second = asked.ollama.fetchState();
  const third = asked.ollama.fetchState(1);
  for (const state of await Promise.all([first, third])) {
    assertEquals(successes(state), [false, true, true]);
    assertEquals(state.probes.version.error, "/api/version: no response within 1 ms");
  }
  version.respond(Response.json({ version: "0.33.0" }));
  assertEquals(successes(await second), [true, true, true]);
  assertEquals([asked.asked.length, version.aborted()], [3, 0]);
});

Deno.test("Ollama.fetchState() cancels the probes when no caller is left, and sends new ones for the next", async () => {
  const [ps, tags] = [gated(), gated()];
  using asked = new AskedOllama({ ps: ps.answer, tags: tags.answer }, { timeoutMs: HOUR_MS });
  const [first, second] = [asked.ollama.fetchState(1), asked.ollama.fetchState(2)];
  assertEquals(successes(await first), [true, false, false]);
  assertEquals(successes(await second), [true, false, false]);
  assertEquals([asked.asked.length, ps.aborted(), tags.aborted()], [3, 1, 1]);
  asked.answers = { ...asked.answers, ps: listing(), tags: listing() };
  assertEquals(successes(await asked.ollama.fetchState(HOUR_MS - 1)), [true, true, true]);
  assertEquals(asked.asked.length, 6);
});

Deno.test("Ollama.fetchState() fails a probe for all callers when it times out", async () => {
  using asked = new AskedOllama({ ps: hanging }, { timeoutMs: TIMEOUT_MS });
  for (const state of await Promise.all([asked.ollama.fetchState(), asked.ollama.fetchState(HOUR_MS)])) {
    assertEquals(successes(state), [true, false, true]);
    assertEquals(state.probes.ps.error, `/api/ps: no response within ${TIMEOUT_MS} ms`);
  }
  assertEquals(asked.asked.length, 3);
});

Deno.test("Ollama.fetchState() measures a probe from its request, or from the call whose limit cut it short", async () => {
  using clock = new TestClock();
  const ps = gated();
  using asked = new AskedOllama({ ps: ps.answer }, { timeoutMs: HOUR_MS });
  const first = asked.ollama.fetchState();
  await turn();
  clock.now = 1000;
  const second = asked.ollama.fetchState(1);
  clock.now = 1500;
  const durations = ({ probes }: ServerState): number[] => PROBES.map((probe) => probes[probe].durationSeconds);
  assertEquals(durations(await second), [0, 0.5, 0]);
  ps.respond(Response.json({ models: [] }));
  assertEquals(durations(await first), [0, 1.5, 0]);
});

Deno.test("Ollama.lastState is the last state that no caller's limit cut short", async () => {
  using clock = new TestClock();
  const version = gated();
  using asked = new AskedOllama({ version: version.answer, tags: saying("") }, { timeoutMs: HOUR_MS });
  assertEquals(asked.ollama.lastState, undefined);
  const complete = asked.ollama.fetchState();
  await asked.ollama.fetchState(1);
  assertEquals(asked.ollama.lastState, undefined);
  clock.now = 5000;
  version.respond(Response.json({ version: "0.33.0" }));
  const state = await complete;
  assertEquals([state.at, successes(state)], [5000, [true, true, false]]);
  assertEquals(asked.ollama.lastState, state);
  asked.answers.version = hanging;
  await asked.ollama.fetchState(1);
  assertEquals(asked.ollama.lastState, state);
});

Deno.test("Ollama.refreshIfOlder() fetches the state unless the last one is recent", async () => {
  using clock = new TestClock();
  using asked = new AskedOllama();
  for (const [now, requests] of [[0, 3], [1000, 3], [1001, 6], [2001, 6]] as const) {
    clock.now = now;
    await asked.ollama.refreshIfOlder(1000);
    assertEquals(asked.asked.length, requests, `${now} ms`);
  }
  asked.answers.version = saying("{}");
  await asked.ollama.refreshIfOlder(-1);
  assertEquals(asked.ollama.lastState?.version, undefined);
  assertEquals(asked.ollama.lastState?.probes.version.error, "/api/version: no version in the response");
});

/** The server's n-th state: `n` is its version, the number of its models follows from it, and all values are `n`. */
function momentOf(n: number): { version: string; models: unknown[] } {
  const model = { size: n, size_vram: n, context_length: n, digest: String(n) };
  return { version: String(n), models: Array.from({ length: 1 + n % 4 }, (_, i) => ({ ...model, name: `m${i}` })) };
}

Deno.test("Ollama.fetchState() and expose() do not mix the states of concurrent scrapes (seed 7)", async () => {
  // Every metric takes a slice of its own, so that expositions overlap with each other and with probes.
  using _clock = new TestClock({ stepMs: 1000 });
  const next = random(7);
  const turns = async (bound: number): Promise<void> => {
    for (let left = Math.floor(next() * bound); left > 0; left--) await turn();
  };
  let rounds = 0;
  const late = async (n: number): Promise<Response> => {
    await turns(4);
    return Response.json(momentOf(n));
  };
  using asked = new AskedOllama({
    // The first request of a round.
    version: () => late(++rounds),
    ps: () => late(rounds),
    tags: () => late(rounds),
  }, { timeoutMs: HOUR_MS });
  const scrapes: Promise<Scrape>[] = [];
  for (let count = 0; count < 400; count++) {
    scrapes.push(asked.scrape());
    await turns(6);
  }
  for (const scrape of await Promise.all(scrapes)) {
    const [version = ""] = scrape.labelValues("version");
    assertEquals(scrape.labelValues("digest"), [version]);
    const values = scrape.text.match(/(?<=^ollama_(loaded|installed)_model_(size|vram|context)_\w+{.*} )\d+/gm) ?? [];
    const count = 1 + Number(version) % 4;
    assertEquals(values, Array(4 * count).fill(version));
    assertEquals([scrape.value("ollama_loaded_models"), scrape.value("ollama_installed_models")], [count, count]);
  }
  assert(rounds > 50 && rounds < 400, `${rounds} rounds: some scrapes share one, and some overlap with another`);
});

Deno.test("Ollama.fetchState() shares its requests between concurrent scrapes of a real server", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  fake.behaviour.script = async ({ path }) => {
    if (path === "/api/ps") await until(() => exporter.proxied === 2, "both scrapes have arrived");
  };
  const success = ({ text }: Scrape): string[] => text.match(/^ollama_exporter_probe_success{.*$/gm) ?? [];
  for (const scrape of await Promise.all([exporter.scrape(), exporter.scrape()])) {
    assertEquals(success(scrape), PROBES.map((probe) => `ollama_exporter_probe_success{probe="${probe}"} 1`));
  }
  assertEquals(fake.requests.map(({ path }) => path).sort(), ["/api/ps", "/api/tags", "/api/version"]);
  fake.behaviour.script = undefined;
  await exporter.scrape();
  assertEquals(fake.requestCount, 6);
});

for (const beginning of ["", 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"version":"0.33.0","models":[']) {
  Deno.test(`Ollama.fetchState() closes connections that time out after ${beginning.length} bytes`, async () => {
    using timers = new TestTimers(HOUR_MS);
    await using fake = await startFakeOllama({
      script: async (_, connection) => {
        await connection.write(beginning);
        return await connection.sleep(Infinity).then(() => true);
      },
    });
    await using exporter = startExporter(fake, { probeTimeoutMs: HOUR_MS });
    const scrape = exporter.scrape();
    const paths = PROBES.map((probe) => `/api/${probe}`);
    const requests = await Promise.all(paths.map((path) => fake.waitForRequest((request) => request.path === path)));
    timers.fire();
    for (const request of requests) await fake.waitForAbort(request);
    assertEquals((await scrape).value("ollama_exporter_probe_success"), 0);
  });
}

Deno.test("Ollama.fetchState() follows a server that fails and recovers", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const before = await exporter.scrape();
  fake.behaviour.versionProbe = { status: 500 };
  const failed = await exporter.scrape();
  assertEquals([failed.value("ollama_up"), failed.value("ollama_loaded_models")], [0, 1]);
  fake.behaviour.psProbe = "invalid_json";
  fake.behaviour.tagsProbe = { status: 404, body: "404 page not found" };
  assertEquals((await exporter.scrape()).value("ollama_exporter_probe_success"), 0);
  fake.reset();
  const after = await exporter.scrape();
  // The expiry of a model that is in use keeps increasing.
  const state = ({ text }: Scrape) => text.match(/^ollama_(up|version|installed|loaded_models|loaded_model_[sv]).*$/gm);
  assertEquals(state(after), state(before));
});

Deno.test("Ollama.fetchState() sends the headers of the file, which clients' requests do not get", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("headers", "Authorization: Bearer own\nX-Key: 1\n");
  const headersFile = await HeadersFile.open({ path, onReload: () => {} });
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake, { headersFile });
  await exporter.scrape();
  await (await exporter.post("/api/chat", CHAT, { headers: { authorization: "Bearer client" } })).text();
  await (await exporter.post("/api/chat", CHAT)).text();
  await (await fetch(`${exporter.url}/api/version`)).text();
  await (await fetch(`${exporter.url}/-/ready`)).text();
  const sent = fake.requests.map((request) => [request.path, ...request.headers("authorization")].join(" "));
  const own = PROBES.map((probe) => `/api/${probe} Bearer own`);
  assertEquals(sent.slice(0, 3).sort(), own.toSorted());
  assertEquals(sent.slice(3), ["/api/chat Bearer client", "/api/chat", "/api/version", "/api/version Bearer own"]);
  assertEquals(fake.requests.map((request) => request.headers("x-key").length), [1, 1, 1, 0, 0, 0, 1]);
  assertEquals(fake.requests[0]?.headers("accept-encoding"), ["identity"]);
});
