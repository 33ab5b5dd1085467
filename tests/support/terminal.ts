/** A command in a terminal, for what Ctrl-C and a closed window do to it. */

import { fail } from "@std/assert";
import { REPOSITORY } from "./fixtures.ts";
import { until } from "./helpers.ts";

/** A pseudo-terminal of script(1). It is closed at the end of its block. */
export class Terminal implements AsyncDisposable {
  /** What the terminal has shown so far. */
  screen = "";
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #ended: Promise<unknown>;

  /** @param variables Environment, in addition to that of the tests. */
  constructor(command: string, variables: Readonly<Record<string, string>>) {
    this.#child = new Deno.Command("script", {
      args: ["--quiet", "--flush", "--command", command, "/dev/null"],
      cwd: REPOSITORY,
      env: { ...variables, NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#ended = Promise.all([this.#read(), this.#child.status]);
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) this.screen += text;
  }

  /** Waits until it shows this, and returns the match. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      await until(() => pattern.test(this.screen), "");
    } catch {
      fail(`no ${pattern} on the screen:\n${this.screen}`);
    }
    return pattern.exec(this.screen) ?? fail();
  }

  async pressCtrlC(): Promise<void> {
    await this.#keys.write(new Uint8Array([3]));
  }

  /** Waits until the command has ended. */
  async end(): Promise<void> {
    await this.#ended;
  }

  /** Closes the terminal while the command runs. */
  async close(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#keys.abort().catch(() => {});
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
