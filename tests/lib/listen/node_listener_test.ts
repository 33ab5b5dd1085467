/** The listener on `node:http`. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Handler, TlsConfig } from "../../../lib/http.ts";
import { HEAD_LIMIT_BYTES, listenNode } from "../../../lib/listen/node_listener.ts";
import { FIRST, SECOND } from "../../support/certificates.ts";
import { ROOT, run, testWith } from "../../support/deployment.ts";
import { START_FLAGS } from "../../../tools/start_flags.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { ANY_PORT, delay, Gate, until } from "../../support/helpers.ts";
import { ask, RawClient } from "../../support/raw_client.ts";
import { gatedBody, TestListener } from "../../support/test_listener.ts";

/** Longer than `node:http` takes to close a connection after a timeout, including a second of grace. */
const SOME_IDLE_MS = 1500;

async function start(handler: Handler, tls?: TlsConfig, headTimeoutMs?: number): Promise<TestListener> {
  return new TestListener(await listenNode(handler, ANY_PORT, tls, headTimeoutMs));
}

Deno.test("listenNode() returns the bound address, and rejects if the address is in use", async () => {
  await using server = await start(() => new Response("here"));
  assert(server.port > 0);
  assertEquals((await ask(server.port, "GET /")).body, "here");
  await assertRejects(() => listenNode(() => new Response(), { ...ANY_PORT, port: server.port }), Error, "EADDRINUSE");
});

Deno.test("listenNode() responds with 431 to headers of more than 64 KiB", async () => {
  await using server = await start(() => new Response("ok"));
  const header = (length: number): string[] => [`X-Long: ${"x".repeat(length)}`];
  assertEquals((await ask(server.port, "GET /", header(HEAD_LIMIT_BYTES - 200))).status, 200);
  assertEquals((await ask(server.port, "GET /", header(HEAD_LIMIT_BYTES))).status, 431);
});

Deno.test("listenNode() times out waiting for headers, but not for a body or the next request", async () => {
  await using server = await start(async (request) => new Response(await request.bytes()), undefined, 200);
  using idle = await RawClient.connect(server.port);
  await idle.request("POST /", [], "first");
  assertEquals((await idle.response()).body, "first");
  using slow = await RawClient.connect(server.port);
  await slow.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na");
  for (const beginning of ["", "GET / HTTP/1.1\r\nHost:"]) {
    using client = await RawClient.connect(server.port);
    await client.send(beginning);
    const text = await client.rest();
    assert(text.startsWith("HTTP/1.1 408 "), text);
  }
  await delay(SOME_IDLE_MS);
  await slow.send("b");
  assertEquals((await slow.response()).body, "ab");
  await idle.request("POST /", [], "second");
  assertEquals((await idle.response()).body, "second");
});

Deno.test("listenNode() keeps connections open after unread bodies and handles pipelined requests", async () => {
  await using server = await start((request) => new Response(new URL(request.url).pathname));
  using client = await RawClient.connect(server.port);
  await client.request("POST /unread", [], "x".repeat(100_000));
  assertEquals((await client.response()).body, "/unread");
  for (const path of ["/1", "/2", "/3"]) await client.request(`GET ${path}`);
  for (const path of ["/1", "/2", "/3"]) assertEquals((await client.response()).body, path);
});

Deno.test("listenNode() detects disconnects before and during the response", async () => {
  using gate = new Gate();
  const received: string[] = [];
  const disconnected: string[] = [];
  await using server = await start(async ({ url, signal }) => {
    received.push(new URL(url).pathname);
    signal.addEventListener("abort", () => disconnected.push(new URL(url).pathname));
    if (url.endsWith("/before")) await gate.opened;
    return new Response(gatedBody("begin", gate, "end"));
  });
  for (const [path, seen] of [["/before", ""], ["/in", "begin"]] as const) {
    const client = await RawClient.connect(server.port);
    await client.request(`POST ${path}`, [], "x".repeat(100_000));
    await client.sees(seen);
    await until(() => received.includes(path), "the request is received");
    client.close();
    await until(() => disconnected.includes(path), `the disconnect from ${path} is detected`);
  }
});

Deno.test("listenNode() takes a half-closed client for a disconnected one, as Ollama does", async () => {
  using gate = new Gate();
  let isAborted = false;
  await using server = await start(async ({ signal }) => {
    signal.addEventListener("abort", () => isAborted = true);
    await gate.opened;
    return new Response();
  });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await client.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  await client.closeWrite();
  await until(() => isAborted, "the end of the client's requests is detected");
});

Deno.test("listenNode() survives clients that reset a CONNECT", async () => {
  const methods: string[] = [];
  await using server = await start(async ({ method }) => {
    methods.push(method);
    await delay(20);
    return new Response(new Uint8Array(1_000_000));
  });
  for (let count = 1; count <= 8; count++) {
    const client = await RawClient.connect(server.port);
    await client.request("CONNECT h:1");
    await until(() => methods.length === count, "the request is handled");
    if (count % 2 === 0) await client.sees("200 OK");
    client.close();
  }
  await delay(100);
  assertEquals((await ask(server.port, "GET /")).status, 200);
});

Deno.test("Listener.shutdown() waits for open requests and closes all other connections (node)", async () => {
  using gate = new Gate();
  const server = await start(({ url }) => new Response(url.endsWith("/stream") ? gatedBody("begin", gate, "end") : ""));
  using fresh = await RawClient.connect(server.port);
  using idle = await RawClient.connect(server.port);
  await idle.request("GET /");
  await idle.response();
  using client = await RawClient.connect(server.port);
  await client.request("GET /stream");
  await client.sees("begin");
  let isDown = false;
  const down = server.listener.shutdown().then(() => isDown = true);
  assertEquals(await fresh.rest(), "");
  assertEquals(await idle.rest(), "");
  await assertRejects(() => Deno.connect({ hostname: "127.0.0.1", port: server.port }));
  assertEquals(isDown, false);
  gate.open();
  const { body, end } = await client.response();
  assertEquals([body, end], ["beginend", "complete"]);
  await down;
});

Deno.test("Listener.abort() aborts open requests, also during shutdown (node)", async () => {
  using gate = new Gate();
  const server = await start(() => new Response(gatedBody("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.request("GET /");
  await client.sees("begin");
  const down = server.listener.shutdown();
  server.listener.abort();
  assertEquals((await client.response()).end, "broken");
  await down;
});

/** Fetches from a port with `https`, trusting one certificate. */
async function askTls(port: number, trusted: string): Promise<string> {
  using client = Deno.createHttpClient({ caCerts: [trusted] });
  const response = await fetch(`https://localhost:${port}/`, { client });
  return await response.text();
}

Deno.test("listenNode() serves TLS, replaces the certificate, and survives invalid handshakes", async () => {
  await using server = await start(({ url }) => new Response(url), { ...FIRST, minVersion: "TLS12" });
  assertEquals(await askTls(server.port, FIRST.cert), `https://localhost:${server.port}/`);
  server.listener.useTls?.({ ...SECOND, minVersion: "TLS12" });
  assertEquals(await askTls(server.port, SECOND.cert), `https://localhost:${server.port}/`);
  await assertRejects(() => askTls(server.port, FIRST.cert));
  using partial = await RawClient.connect(server.port);
  await partial.send("\x16\x03\x01\x02\x00\x01not all of it");
  for (const garbage of ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0".repeat(5000)]) {
    using client = await RawClient.connect(server.port);
    await client.send(garbage);
    assert(!(await client.rest()).includes("200"));
  }
  assertEquals(await askTls(server.port, SECOND.cert), `https://localhost:${server.port}/`);
});

testWith(["openssl"], "listenNode() rejects TLS below the minimum version", async () => {
  await using server = await start(() => new Response(), { ...FIRST, minVersion: "TLS13" });
  const connect = ["s_client", "-connect", `127.0.0.1:${server.port}`];
  assertEquals((await run("openssl", [...connect, "-tls1_3"])).code, 0);
  assertEquals((await run("openssl", [...connect, "-tls1_2"])).code, 1);
});

testWith(["systemd-socket-activate"], "main accepts a socket from systemd (node)", async () => {
  await using fake = await startFakeOllama();
  const port = (): number => {
    using listener = Deno.listen(ANY_PORT);
    return listener.addr.port;
  };
  const address = `127.0.0.1:${port()}`;
  const env = [`OLLAMA_HOST=${fake.url}`, "WEB_SERVER=node", `LISTEN_ADDRESS=0.0.0.0:${port()}`];
  const program = [Deno.execPath(), "run", ...START_FLAGS, `${ROOT}/main.ts`];
  const child = new Deno.Command("systemd-socket-activate", {
    args: ["-l", address, ...env.map((line) => `--setenv=${line}`), ...program],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const answer = async (): Promise<string | undefined> => {
      return await fetch(`http://${address}/api/version`).then((response) => response.text(), () => undefined);
    };
    let text: string | undefined;
    await until(async () => (text = await answer()) !== undefined, "the program accepts connections");
    assertEquals(text, await (await fetch(`${fake.url}/api/version`)).text());
    // The address of the socket decides which hosts are checked, not the setting.
    const { status } = await ask(Number(address.split(":")[1]), "GET /api/version", ["Host: gpu.example.com"]);
    assertEquals(status, 403);
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
});
