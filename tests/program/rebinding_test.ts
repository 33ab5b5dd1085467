/**
 * DNS rebinding in a browser: a page comes from a server of its own, then its name leads to the exporter. Without
 * Chromium this test is left out, except in CI.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { SETTINGS, WEB_SERVERS, type WebServer } from "../../lib/settings/settings.ts";
import { type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { Browser, hasChromium, type Page } from "../support/browser.ts";
import { Scrape } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { ask } from "../support/raw_client.ts";

/** The page's name, and a name that the operator allows. Both lead to this machine. */
const EVIL = "rebound.example.com";
const ALLOWED = "ollama.example.org";

/** What the page asks for. Its requests have no other headers than a page can get rid of. */
const REQUESTS: [path: string, init: RequestInit][] = [
  ["/api/show?a", {}],
  ["/metrics", {}],
  ["/-/ready", {}],
  ["/api/tags", { method: "HEAD" }],
  ["/api/tags", { referrerPolicy: "no-referrer" }],
  // Chromium takes no `User-Agent` from a page, and no page can remove `Accept-Language`.
  ["/api/tags", { referrerPolicy: "no-referrer", headers: { "user-agent": "x", "accept-language": "" } }],
  ["/api/generate", { method: "POST", body: "{}" }],
  ["/api/generate", { method: "POST", body: "{}", referrerPolicy: "no-referrer", mode: "same-origin" }],
  ["/api/delete", { method: "DELETE", body: "{}" }],
];

/** Returns the statuses of all requests. */
async function statusesOf(page: Page): Promise<number[]> {
  const fetches = `${JSON.stringify(REQUESTS)}.map(async ([path, init]) => (await fetch(path, init)).status)`;
  return await page.evaluate<number[]>(`Promise.all(${fetches})`);
}

/** Returns whether the page can read the status page's events. */
function readsEvents(page: Page): Promise<boolean> {
  return page.evaluate(`new Promise((resolve) => {
    const source = new EventSource("/-/events");
    source.onmessage = source.onopen = () => resolve(true) ?? source.close();
    source.onerror = () => resolve(false) ?? source.close();
  })`);
}

/** Opens a page of another server, then starts the exporter on the address of that server. */
async function rebind(browser: Browser, fake: FakeOllama, listen: string, server: WebServer): Promise<[Page, Program]> {
  // Without an icon of its own, a page's browser asks for one at any time.
  const html = '<link rel="icon" href="data:,">';
  const options = { hostname: listen, port: 0, onListen: () => {} };
  await using elsewhere = Deno.serve(options, () => new Response(html, { headers: { "content-type": "text/html" } }));
  const { port } = elsewhere.addr;
  const page = await browser.open(`http://${EVIL}:${port}/`);
  await elsewhere.shutdown();
  const variables = {
    OLLAMA_HOST: fake.url,
    LISTEN_ADDRESS: `${listen}:${port}`,
    ALLOWED_HOSTS: ALLOWED,
    WEB_SERVER: server,
  };
  const program = new Program({ variables });
  await program.port();
  return [page, program];
}

async function refusesPage(browser: Browser, listen: string, server: WebServer): Promise<void> {
  await using fake = await startFakeOllama({ origins: ["*"] });
  const [opened, started] = await rebind(browser, fake, listen, server);
  await using page = opened;
  await using program = started;
  const port = await program.port();
  assertEquals(await statusesOf(page), REQUESTS.map(() => 403));
  assertEquals(await readsEvents(page), false);
  // The exporter's own requests at its start have another user agent.
  const ofPage = fake.requests.filter((request) => request.headers("user-agent").join().startsWith("Mozilla/"));
  assertEquals(ofPage.map(({ path }) => path), []);
  const reason = "host_not_allowed";
  const scrape = new Scrape((await ask(port, "GET /metrics")).body);
  assertEquals(scrape.value("ollama_exporter_refused_requests_total", { reason }), REQUESTS.length + 1);
  // The page can be replaced by what the exporter says, too.
  await page.ask("goto", { url: `http://${EVIL}:${port}/-/` });
  assertEquals(
    await page.evaluate("document.body.innerText.trim()"),
    `Host not allowed: add it to ${SETTINGS.allowedHosts.variable}`,
  );
  const lines = program.lines.filter((line) => line.includes(`reason=${reason}`));
  assertEquals(lines.length, 1);
  assert(lines[0]?.includes(` setting=ALLOWED_HOSTS host=${EVIL}:${port} `), lines[0]);

  await using allowed = await browser.open(`http://${ALLOWED}:${port}/-/`);
  // Behind the state of Ollama, where that is not "up".
  assertMatch(String(await allowed.evaluate("document.title")), /Ollama exporter$/);
  const statuses = await statusesOf(allowed);
  assert(!statuses.includes(403), `${statuses}`);
  assertEquals(statuses.slice(1, 3), [200, 200]);
  assertEquals(await readsEvents(allowed), true);
  assert(fake.requests.some((request) => request.headers("user-agent").join().startsWith("Mozilla/")));
}

const isLeftOut = !hasChromium() && Deno.env.get("CI") !== "true";
const note = isLeftOut ? " (left out: there is no /usr/bin/chromium; apt-get install chromium)" : "";

Deno.test({
  name: `main refuses web pages whose name was rebound to it, and serves those of allowed names${note}`,
  ignore: isLeftOut,
  fn: async (t) => {
    await using browser = new Browser(`--host-resolver-rules=MAP ${EVIL} 127.0.0.1, MAP ${ALLOWED} 127.0.0.1`);
    for (const server of WEB_SERVERS) {
      for (const listen of ["0.0.0.0", "127.0.0.1"]) {
        await t.step(`${server} on ${listen}`, () => refusesPage(browser, listen, server));
      }
    }
  },
});
