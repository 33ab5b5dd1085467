/** What `node:http` does as a listener, beside and beyond what `Deno.serve` does. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Handler, Listener, TlsConfig } from "../../../lib/http.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { FIRST, SECOND } from "../../support/certificates.ts";
import { ROOT, run, testWith } from "../../support/deployment.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { ANY_PORT, delay, Gate, until } from "../../support/helpers.ts";
import { ask, RawClient, valuesOf } from "../../support/raw_client.ts";

/** Largest head that is taken. */
const HEAD_LIMIT_BYTES = 64 * 1024;

/** Longer than `node:http` keeps a connection whose time is up, a second of grace included. */
const SOME_IDLE_MS = 1500;

/** A listener that is stopped at the end of its block. */
class TestListener implements AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;

  private constructor(listener: Listener) {
    this.listener = listener;
    this.port = listener.address.port;
  }

  static async start(handler: Handler, tls?: TlsConfig, headTimeoutMs?: number): Promise<TestListener> {
    return new TestListener(await listenNode(handler, ANY_PORT, tls, headTimeoutMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.abort();
    await this.listener.shutdown();
  }
}

/** A body that sends a beginning, and its end when it may. */
function stream(beginning: string, gate: Gate, end: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  const texts = [Promise.resolve(beginning), gate.opened.then(() => end)];
  return ReadableStream.from(texts).pipeThrough(new TextEncoderStream());
}

Deno.test("listenNode() says where it listens, and that an address is in use", async () => {
  await using server = await TestListener.start(() => new Response("here"));
  assert(server.port > 0);
  assertEquals((await ask(server.port, "GET /")).body, "here");
  await assertRejects(() => listenNode(() => new Response(), { ...ANY_PORT, port: server.port }), Error, "EADDRINUSE");
});

Deno.test("listenNode() gives the target as it came, behind the Host header", async () => {
  const urls: string[] = [];
  await using server = await TestListener.start((request) => {
    urls.push(request.url);
    return new Response();
  });
  const targets = ["//x", "/a/../b", "/%2e%2e/%2F", "/?q='<>", "/\\", "/a;b:c@d"];
  for (const target of targets) await ask(server.port, `GET ${target}`, ["Host: h:1"]);
  await ask(server.port, "OPTIONS *", ["Host: h:1"]);
  await ask(server.port, "GET http://evil/x", ["Host: h:1"]);
  assertEquals(urls, [...targets.map((target) => `http://h:1${target}`), "http://h:1/*", "http://evil/x"]);
});

Deno.test("listenNode() joins what a header says more than once, and passes its bytes both ways", async () => {
  const seen: (string | null)[] = [];
  await using server = await TestListener.start(({ headers }) => {
    seen.push(headers.get("cookie"), headers.get("x-a"), headers.get("x-latin"));
    const answer = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-latin", "caf\xe9"]]);
    return new Response("body", { headers: answer });
  });
  const response = await ask(server.port, "GET /", ["Cookie: a=1", "X-A: 1", "cookie: b=2", "x-a: 2", "X-Latin: \xe9"]);
  // `ask` sends UTF-8, which comes as one character a byte.
  assertEquals(seen, ["a=1; b=2", "1, 2", "\xc3\xa9"]);
  assertEquals(valuesOf(response, "set-cookie"), ["a=1", "b=2"]);
  assertEquals(valuesOf(response, "x-latin"), ["caf\xe9"]);
  assertEquals(valuesOf(response, "connection"), []);
});

Deno.test("listenNode() takes heads of up to 64 KiB, and refuses longer ones", async () => {
  await using server = await TestListener.start(() => new Response("ok"));
  const header = (length: number): string[] => [`X-Long: ${"x".repeat(length)}`];
  assertEquals((await ask(server.port, "GET /", header(HEAD_LIMIT_BYTES - 200))).status, 200);
  assertEquals((await ask(server.port, "GET /", header(HEAD_LIMIT_BYTES))).status, 431);
});

Deno.test("listenNode() waits for a head as long as it may take, and for a body or the next request without end", async () => {
  await using server = await TestListener.start(async (request) => new Response(await request.bytes()), undefined, 200);
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

Deno.test("listenNode() keeps connections, also after a body that nobody read, and takes pipelined requests", async () => {
  await using server = await TestListener.start((request) => new Response(new URL(request.url).pathname));
  using client = await RawClient.connect(server.port);
  await client.request("POST /unread", [], "x".repeat(100_000));
  assertEquals((await client.response()).body, "/unread");
  for (const path of ["/1", "/2", "/3"]) await client.request(`GET ${path}`);
  for (const path of ["/1", "/2", "/3"]) assertEquals((await client.response()).body, path);
});

Deno.test("listenNode() streams to a client of HTTP/1.0, and closes behind the answer", async () => {
  using gate = new Gate();
  await using server = await TestListener.start(() => new Response(stream("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.send("GET / HTTP/1.0\r\n\r\n");
  await client.sees("begin");
  gate.open();
  assert((await client.rest()).endsWith("\r\n\r\nbeginend"));
});

Deno.test("listenNode() survives a handler that throws, and answers that break off", async () => {
  await using server = await TestListener.start((request) => {
    if (request.url.endsWith("/throws")) throw new Error("on purpose");
    if (request.url.endsWith("/late")) return Promise.reject(new Error("on purpose"));
    if (request.url.endsWith("/ok")) return new Response("ok");
    const body = new ReadableStream({
      start(controller): void {
        controller.enqueue(new TextEncoder().encode("beginning"));
      },
      pull: () => Promise.reject(new Error("on purpose")),
    });
    return new Response(body);
  });
  for (const path of ["/throws", "/late"]) {
    using client = await RawClient.connect(server.port);
    await client.request(`GET ${path}`);
    assertEquals(await client.rest(), "");
  }
  const { body, end } = await ask(server.port, "GET /breaks");
  assertEquals([body, end], ["beginning", "broken"]);
  assertEquals((await ask(server.port, "GET /ok")).body, "ok");
});

Deno.test("listenNode() tells at once that a client has left, before the answer and in it", async () => {
  using gate = new Gate();
  const came: string[] = [];
  const left: string[] = [];
  await using server = await TestListener.start(async ({ url, signal }) => {
    came.push(new URL(url).pathname);
    signal.addEventListener("abort", () => left.push(new URL(url).pathname));
    if (url.endsWith("/before")) await gate.opened;
    return new Response(stream("begin", gate, "end"));
  });
  for (const [path, seen] of [["/before", ""], ["/in", "begin"]] as const) {
    const client = await RawClient.connect(server.port);
    await client.request(`POST ${path}`, [], "x".repeat(100_000));
    await client.sees(seen);
    await until(() => came.includes(path), "the request has come");
    client.close();
    await until(() => left.includes(path), `it is told that the client has left ${path}`);
  }
});

Deno.test("listenNode() lets open requests end on shutdown, and ends all other connections at once", async () => {
  using gate = new Gate();
  const server = await TestListener.start(({ url }) =>
    new Response(url.endsWith("/stream") ? stream("begin", gate, "end") : "")
  );
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

Deno.test("listenNode() breaks off what is open when it is told to, also while it shuts down", async () => {
  using gate = new Gate();
  const server = await TestListener.start(() => new Response(stream("begin", gate, "end")));
  using client = await RawClient.connect(server.port);
  await client.request("GET /");
  await client.sees("begin");
  const down = server.listener.shutdown();
  server.listener.abort();
  assertEquals((await client.response()).end, "broken");
  await down;
});

/** What `https` says at a port, to a client that trusts one certificate. */
async function askTls(port: number, trusted: string): Promise<string> {
  using client = Deno.createHttpClient({ caCerts: [trusted] });
  const response = await fetch(`https://localhost:${port}/`, { client });
  return await response.text();
}

Deno.test("listenNode() speaks TLS, takes a new certificate, and survives what is no TLS", async () => {
  await using server = await TestListener.start(({ url }) => new Response(url), { ...FIRST, minVersion: "TLS12" });
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

testWith(["openssl"], "listenNode() refuses TLS below the least version", async () => {
  await using server = await TestListener.start(() => new Response(), { ...FIRST, minVersion: "TLS13" });
  const connect = ["s_client", "-connect", `127.0.0.1:${server.port}`];
  assertEquals((await run("openssl", [...connect, "-tls1_3"])).code, 0);
  assertEquals((await run("openssl", [...connect, "-tls1_2"])).code, 1);
});

testWith(["systemd-socket-activate"], "the program takes a socket over from systemd", async () => {
  await using fake = await startFakeOllama();
  const port = (): number => {
    using listener = Deno.listen(ANY_PORT);
    return listener.addr.port;
  };
  const address = `127.0.0.1:${port()}`;
  const env = [`OLLAMA_HOST=${fake.url}`, "WEB_SERVER=node", `LISTEN_ADDRESS=127.0.0.1:${port()}`];
  const child = new Deno.Command("systemd-socket-activate", {
    args: ["-l", address, ...env.map((line) => `--setenv=${line}`), Deno.execPath(), "run", "-A", `${ROOT}/main.ts`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const answer = async (): Promise<string | undefined> => {
      return await fetch(`http://${address}/api/version`).then((response) => response.text(), () => undefined);
    };
    let text: string | undefined;
    await until(async () => (text = await answer()) !== undefined, "the socket is listened on");
    assertEquals(text, await (await fetch(`${fake.url}/api/version`)).text());
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
});
