/** The listeners of the exporter. */

import { assertEquals, assertRejects, fail } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import type { Address, Listener } from "../../../lib/http.ts";
import { listen } from "../../../lib/listen/deno_listener.ts";
import { listenOn, startListeners } from "../../../lib/listen/start.ts";
import { SETTINGS, WEB_SERVERS } from "../../../lib/settings/settings.ts";
import { ANY_PORT } from "../../support/helpers.ts";
import { ask } from "../../support/raw_client.ts";
import { TestListener } from "../../support/test_listener.ts";

const HANDLERS = {
  combined: () => new Response("combined"),
  admin: () => new Response("admin"),
  proxy: () => new Response("proxy"),
};

for (const server of WEB_SERVERS) {
  Deno.test(`startListeners() starts one listener, or two with an address for metrics (${server})`, async () => {
    const one = await startListeners(HANDLERS, { server, listenAddress: ANY_PORT, metricsListenAddress: undefined });
    await using combined = new TestListener(one.proxy);
    assertEquals(one.admin, one.proxy);
    assertEquals((await ask(combined.port, "GET /")).body, "combined");
    const two = await startListeners(HANDLERS, { server, listenAddress: ANY_PORT, metricsListenAddress: ANY_PORT });
    await using proxy = new TestListener(two.proxy);
    await using admin = new TestListener(two.admin);
    assertEquals((await ask(proxy.port, "GET /")).body, "proxy");
    assertEquals((await ask(admin.port, "GET /")).body, "admin");
  });

  Deno.test(`startListeners() names the address that is in use and its setting (${server})`, async () => {
    using taken = Deno.listen(ANY_PORT);
    const address = { ...ANY_PORT, port: taken.addr.port };
    const cases = [
      { listenAddress: address, metricsListenAddress: undefined, setting: "LISTEN_ADDRESS" },
      { listenAddress: ANY_PORT, metricsListenAddress: address, setting: "METRICS_LISTEN_ADDRESS" },
    ];
    for (const { setting, ...addresses } of cases) {
      const expected = `Cannot listen on 127.0.0.1:${taken.addr.port} (${setting}): `;
      await assertRejects(() => startListeners(HANDLERS, { server, ...addresses }), UserError, expected);
    }
  });
}

const EVERYWHERE = { hostname: "::", port: 0 };

/** Asks a port over IPv4 and over IPv6. */
async function statuses(port: number): Promise<number[]> {
  const urls = [`http://127.0.0.1:${port}/`, `http://[::1]:${port}/`];
  return await Promise.all(urls.map(async (url) => {
    const response = await fetch(url);
    await response.text();
    return response.status;
  }));
}

for (const server of WEB_SERVERS) {
  Deno.test(`startListeners() listens on IPv4 and IPv6 where the address has no host (${server})`, async () => {
    const listenAddress = parsed(":0");
    const listeners = await startListeners(HANDLERS, { server, listenAddress, metricsListenAddress: listenAddress });
    for (const listener of Object.values(listeners)) {
      await using started = new TestListener(listener);
      assertEquals(await statuses(started.port), [200, 200]);
    }
  });
}

function parsed(text: string): Address {
  return SETTINGS.listenAddress.parse(text) ?? fail(text);
}

/** An error as Deno throws it for a failed `bind`. */
function failure(code: string): Error {
  return Object.assign(new Error("no"), { code });
}

Deno.test("listenOn() listens on IPv4 alone where the system has no IPv6", async () => {
  for (const code of ["EAFNOSUPPORT", "EADDRNOTAVAIL", "EINVAL"]) {
    const asked: string[] = [];
    await using started = new TestListener(
      await listenOn(EVERYWHERE, (address) => {
        asked.push(address.hostname);
        if (address.hostname === "::") throw failure(code);
        return listen(HANDLERS.combined, address);
      }),
    );
    assertEquals(asked, ["::", "0.0.0.0"]);
    assertEquals(started.listener.address.hostname, "0.0.0.0");
    assertEquals((await ask(started.port, "GET /")).body, "combined");
  }
});

Deno.test("listenOn() passes other errors on, and those of other addresses", async () => {
  const failing = (code: string) => () => Promise.reject(failure(code));
  await assertRejects(() => listenOn(EVERYWHERE, failing("EADDRINUSE")), Error, "no");
  await assertRejects(() => listenOn({ hostname: "2001:db8::1", port: 0 }, failing("EADDRNOTAVAIL")), Error, "no");
});

Deno.test("listenOn() opens a second socket where one of :: is for IPv6 alone", async () => {
  /** Stands for the sockets of Windows. */
  const single = ({ hostname, port }: Address): Listener =>
    listen(HANDLERS.combined, { hostname: hostname === "::" ? "::1" : "127.0.0.1", port });
  const listener = await listenOn(EVERYWHERE, single, false);
  assertEquals(await statuses(listener.address.port), [200, 200]);
  await listener.shutdown();
  const aborted = await listenOn(EVERYWHERE, single, false);
  aborted.abort();
  await aborted.shutdown();
  for (const { address } of [listener, aborted]) {
    for (const hostname of ["127.0.0.1", "::1"]) {
      await assertRejects(() => Deno.connect({ hostname, port: address.port }), Deno.errors.ConnectionRefused);
    }
  }
  using taken = Deno.listen(ANY_PORT);
  const { port } = taken.addr;
  await assertRejects(() => listenOn({ hostname: "::", port }, single, false), Deno.errors.AddrInUse);
  await assertRejects(() => Deno.connect({ hostname: "::1", port }), Deno.errors.ConnectionRefused);
});
