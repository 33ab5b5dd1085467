/** The `health` command: the exporter is asked as an image's health check asks it. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Listener } from "../../../lib/http.ts";
import { askHealth, isHealthy } from "../../../lib/web/health_command.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { FIRST, type Pair } from "../../support/certificates.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { REPOSITORY } from "../../support/fixtures.ts";
import { startExporter } from "../../support/helpers.ts";

/** As `openssl req -x509` makes it: its own authority, without a name that a client could check. Valid until 2126. */
const SELF_SIGNED: Pair = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUO30PF1mga6knTKmcGo2uGovdKo0wCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIZXhwb3J0ZXIwIBcNMjYxMTIyMTk0NjMyWhgPMjEyNjEwMjkx
OTQ2MzJaMBMxETAPBgNVBAMMCGV4cG9ydGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEAXIxUhqwmq7Mt2xav52dQJyrhf1KAdaXz2JWVC3Jqw7jjvMZoB+4HpSB
4B9ypERZR4nxRIoG6QPUyMd4X9LdFqNTMFEwHQYDVR0OBBYEFGin0w6hB+rmVuau
Z9SblfkLSL/YMB8GA1UdIwQYMBaAFGin0w6hB+rmVuauZ9SblfkLSL/YMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKPvjwlpB3s7+K1Ua3W78zFg
yUI+SWDRxQE1DUS7Q7KgAiBghK2uYyiVYIKnkdFr8LrR/T0Mxni+cGdqzpE2+Jdm
kA==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg24KhzGV7zzdnGTR6
h3rT57vRGkGJpYCbY2Cwke5yBYahRANCAAQBcjFSGrCarsy3bFq/nZ1AnKuF/UoB
1pfPYlZULcmrDuOO8xmgH7gelIHgH3KkRFlHifFEigbpA9TIx3hf0t0W
-----END PRIVATE KEY-----
`,
};

/** From an authority that is not known here, for a name that is not `localhost`. Valid until 2126. */
const ISSUED: Pair = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBmzCCAUCgAwIBAgIUNC6v9yME9SoVcFSrlxk2dju6y/wwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJYXV0aG9yaXR5MCAXDTI2MTEyMjE5NDYzMloYDzIxMjYxMDI5
MTk0NjMyWjATMREwDwYDVQQDDAhleHBvcnRlcjBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABGzZWuyqaP66FKuvUCFyg3CLqGRBIf6K01ojAyhcbequksQQd4VLR5Bo
bK2hwgODFRJGU9NBfUkljqcIX5qpqMejbzBtMAwGA1UdEwEB/wQCMAAwHQYDVR0R
BBYwFIISb2xsYW1hLmV4YW1wbGUuY29tMB0GA1UdDgQWBBQ9EYbrCSvT9HYSFSIA
2NjvK1GixTAfBgNVHSMEGDAWgBSuub1Cq/Sel2uRMkRhclP2Y/M16jAKBggqhkjO
PQQDAgNJADBGAiEAg+z9yT5VwS53swFO37TeDcqB6wMvTK+TgNe0UlxqpukCIQDB
jRuI+AtB5W8215Npl52xiAWDDKjUjdw/dxtDJVvmOQ==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsTE42bBuI2KFHi8w
OmMOZR7yeSEOwQZLYcKkOyP2qyyhRANCAARs2Vrsqmj+uhSrr1AhcoNwi6hkQSH+
itNaIwMoXG3qrpLEEHeFS0eQaGytocIDgxUSRlPTQX1JJY6nCF+aqajH
-----END PRIVATE KEY-----
`,
};

/** Certificates, by what is said of them. */
const PAIRS: Record<string, Pair | undefined> = {
  "plain HTTP": undefined,
  "TLS with a certificate that nobody vouches for": FIRST,
  "TLS with a self-signed certificate as OpenSSL makes it": SELF_SIGNED,
  "TLS with a certificate of an authority that is not known here": ISSUED,
};

/** A server that answers with this status, and what it was asked. */
async function withServer(
  { status = 200, pair, hostname = "127.0.0.1" }: { status?: number; pair?: Pair | undefined; hostname?: string },
  story: (listener: Listener, asked: string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  const listener = listen(
    ({ method, url, headers }) => {
      asked.push(`${method} ${new URL(url).pathname} ${headers.get("host")}`);
      return new Response("Healthy.\n".repeat(1000), { status });
    },
    { hostname, port: 0 },
    pair && { ...pair, minVersion: "TLS12" },
  );
  try {
    await story(listener, asked);
  } finally {
    listener.abort();
    await listener.shutdown();
  }
}

for (const [name, pair] of Object.entries(PAIRS)) {
  Deno.test(`askHealth() tells what the exporter answers over ${name}`, async () => {
    await withServer({ pair }, async ({ address }, asked) => {
      assertEquals(await askHealth(address, { tls: pair !== undefined }), "HTTP/1.1 200 OK");
      assertEquals(asked, ["GET /-/healthy localhost"]);
    });
    await withServer({ pair, status: 401 }, async ({ address }) => {
      assertEquals(await askHealth(address, { tls: pair !== undefined }), "HTTP/1.1 401 Unauthorized");
    });
  });
}

for (const [hostname, loopback] of [["0.0.0.0", "127.0.0.1"], ["::", "::1"]] as const) {
  Deno.test(`askHealth() asks an exporter that listens on ${hostname} through the loopback`, async () => {
    try {
      await withServer({ hostname: loopback }, async ({ address: { port } }) => {
        assertEquals(await askHealth({ hostname, port }), "HTTP/1.1 200 OK");
      });
    } catch (error) {
      // Some machines have no IPv6.
      if (loopback !== "::1" || !(error instanceof Deno.errors.AddrNotAvailable)) throw error;
    }
  });
}

Deno.test("askHealth() knows the exporter itself, with Ollama and without it", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const address = { hostname: "127.0.0.1", port: exporter.port };
  assertEquals(await askHealth(address), "HTTP/1.1 200 OK");
  await fake.close();
  assertEquals(await askHealth(address), "HTTP/1.1 200 OK");
});

/** A listener that answers whoever comes with this text, or not at all, and closes what it accepted at the end. */
class RawServer implements Disposable {
  readonly address: Deno.NetAddr;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open: Deno.Conn[] = [];

  constructor(...pieces: string[]) {
    this.address = this.#listener.addr;
    this.#accept(pieces).catch(() => {});
  }

  async #accept(pieces: readonly string[]): Promise<void> {
    for await (const connection of this.#listener) {
      this.#open.push(connection);
      for (const piece of pieces) {
        await connection.write(new TextEncoder().encode(piece));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    for (const connection of this.#open) connection.close();
  }
}

Deno.test("askHealth() reads a status line that comes in pieces", async () => {
  using server = new RawServer("HT", "TP/1.1 20", "0 OK\r\nContent-", "Length: 0\r\n\r\n");
  assertEquals(await askHealth(server.address), "HTTP/1.1 200 OK");
});

/** An address where nothing listens. */
function freeAddress(): Deno.NetAddr {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr;
}

for (const tls of [false, true]) {
  Deno.test(`askHealth() gives up on an exporter that does not answer (${tls ? "TLS" : "plain HTTP"})`, async () => {
    using server = new RawServer();
    const asking = askHealth(server.address, { tls, timeoutMs: 200 });
    await assertRejects(() => asking, Error, "No answer within 200 ms");
  });

  Deno.test(`askHealth() fails where nothing listens (${tls ? "TLS" : "plain HTTP"})`, async () => {
    await assertRejects(() => askHealth(freeAddress(), { tls }), Error, "ECONNREFUSED");
  });
}

Deno.test("askHealth() fails where something else listens, or TLS where there is none, or the other way round", async () => {
  using ssh = new RawServer("SSH-2.0-OpenSSH_9.9\r\n");
  await assertRejects(() => askHealth(ssh.address), Error);
  await withServer({}, async ({ address }) => void await assertRejects(() => askHealth(address, { tls: true }), Error));
  await withServer({ pair: FIRST }, async ({ address }) => void await assertRejects(() => askHealth(address), Error));
});

Deno.test("isHealthy() takes an exporter that asks for a password or for patience for one that serves", () => {
  for (
    const line of ["HTTP/1.1 200 OK", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 429 Too Many Requests", "HTTP/1.1 200 "]
  ) {
    assert(isHealthy(line), line);
  }
  for (
    const line of ["HTTP/1.1 404 Not Found", "HTTP/1.1 502 Bad Gateway", "HTTP/1.1 2000 OK", "SSH-2.0", "", " 200 "]
  ) {
    assert(!isHealthy(line), line);
  }
});

/** Runs `ollama-exporter health`, as the tasks run the program. */
async function health(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    cwd: REPOSITORY,
    args: [
      "run",
      "--no-prompt",
      "--allow-net",
      "--allow-read",
      "--allow-sys=hostname",
      "--allow-env",
      "main.ts",
      "health",
      ...args,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out, stderr: err };
}

Deno.test("main() exits with 0 for `health` where the exporter serves", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const { code, stdout } = await health(`--web.listen-address=127.0.0.1:${exporter.port}`);
  assertEquals([code, stdout], [0, "HTTP/1.1 200 OK\n"]);
  // The own paths may have an address of their own.
  const own = await health("--web.listen-address=:1", `--web.metrics-listen-address=:${exporter.port}`);
  assertEquals([own.code, own.stdout], [0, "HTTP/1.1 200 OK\n"]);
});

Deno.test("main() exits with 1 for `health` where nothing listens or something else does", async () => {
  const refused = await health(`--web.listen-address=127.0.0.1:${freeAddress().port}`);
  assertEquals([refused.code, refused.stdout], [1, ""]);
  assertMatch(refused.stderr, /ECONNREFUSED/);
  await withServer({ status: 404 }, async ({ address }) => {
    const other = await health(`--web.listen-address=127.0.0.1:${address.port}`);
    assertEquals([other.code, other.stdout], [1, "HTTP/1.1 404 Not Found\n"]);
  });
  const bad = await health("--web.listen-address=nowhere");
  assertEquals([bad.code, bad.stdout], [1, ""]);
  assertMatch(bad.stderr, /^--web\.listen-address is "nowhere"; accepted: /);
});
