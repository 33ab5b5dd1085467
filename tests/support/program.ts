/**
 * The program as users start it: a process of its own, with the permissions of the task `start`.
 *
 * @module
 */

import { fail } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import denoJson from "../../deno.json" with { type: "json" };
import { REPOSITORY } from "./fixtures.ts";
import { PATIENCE_MS, until } from "./helpers.ts";

/** What Deno itself needs of the environment. */
const KEPT_VARIABLES = ["PATH", "HOME", "TMPDIR", "DENO_DIR", "XDG_CACHE_HOME"];

/** How a program is started. */
export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Environment, beside what Deno needs. Listens on a port of its own choice unless something else is said. */
  readonly variables?: Readonly<Record<string, string>>;
  /** How many files and sockets it may have open. Default: as many as the tests. */
  readonly descriptors?: number;
}

/** A running program. It is killed at the end of its block if it still runs. */
export class Program implements AsyncDisposable {
  /** Lines of standard error so far, where the log goes. */
  readonly lines: string[] = [];
  /** Lines of standard output so far. */
  readonly output: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<Deno.CommandStatus>;

  constructor({ args = [], variables = {}, descriptors }: ProgramOptions = {}) {
    const [deno, ...task] = denoJson.tasks.start.command.split(" ");
    if (deno !== "deno") fail(`The task does not begin with "deno": ${deno}`);
    const command = [Deno.execPath(), ...task, ...args];
    const limited = descriptors === undefined ? [] : ["sh", "-c", `ulimit -n ${descriptors} && exec "$0" "$@"`];
    const [first = "", ...others] = [...limited, ...command];
    const kept = KEPT_VARIABLES.map((name) => [name, Deno.env.get(name)]).filter(([, value]) => value !== undefined);
    this.#child = new Deno.Command(first, {
      args: others,
      cwd: REPOSITORY,
      clearEnv: true,
      env: { LISTEN_ADDRESS: "127.0.0.1:0", ...Object.fromEntries(kept), ...variables, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const read = Promise.all([keep(this.#child.stdout, this.output), keep(this.#child.stderr, this.lines)]);
    this.#ended = read.then(() => this.#child.status);
  }

  /** The port that it listens on, as its log says. */
  async port(): Promise<number> {
    return Number(/ address=\S+:(\d+) /.exec(await this.line("msg=Listening"))?.[1]);
  }

  /** The port of its own paths, as its log says. */
  async metricsPort(): Promise<number> {
    return Number(/ metrics=https?:\/\/\S+:(\d+)\//.exec(await this.line("msg=Listening"))?.[1]);
  }

  /** The first line of the log that has this in it, as soon as it is there. */
  async line(part: string): Promise<string> {
    const find = (): string | undefined => this.lines.find((line) => line.includes(part));
    try {
      await until(() => find() !== undefined, "");
    } catch {
      fail(`No line with "${part}" in:\n${this.lines.join("\n")}`);
    }
    return find() ?? fail();
  }

  get pid(): number {
    return this.#child.pid;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Its exit code, when it has ended. */
  async exitCode(): Promise<number> {
    const timer = setTimeout(() => this.kill("SIGKILL"), PATIENCE_MS);
    const { code } = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#ended;
  }
}

async function keep(stream: ReadableStream<Uint8Array<ArrayBuffer>>, lines: string[]): Promise<void> {
  const texts = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of texts) lines.push(line);
}
