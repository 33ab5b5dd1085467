/** Chromium: a web client of an origin that Ollama allows, and the status page. */

import { assertEquals } from "@std/assert";
import { Browser, hasChromium, type Page } from "../../support/browser.ts";
import { untilHealth } from "../../support/browser_stage.ts";
import { testOrSkip } from "../../support/deployment.ts";
import { CHAT, until } from "../../support/helpers.ts";
import { Stage, TEXT } from "./matrix.ts";

/** The web client: `ask(url)` shows the texts of a chat as they come, until `controller.abort()`. */
const WEB_CLIENT = `<!doctype html><meta charset="utf-8"><title>Chat</title><link rel="icon" href="data:,">
<output></output>
<script>
  const output = document.querySelector("output");
  let controller;
  async function ask(url) {
    output.textContent = "";
    controller = new AbortController();
    const headers = { "Content-Type": "application/json" };
    const body = ${JSON.stringify(JSON.stringify(CHAT))};
    const response = await fetch(url, { method: "POST", headers, body, signal: controller.signal });
    let rest = "";
    for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + bytes).split("\\n");
      rest = lines.pop();
      for (const line of lines) output.textContent += JSON.parse(line).message.content;
    }
  }
</script>`;

/** Starts a chat, without waiting for its end. */
async function ask(page: Page, url: string): Promise<void> {
  await page.evaluate(`void ask(${JSON.stringify(url)}).catch((error) => output.textContent += " " + error.name)`);
}

async function untilShown(page: Page, text: string): Promise<void> {
  await until(async () => await page.text("output") === text, `the page shows "${text}"`);
}

testOrSkip(
  hasChromium() ? undefined : "no chromium, Debian package chromium",
  "Chromium reads streams from another origin, and shows the status page",
  async () => {
    await using stage = await Stage.start();
    await using browser = new Browser();
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(WEB_CLIENT, { headers: { "content-type": "text/html" } }),
    );
    await using page = await browser.open(`http://localhost:${server.addr.port}/`);
    const held = `${stage.url}/api/chat?fake-ollama=hold`;

    await ask(page, held);
    await untilShown(page, "Hi");
    stage.release();
    await untilShown(page, TEXT);

    await ask(page, held);
    await untilShown(page, "Hi");
    await page.evaluate("controller.abort()");
    await stage.untilFree();
    await untilShown(page, "Hi AbortError");

    await ask(page, `${stage.url}/api/chat?fake-ollama=hang`);
    await stage.untilSent();
    await page.evaluate("controller.abort()");
    await stage.untilFree();
    assertEquals((await page.report()).complaints, []);

    for (const host of ["127.0.0.1", "localhost"]) {
      await using status = await browser.open(`http://${host}:${stage.port}/-/`);
      await untilHealth(status, "up");
      assertEquals((await status.report()).complaints, []);
    }
    assertEquals(await stage.figures(), {
      outcomes: { "chat client_closed": 2, "chat ok": 1 },
      requests: { "OPTIONS /api/chat 204": 2, "POST /api/chat 200": 2, "POST /api/chat 499": 1 },
      generatedTokens: 5,
      cancelled: 2,
    });
  },
);
