/** The `health` command, against servers that are healthy, failing or something else. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Listener } from "../../../lib/http.ts";
import { isHealthy, requestHealth } from "../../../lib/web/health_command.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { CERTIFICATES, type Pair } from "../../support/certificates.ts";
import { startFakeOllama } from "../../fake_ollama/mod.ts";
import { startExporter } from "../../support/helpers.ts";

/** Listeners by description. */
const LISTENERS = { "Deno.serve": listen, "node:http": listenNode };

/** Certificates by description. */
const PAIRS: Record<string, Pair | undefined> = { "plain HTTP": undefined, ...CERTIFICATES };

/** Options of {@linkcode withServer}. */
interface ServerOptions {
  readonly status?: number;
  /** Absent: plain HTTP. */
  readonly pair?: Pair | undefined;
  readonly hostname?: string;
  readonly open?: typeof listen | typeof listenNode;
}

/** Runs a story with a server that responds with this status, and the requests that it received. */
async function withServer(
  { status = 200, pair, hostname = "127.0.0.1", open = listen }: ServerOptions,
  story: (listener: Listener, asked: string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  const listener = await open(
    ({ method, url, headers }) => {
      asked.push(`${method} ${new URL(url).pathname} ${headers.get("host")}`);
      return new Response("Healthy\n".repeat(1000), { status });
    },
    { hostname, port: 0 },
    pair && { ...pair, minVersion: open === listenNode ? "TLS13" : "TLS12" },
  );
  try {
    await story(listener, asked);
  } finally {
    listener.abort();
    await listener.shutdown();
  }
}

for (const [server, open] of Object.entries(LISTENERS)) {
  for (const [name, pair] of Object.entries(PAIRS)) {
    Deno.test(`requestHealth() returns the status line over ${server} with ${name}`, async () => {
      await withServer({ pair, open }, async ({ address }, asked) => {
        assertEquals(await requestHealth(address), "HTTP/1.1 200 OK");
        assertEquals(await requestHealth({ ...address, hostname: "localhost" }), "HTTP/1.1 200 OK");
        assertEquals(asked, ["GET /-/healthy localhost", "GET /-/healthy localhost"]);
      });
      await withServer({ pair, open, status: 401 }, async ({ address }) => {
        assertEquals(await requestHealth(address), "HTTP/1.1 401 Unauthorized");
      });
    });
  }
}

for (const hostname of ["0.0.0.0", "::"]) {
  Deno.test(`requestHealth() connects to 127.0.0.1 if the exporter listens on ${hostname}`, async () => {
    await withServer({ hostname: "127.0.0.1" }, async ({ address: { port } }) => {
      assertEquals(await requestHealth({ hostname, port }), "HTTP/1.1 200 OK");
    });
  });
}

Deno.test("requestHealth() gets status 200 with and without Ollama", async () => {
  await using fake = await startFakeOllama();
  await using exporter = startExporter(fake);
  const address = { hostname: "127.0.0.1", port: exporter.port };
  assertEquals(await requestHealth(address), "HTTP/1.1 200 OK");
  await fake.close();
  assertEquals(await requestHealth(address), "HTTP/1.1 200 OK");
});

/** A server that sends these pieces to every connection, or nothing. */
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

Deno.test("requestHealth() reads a status line that arrives in pieces", async () => {
  using server = new RawServer("HT", "TP/1.1 20", "0 OK\r\nContent-", "Length: 0\r\n\r\n");
  assertEquals(await requestHealth(server.address), "HTTP/1.1 200 OK");
});

/** Returns an address that nothing listens on. */
function freeAddress(): Deno.NetAddr {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr;
}

Deno.test("requestHealth() times out if the exporter does not respond", async () => {
  using server = new RawServer();
  const asking = requestHealth(server.address, 200);
  await assertRejects(() => asking, Error, "No response within 200 ms");
});

Deno.test("requestHealth() throws if nothing listens", async () => {
  await assertRejects(() => requestHealth(freeAddress()), Error, "ECONNREFUSED");
});

Deno.test("requestHealth() throws at once if the server does not speak HTTP", async () => {
  for (const beginning of ["SSH-2.0-OpenSSH_9.9\r\n", "HTTP/2 200 OK\r\n", "HTTP/1.1 2000 OK\r\n", "x".repeat(1025)]) {
    using server = new RawServer(beginning);
    await assertRejects(() => requestHealth(server.address, 3_600_000), Error, "Not an HTTP response");
  }
});

Deno.test("isHealthy() accepts 200, 401 and 429", () => {
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
