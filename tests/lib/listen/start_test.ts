/** The listeners of the exporter. */

import { assertEquals, assertRejects } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { startListeners } from "../../../lib/listen/start.ts";
import { WEB_SERVERS } from "../../../lib/settings/settings.ts";
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

  Deno.test(`startListeners() names the address that is in use (${server})`, async () => {
    using taken = Deno.listen(ANY_PORT);
    const listenAddress = { ...ANY_PORT, port: taken.addr.port };
    await assertRejects(
      () => startListeners(HANDLERS, { server, listenAddress, metricsListenAddress: undefined }),
      UserError,
      `Cannot listen on 127.0.0.1:${taken.addr.port}: `,
    );
  });
}
