/**
 * `deno task screenshot`: takes the README's screenshots of the status page from the demo, dark and light, once its
 * charts are full. Requires Chromium.
 *
 *     deno task screenshot
 *     deno task screenshot 20      after 20 s, for a quick look
 *
 * @module
 */

import { SLOT_MS, SLOTS } from "../lib/status/history.ts";
import { Browser, CHROMIUM, hasChromium } from "../tests/support/browser.ts";
import { startDemo } from "./demo.ts";

const FOLDER = new URL("../docs/", import.meta.url).pathname;
const VIEWPORT = { width: 1280, height: 1090 };

/** Time for a page to receive its first data. */
const SETTLING_MS = 3000;

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (!hasChromium()) {
  print(`${CHROMIUM} not found: apt-get install chromium`);
  Deno.exit(1);
}
const [seconds = SLOTS * SLOT_MS / 1000] = Deno.args;
await Deno.mkdir(FOLDER, { recursive: true });
{
  await using demo = await startDemo();
  print(`Taking screenshots of ${demo.url}/-/ in ${seconds} s`);
  await delay(Number(seconds) * 1000);
  await using browser = new Browser();
  for (const colorScheme of ["dark", "light"] as const) {
    await using page = await browser.open(`${demo.url}/-/`, {
      colorScheme,
      viewport: VIEWPORT,
      deviceScaleFactor: 1.5,
    });
    await delay(SETTLING_MS);
    await page.ask("screenshot", { path: `${FOLDER}status-${colorScheme}.png` });
    print(`${FOLDER}status-${colorScheme}.png`);
  }
}
Deno.exit();
