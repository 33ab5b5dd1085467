/** What the page says to the errors of probes: of real connections where they can be had. */

import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Ollama } from "../../../lib/ollama/probes.ts";
import { likelyCause } from "../../../lib/status/upstream_hint.ts";

const HOSTNAME = "127.0.0.1";

/** Returns the error of a probe, and what it suggests. */
async function causeOf(url: string): Promise<string | undefined> {
  const upstream = new URL(url);
  using client = Deno.createHttpClient({ http2: false });
  const { message } = await assertRejects(() =>
    new Ollama({ upstream, fetch, client, timeoutMs: 5000 }).version()
  ) as Error;
  return likelyCause(upstream, message);
}

/** Runs with a server that responds to everything like this. */
async function withServer(respond: () => Response, run: (host: string) => Promise<void>): Promise<void> {
  await using server = Deno.serve({ hostname: HOSTNAME, port: 0, onListen: () => {} }, respond);
  await run(`${HOSTNAME}:${server.addr.port}`);
}

/** Runs with a server that answers a connection's first bytes with these, and closes it. */
async function withBytes(bytes: Uint8Array, run: (host: string) => Promise<void>): Promise<void> {
  using listener = Deno.listen({ hostname: HOSTNAME, port: 0 });
  const served = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096));
      if (bytes.length > 0) await connection.write(bytes);
      connection.close();
    }
  })().catch(() => {});
  await run(`${HOSTNAME}:${listener.addr.port}`);
  listener.close();
  await served;
}

Deno.test("likelyCause() recognizes a port on which nothing listens", async () => {
  const listener = Deno.listen({ hostname: HOSTNAME, port: 0 });
  const { port } = listener.addr;
  listener.close();
  assertEquals(
    await causeOf(`http://${HOSTNAME}:${port}`),
    `Nothing listens on port ${port} of this machine: check OLLAMA_HOST, Ollama's default port is 11434`,
  );
  const refused = (host: string): string => likelyCause(new URL(host), "/api/version: Connection refused") ?? "";
  assertMatch(refused("http://127.0.0.1:11434"), /^Nothing listens on 127\.0\.0\.1:11434\. Is Ollama running/);
  assertMatch(refused("http://[::1]:11434"), /In a container, .* also if OLLAMA_HOST is 0\.0\.0\.0/);
  assertMatch(refused("http://gpu:11434"), /^Nothing listens on gpu:11434\. .* with OLLAMA_HOST=0\.0\.0\.0\?/);
  assertMatch(refused("http://gpu:8080"), /^Nothing listens on port 8080 of gpu: check OLLAMA_HOST/);
});

Deno.test("likelyCause() recognizes a name that does not resolve", async () => {
  assertEquals(
    await causeOf("http://nowhere.invalid:11434"),
    "The name nowhere.invalid cannot be resolved: check OLLAMA_HOST",
  );
  assertMatch(
    likelyCause(new URL("http://host.docker.internal:11434"), "dns error: failed") ?? "",
    /--add-host host\.docker\.internal:host-gateway$/,
  );
});

Deno.test("likelyCause() recognizes http in place of https, and the reverse", async () => {
  await withServer(() => new Response(), async (host) => {
    assertEquals(await causeOf(`https://${host}`), `${host} does not speak TLS: use http:// in OLLAMA_HOST`);
  });
  // A TLS alert: protocol version (RFC 8446, 6).
  await withBytes(new Uint8Array([21, 3, 1, 0, 2, 2, 70]), async (host) => {
    assertMatch(await causeOf(`http://${host}`) ?? "", /but probably TLS: use https:\/\/ in OLLAMA_HOST$/);
  });
  await withBytes(new Uint8Array(), async (host) => {
    assertMatch(await causeOf(`http://${host}`) ?? "", /closed the connection: check scheme and port in OLLAMA_HOST$/);
    assertMatch(await causeOf(`https://${host}`) ?? "", /ended the TLS handshake: check scheme and port/);
  });
});

Deno.test("likelyCause() recognizes responses that are not Ollama's", async () => {
  const rows: [status: number, cause: RegExp][] = [
    [200, /^Another server than Ollama answers on 127\.0\.0\.1:\d+: check the port in OLLAMA_HOST$/],
    [302, /^The server redirects: set its final URL in OLLAMA_HOST$/],
    [400, /may expect TLS: try https:\/\//],
    [401, /^A proxy in front of Ollama requires credentials: .* OLLAMA_HEADERS_FILE$/],
    [403, /^A proxy denies access, or Ollama does not accept the host name 127\.0\.0\.1/],
    [404, /^Another server than Ollama answers on .*: check port and path in OLLAMA_HOST$/],
    [502, /^A proxy answers on .*, but Ollama behind it does not$/],
  ];
  for (const [status, cause] of rows) {
    await withServer(
      () => new Response("<html>", { status }),
      async (host) => assertMatch(await causeOf(`http://${host}`) ?? "", cause),
    );
  }
});

Deno.test("likelyCause() recognizes the errors of connections that take a network to be had", () => {
  const upstream = new URL("https://gpu.lan:8443");
  const rows: [error: string, cause: RegExp | undefined][] = [
    ["no response within 3000 ms", /^gpu\.lan:8443 does not respond/],
    ["Network is unreachable (os error 101)", /^gpu\.lan:8443 does not respond/],
    ["invalid peer certificate: UnknownIssuer", /^The certificate's CA is not trusted: .* OLLAMA_CA_FILE$/],
    ["invalid peer certificate: Expired", /^The certificate is not valid for gpu\.lan, or has expired$/],
    ["unexpected status 400", /^Check port and path in OLLAMA_HOST$/],
    ["unexpected status 418", undefined],
  ];
  for (const [error, cause] of rows) {
    const found = likelyCause(upstream, `/api/version: ${error}`);
    if (cause === undefined) assertEquals(found, undefined);
    else assertMatch(found ?? "", cause);
  }
});
