/** The program as a process: how it starts, what it says, how it ends. */

import { get } from "node:http";
import { assert, assertEquals, assertMatch, assertStringIncludes, fail } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { holdStreams, isRefused } from "../support/held_streams.ts";
import { CHAT, delay, Gate, GENERATE, Scrape, until } from "../support/helpers.ts";
import { Program, type ProgramOptions } from "../support/program.ts";
import { ask, RawClient } from "../support/raw_client.ts";

/** A program in front of a fake Ollama. */
function startProgram(upstream: { url: string }, { args, variables }: ProgramOptions = {}): Program {
  return new Program({ args: args ?? [], variables: { OLLAMA_HOST: upstream.url, ...variables } });
}

/** In the log where Deno.serve is forced. */
const DENO_WARNING = "HTTP server is Deno.serve, which failed the check at start";

/** A port of this machine that nothing listens on. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Returns the status of a GET request with a Host header of its own. */
function statusBy(host: string, url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host } }, (response) => resolve(response.resume().statusCode)).on("error", reject);
  });
}

Deno.test("main says what listens where and what is proxied, and that Ollama answers", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake);
  const answers = await program.line('msg="Ollama is reachable"');
  const port = await program.port();
  const address = `127.0.0.1:${port}`;
  const [first = ""] = program.lines;
  assertMatch(first, /^time=\S+Z level=INFO msg=Listening version=/);
  for (const part of [` address=${address} `, ` ollama=${fake.url}/ `, ` metrics=http://${address}/metrics`]) {
    assertStringIncludes(first, part);
  }
  const status = / status=(\S+)$/.exec(first)?.[1] ?? fail(first);
  assertStringIncludes(await (await fetch(status)).text(), "<title>");
  assertMatch(
    await program.line("HTTP server is"),
    /level=INFO msg="HTTP server is node:http" reason="Deno.serve rejects/,
  );
  assertStringIncludes(answers, "ollama_version=0.33.0");
  const response = await ask(port, "POST /api/chat", [], JSON.stringify(CHAT));
  assertStringIncludes(response.body, '"done":true');
  assertEquals(program.output, []);
  assert(!program.lines.some((line) => /WARN|ERROR/.test(line)), program.lines.join("\n"));
  const metrics = new Scrape((await ask(port, "GET /metrics")).body);
  assertEquals(metrics.value("ollama_tokens_generated_total", { model: "llama3.2:latest" }), 5);
  assertEquals(metrics.value("ollama_exporter_build_info", { version: denoJson.version, revision: "unknown" }), 1);
});

Deno.test("main knows the models of Ollama before it is scraped, and before a request is answered", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake);
  const lists = await fake.waitForRequest(({ path }) => path === "/api/tags");
  await until(() => lists.answeredAt !== undefined, "the models are listed");
  fake.behaviour.status = 500;
  const port = await program.port();
  assertEquals((await ask(port, "POST /api/chat", [], JSON.stringify({ ...CHAT, model: "qwen3" }))).status, 500);
  fake.reset();
  const metrics = new Scrape((await ask(port, "GET /metrics")).body);
  assertEquals(metrics.value("ollama_requests_total", { model: "qwen3:latest" }), 1);
});

Deno.test("main warns while Ollama is away, and serves all the same until it comes", async () => {
  const port = freePort();
  await using program = startProgram({ url: `127.0.0.1:${port}` });
  assertMatch(await program.line("level=WARN"), /is unreachable, retrying.* ollama=http:\/\/127\.0\.0\.1:\d+\/ error=/);
  const own = await program.port();
  const away = await ask(own, "POST /api/chat", [], JSON.stringify(CHAT));
  assertEquals(away.status, 502);
  assertEquals((await ask(own, "GET /-/ready")).status, 503);
  await using _fake = await startFakeOllama({ port });
  assertEquals((await ask(own, "POST /api/chat", [], JSON.stringify(CHAT))).status, 200);
  assertEquals((await ask(own, "GET /-/ready")).status, 200);
  await program.line('msg="Ollama is reachable again"');
});

Deno.test("main warns where Deno.serve is forced although it failed the check", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake, { variables: { WEB_SERVER: "deno" } });
  assertMatch(await program.line(DENO_WARNING), /level=WARN .* setting=WEB_SERVER$/);
});

for (const server of ["auto", ...WEB_SERVERS]) {
  Deno.test(`main listens on IPv4 and IPv6 without a host, and says that Ollama is reachable (${server})`, async () => {
    await using fake = await startFakeOllama();
    const variables = { LISTEN_ADDRESS: ":0", METRICS_LISTEN_ADDRESS: ":0", WEB_SERVER: server };
    await using program = startProgram(fake, { variables });
    const [port, own] = [await program.port(), await program.metricsPort()];
    for (const host of ["127.0.0.1", "[::1]"]) {
      assertEquals((await (await fetch(`http://${host}:${port}/api/version`)).json()).version, "0.33.0");
      assertEquals(await (await fetch(`http://${host}:${own}/-/healthy`)).text(), "Healthy\n");
    }
    const forwarded = fake.requests.filter(({ path }) => path === "/api/version")
      .flatMap((request) => request.headers("x-forwarded-for"));
    assertEquals(new Set(forwarded), new Set(["127.0.0.1", "::1"]));
    assertMatch(
      await program.line("Ollama's API"),
      / level=WARN .*; set LISTEN_ADDRESS=127\.0\.0\.1:\d+ to keep it local"/,
    );
    await using health = new Program({ args: ["health", `--web.listen-address=:${own}`] });
    assertEquals([await health.exitCode(), health.lines], [0, []]);
  });
}

for (const server of WEB_SERVERS) {
  Deno.test(`main ends with one line where it cannot listen (${server})`, async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${listener.addr.port}`;
    for (const variables of [{ LISTEN_ADDRESS: address }, { METRICS_LISTEN_ADDRESS: address }]) {
      await using program = new Program({ variables: { ...variables, WEB_SERVER: server } });
      assertEquals(await program.exitCode(), 1);
      assertEquals([program.lines.length, program.output], [1, []], program.lines.join("\n"));
      assertMatch(program.lines[0] ?? "", new RegExp(`Cannot listen.*${address}.*in use`, "i"));
    }
  });
}

Deno.test("main names every setting that is wrong, and ends", async () => {
  await using program = new Program({
    args: ["--log.format=xml", "--nonsense"],
    variables: { OLLAMA_HOST: "ftp://x", LOG_LEVEL: "LOUD", SHUTDOWN_TIMEOUT: "soon", LISTEN_ADDRESS: "nowhere" },
  });
  assertEquals(await program.exitCode(), 1);
  assertEquals([program.lines.length, program.output], [6, []], program.lines.join("\n"));
  const expected = [
    /^OLLAMA_HOST: expected .*, got "ftp:\/\/x"$/,
    /^LOG_LEVEL: expected .*DEBUG.*, got "LOUD"$/,
    /^SHUTDOWN_TIMEOUT: expected .*, got "soon"$/,
    /^LISTEN_ADDRESS: expected .*, got "nowhere"$/,
    /^--log.format: expected .*, got "xml"$/,
    /^Unknown argument "--nonsense": /,
  ];
  for (const line of expected) assert(program.lines.some((found) => line.test(found)), `${line}`);
});

Deno.test("main prints its help and its versions, and ends", async () => {
  await using help = new Program({ args: ["--help"] });
  assertEquals([await help.exitCode(), help.lines], [0, []]);
  for (const part of ["Usage: ollama-exporter", "--ollama.host", "(OLLAMA_HOST)", "--web.shutdown-timeout"]) {
    assertStringIncludes(help.output.join("\n"), part);
  }
  await using version = new Program({ args: ["--version"] });
  assertEquals([await version.exitCode(), version.lines, version.output.length], [0, [], 1]);
  const { deno, v8 } = Deno.version;
  const versions = `ollama-exporter ${denoJson.version} (commit unknown, deno ${deno}, v8 ${v8}, `;
  assertStringIncludes(version.output[0] ?? "", versions);
});

Deno.test("main prints the completion script of a shell, and rejects another one", async () => {
  await using bash = new Program({ args: ["completion", "bash"] });
  assertEquals([await bash.exitCode(), bash.lines], [0, []]);
  assertEquals(bash.output.at(-1), "complete -F _ollama_exporter ollama-exporter");
  await using tcsh = new Program({ args: ["completion", "tcsh"] });
  const error = 'completion: expected `bash`, `zsh` or `fish`, got "tcsh"';
  assertEquals([await tcsh.exitCode(), tcsh.lines, tcsh.output], [1, [error], []]);
});

for (const [signal, server] of [["SIGTERM", "deno"], ["SIGINT", "deno"], ["SIGTERM", "node"]] as const) {
  Deno.test(`main lets open streams finish after ${signal}, accepts nothing more, and exits with 0 (${server})`, async () => {
    await using fake = await startFakeOllama();
    using gate = new Gate();
    holdStreams(fake, gate);
    await using program = startProgram(fake, { variables: { WEB_SERVER: server } });
    await program.line('msg="Ollama is reachable"');
    const port = await program.port();
    using client = await RawClient.connect(port);
    await client.request("POST /api/chat", [], JSON.stringify(CHAT));
    await client.sees("begin");
    // A connection without a request holds up nothing.
    using idle = await RawClient.connect(port);
    await idle.request("GET /-/healthy");
    assertEquals((await idle.response()).status, 200);
    program.kill(signal);
    assertMatch(await program.line("msg=Stopping"), / open_requests=1 timeout_seconds=30$/);
    await until(() => isRefused(port), "nothing more is accepted");
    gate.open();
    const { body, end } = await client.response();
    assertEquals([body, end], ["begin\nend\n", "complete"]);
    assertEquals(await program.exitCode(), 0);
    assertStringIncludes(program.lines.at(-1) ?? "", "msg=Stopped");
    const unwanted = program.lines.filter((line) => /WARN|ERROR|^\s+at /.test(line) && !line.includes(DENO_WARNING));
    assertEquals(unwanted, []);
  });
}

/** What may hold up an end, beside a stream. */
const METRICS_ELSEWHERE = { METRICS_LISTEN_ADDRESS: "127.0.0.1:0" };
/** Time after which a second signal counts, in milliseconds, and some more. */
const SECOND_SIGNAL_MS = 1100;

for (
  const [name, variables, signals] of [
    ["when SHUTDOWN_TIMEOUT is over", { SHUTDOWN_TIMEOUT: "200ms" }, 1],
    ["at a second signal, a second later", {}, 2],
    ["when SHUTDOWN_TIMEOUT is over (node)", { SHUTDOWN_TIMEOUT: "200ms", WEB_SERVER: "node" }, 1],
    ["on both addresses when SHUTDOWN_TIMEOUT is over", { SHUTDOWN_TIMEOUT: "200ms", ...METRICS_ELSEWHERE }, 1],
  ] as const
) {
  Deno.test(`main breaks off what is open ${name}, and exits with 0`, async () => {
    await using fake = await startFakeOllama();
    using gate = new Gate();
    holdStreams(fake, gate);
    await using program = startProgram(fake, { variables });
    await program.line('msg="Ollama is reachable"');
    const port = await program.port();
    using client = await RawClient.connect(port);
    await client.request("POST /api/chat", [], JSON.stringify(CHAT));
    await client.sees("begin");
    // An upload that is not read to its end.
    using upload = await RawClient.connect(port);
    await upload.send("POST /api/blobs/sha256:00 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx");
    await fake.waitForRequest(({ path }) => path.startsWith("/api/blobs"));
    program.kill("SIGTERM");
    await program.line("msg=Stopping");
    if (signals === 2) {
      await delay(SECOND_SIGNAL_MS);
      program.kill("SIGTERM");
    }
    const { body, end } = await client.response();
    assertEquals([body, end], ["begin\n", "broken"]);
    assertEquals(await program.exitCode(), 0, program.lines.join("\n"));
    assertStringIncludes(program.lines.at(-1) ?? "", "msg=Stopped");
    assertEquals(program.lines.filter((line) => /WARN|ERROR|^\s+at /.test(line)), []);
    const chat = await fake.waitForRequest(({ path }) => path === "/api/chat");
    await fake.waitForAbort(chat);
  });
}

Deno.test("main logs a line for each request at DEBUG, and no secret of it", async () => {
  await using fake = await startFakeOllama({ words: ["ANSWER"], thinking: 1 });
  await using program = startProgram(fake, { variables: { LOG_LEVEL: "debug" } });
  const port = await program.port();
  const secrets = ["Authorization: Bearer SECRET", "Cookie: SECRET", "X-Api-Key: SECRET"];
  const body = JSON.stringify({ ...CHAT, messages: [{ role: "user", content: "PROMPT" }] });
  await ask(port, "POST /api/chat?key=SECRET", secrets, body);
  const line = await program.line("route=/api/chat");
  const fields = "method=POST route=/api/chat model=llama3.2 status=200 outcome=ok prompt_tokens=26 output_tokens=2";
  assertStringIncludes(line, `level=DEBUG msg=Request ${fields} duration_seconds=`);
  await ask(port, "POST /api/chat/SECRET", secrets, "PROMPT");
  await ask(port, "POST /api/generate", secrets, JSON.stringify({ ...GENERATE, prompt: "PROMPT", suffix: "SECRET" }));
  await program.line("route=other");
  await program.line("route=/api/generate");
  program.kill("SIGTERM");
  assertEquals(await program.exitCode(), 0);
  const log = program.lines.join("\n");
  for (const word of ["SECRET", "PROMPT", "ANSWER", "Thought"]) assert(!log.includes(word), `${word} in:\n${log}`);
});

Deno.test("main serves requests that offer an HTTP upgrade, as Java's HttpClient does", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake);
  const offer = [
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA",
  ];
  const response = await ask(await program.port(), "POST /api/chat", offer, JSON.stringify(CHAT));
  assertEquals(response.status, 200);
  assertStringIncludes(response.body, '"done":true');
});

Deno.test("main takes no notice of a proxy in its environment", async () => {
  const dead = `http://127.0.0.1:${freePort()}`;
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
  await using fake = await startFakeOllama();
  await using program = startProgram(fake, { variables: Object.fromEntries(names.map((name) => [name, dead])) });
  await program.line('msg="Ollama is reachable"');
  const port = await program.port();
  assertEquals((await ask(port, "POST /api/chat", [], JSON.stringify(CHAT))).status, 200);
  assertEquals((await ask(port, "GET /api/tags")).status, 200);
});

for (const server of WEB_SERVERS) {
  Deno.test(`main takes no notice of variables that change Deno's listener and fetch (${server})`, async () => {
    await using fake = await startFakeOllama();
    const runtime = {
      DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${freePort()}`,
      DENO_SERVE_AUTOMATIC_COMPRESSION: "1",
      DENO_TRUST_PROXY_HEADERS: "1",
      X_DENO_FETCH_TOKEN: "token",
      CDN_LOOP: "loop",
    };
    const port = freePort();
    const variables = { ...runtime, LISTEN_ADDRESS: `127.0.0.1:${port}`, WEB_SERVER: server };
    await using program = startProgram(fake, { variables });
    assertEquals(await program.port(), port);
    const sent = ["X-Deno-Client-Address: 1.2.3.4:5", "CDN-Loop: of the client"];
    for (const [headers, expected] of [[[], []], [sent, ["of the client"]]] as const) {
      await ask(port, "GET /api/tags", [...headers, "Accept-Encoding: gzip"]);
      const request = fake.requests.filter(({ path }) => path === "/api/tags").at(-1) ?? fail("no request");
      assertEquals(request.headers("x-forwarded-for"), ["127.0.0.1"]);
      assertEquals(request.headers("x-deno-client-address"), headers.length > 0 ? ["1.2.3.4:5"] : []);
      assertEquals([request.headers("cdn-loop"), request.headers("x-deno-fetch-token")], [[...expected], []]);
    }
  });
}

Deno.test("main logs JSON, a line for each event, where LOG_FORMAT says so", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake, { variables: { LOG_FORMAT: "json", LOG_LEVEL: "DEBUG" } });
  await program.line('"msg":"Ollama is reachable"');
  const { address } = JSON.parse(await program.line("Listening"));
  await ask(Number(address.split(":")[1]), "POST /api/chat", [], JSON.stringify(CHAT));
  await program.line('"msg":"Request"');
  program.kill("SIGTERM");
  assertEquals(await program.exitCode(), 0);
  for (const line of program.lines) {
    const { time, level, msg } = JSON.parse(line);
    assert(!Number.isNaN(Date.parse(time)) && /^(DEBUG|INFO)$/.test(level) && typeof msg === "string", line);
  }
});

Deno.test("main serves its own paths on an address of their own, and only there", async () => {
  await using fake = await startFakeOllama();
  await using program = startProgram(fake, { variables: METRICS_ELSEWHERE });
  const [port, own] = [await program.port(), await program.metricsPort()];
  assert(port !== own);
  assertEquals((await ask(own, "GET /metrics")).status, 200);
  assertEquals((await ask(own, "GET /api/version")).status, 404);
  assertEquals((await ask(port, "GET /api/version")).status, 200);
  // Ollama has none.
  assertEquals((await ask(port, "GET /metrics")).status, 404);
});

Deno.test("main checks the host of every request to a listener on loopback, and of no program on any other", async () => {
  await using fake = await startFakeOllama();
  for (
    const [listen, own, statuses] of [["0.0.0.0", "localhost", [200, 403]], ["127.0.0.1", "0.0.0.0", [
      403,
      200,
    ]]] as const
  ) {
    const variables = { LISTEN_ADDRESS: `${listen}:0`, METRICS_LISTEN_ADDRESS: `${own}:0` };
    await using program = startProgram(fake, { variables });
    const urls = [
      `http://${listen}:${await program.port()}/api/version`,
      `http://${own}:${await program.metricsPort()}/metrics`,
    ];
    const found = urls.map((url) => statusBy("gpu.example.com", url));
    assertEquals(await Promise.all(found), [...statuses], `${listen} and ${own}`);
  }
});

Deno.test("main leaves Ollama when its client leaves", async () => {
  await using fake = await startFakeOllama({ tokens: 3000, tokenDelayMs: 5 });
  await using program = startProgram(fake);
  const client = await RawClient.connect(await program.port());
  await client.request("POST /api/chat", [], JSON.stringify(CHAT));
  await client.sees(" there");
  client.close();
  await fake.waitForAbort(await fake.waitForRequest(({ method }) => method === "POST"));
});
