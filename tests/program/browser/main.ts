/**
 * A browser that is told what to do: a command a line on standard input, `{ "id", "command", "args" }`, and an answer a
 * line on standard output, `{ "id", "result" }` or `{ "id", "error" }`. It ends with its input.
 *
 * @module
 */

import axe from "axe-core";
import { type BrowserContextOptions, type CDPSession, chromium, type Page } from "playwright-core";

/** Nothing of the browser goes out of this machine, and nothing is left of it. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A page, and what it did that a good page does not do. */
interface Opened {
  readonly page: Page;
  readonly session: CDPSession;
  /** Errors and warnings of its console, exceptions, and dialogs. */
  readonly complaints: string[];
  /** Addresses that it asked for. */
  readonly addresses: string[];
}

const [executablePath = "", ...flags] = Deno.args;
const browser = await chromium.launch({ executablePath, args: [...FLAGS, ...flags] });
const opened: Opened[] = [];

/** What can be asked for. Results are values that JSON can tell. */
const COMMANDS: Record<string, (page: Opened, args: Record<string, string>) => Promise<unknown>> = {
  goto: async ({ page }, { url = "" }) => void await page.goto(url, { waitUntil: "domcontentloaded" }),
  evaluate: async ({ page }, { expression = "" }) => await page.evaluate(expression),
  press: async ({ page }, { key = "" }) => await page.keyboard.press(key),
  click: async ({ page }, { selector = "" }) => await page.click(selector),
  select: async ({ page }, { selector = "", value = "" }) => await page.selectOption(selector, value),
  hover: async ({ page }, { selector = "" }) => await page.hover(selector),
  screenshot: async ({ page }, { path = "", fullPage = "" }) =>
    void await page.screenshot({ path, fullPage: Boolean(fullPage) }),
  visibleText: async ({ page }) => await page.innerText("body"),
  axe: async ({ page }) => {
    // The page allows no script but its own; what the browser itself evaluates is not held to that.
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate("axe.run()") as { violations: axe.Result[] };
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      targets: nodes.map(({ target }) => target.join()),
    }));
  },
  memory: async ({ session }) => {
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    return { usedSize, nodes, jsEventListeners };
  },
  report: ({ complaints, addresses }) => Promise.resolve({ complaints, addresses }),
  close: async ({ page }) => await page.context().close(),
};

async function open(options: BrowserContextOptions): Promise<number> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const addresses: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => addresses.push(request.url()));
  return opened.push({ page, session: await context.newCDPSession(page), complaints, addresses }) - 1;
}

async function run(command: string, args: Record<string, unknown>): Promise<unknown> {
  if (command === "open") return await open(args);
  const page = opened[Number(args.page)];
  const known = COMMANDS[command];
  if (page === undefined || known === undefined) throw new Error(`Unknown: ${command} of page ${args.page}`);
  return await known(page, args as Record<string, string>);
}

function answer(message: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(message)}\n`));
}

let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const { id, command, args } = JSON.parse(line);
    run(command, args).then((result) => answer({ id, result }), (error) => answer({ id, error: String(error) }));
  }
}
await browser.close();
Deno.exit();
