/**
 * Debian's Chromium, driven by playwright-core. It runs in a process with dependencies of its own
 * (`tests/program/browser/deno.json`), which the exporter and its executable do not load.
 *
 * @module
 */

import { REPOSITORY } from "./fixtures.ts";

/** Path of Debian's Chromium. */
export const CHROMIUM = "/usr/bin/chromium";

const FOLDER = new URL("tests/program/browser/", REPOSITORY);

/** Options for opening a page. */
export interface View {
  readonly colorScheme?: "dark" | "light";
  readonly viewport?: { readonly width: number; readonly height: number };
  readonly deviceScaleFactor?: number;
  readonly javaScriptEnabled?: boolean;
}

/** Reports whether Chromium is installed. */
export function hasChromium(): boolean {
  try {
    return Deno.statSync(CHROMIUM).isFile;
  } catch {
    return false;
  }
}

/** A browser. It is closed at the end of its block. */
export class Browser implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #read: Promise<void>;
  #count = 0;

  /**
   * Starts one.
   *
   * @param flags Further flags of Chromium.
   */
  constructor(...flags: string[]) {
    const config = new URL("deno.json", FOLDER).pathname;
    const main = new URL("main.ts", FOLDER).pathname;
    // playwright-core looks into /proc, for which Deno asks for all permissions.
    const args = ["run", "--quiet", "--check", "--allow-all", "--config", config, main, CHROMIUM, ...flags];
    this.#process = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#read = this.#readAnswers();
  }

  /** Opens a page. */
  async open(url: string, view: View = {}): Promise<Page> {
    const page = new Page(await this.ask("open", { ...view }) as number, this);
    await page.ask("goto", { url });
    return page;
  }

  /** Runs a command. */
  async ask(command: string, args: Record<string, unknown>): Promise<unknown> {
    const id = this.#count++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify({ id, command, args })}\n`));
    return await answer.promise;
  }

  async #readAnswers(): Promise<void> {
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#settle(JSON.parse(line));
    }
    for (const { reject } of this.#asked.values()) reject(new Error("The browser's process has ended"));
  }

  #settle({ id, result, error }: { id: number; result?: unknown; error?: string }): void {
    const answer = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) answer?.resolve(result);
    else answer?.reject(new Error(error));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#process.status;
    await this.#read;
  }
}

/** A finding of an accessibility tool. */
export interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly targets: readonly string[];
}

/** A page. It is closed at the end of its block. */
export class Page implements AsyncDisposable {
  readonly #number: number;
  readonly #browser: Browser;

  constructor(number: number, browser: Browser) {
    this.#number = number;
    this.#browser = browser;
  }

  /** Runs a command of `tests/program/browser/main.ts`. */
  ask(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return this.#browser.ask(command, { page: this.#number, ...args });
  }

  /** Returns the value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    return await this.ask("evaluate", { expression }) as T;
  }

  /** Returns the text of an element. */
  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`);
  }

  /** Returns the exact value in the tooltip of an element. */
  title(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.title ?? ""`);
  }

  /** Returns errors and warnings of the page, and the URLs that it requested. */
  async report(): Promise<{ complaints: string[]; addresses: string[] }> {
    return await this.ask("report") as { complaints: string[]; addresses: string[] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ask("close");
  }
}
