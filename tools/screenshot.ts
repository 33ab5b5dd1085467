/**
 * `deno task screenshot`: takes the README's pictures of the status page from the demo, dark and light, as soon as its
 * plots are full. Needs Chromium.
 *
 *     deno task screenshot
 *     deno task screenshot 20      after twenty seconds: not for the README
 *
 * @module
 */

import { SLOT_MS, SLOTS } from "../lib/status/history.ts";
import { Browser, CHROMIUM, hasChromium } from "../tests/support/browser.ts";
import { startDemo } from "./demo.ts";

const FOLDER = new URL("../docs/", import.meta.url).pathname;
const VIEWPORT = { width: 1280, height: 1060 };

/** All numbers have come by then. */
const SETTLING_MS = 3000;

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (!hasChromium()) {
  print(`There is no ${CHROMIUM}: apt-get install chromium`);
  Deno.exit(1);
}
const [seconds = SLOTS * SLOT_MS / 1000] = Deno.args;
await Deno.mkdir(FOLDER, { recursive: true });
{
  await using demo = await startDemo();
  print(`The pictures are taken after ${seconds} s of ${demo.url}/-/`);
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
