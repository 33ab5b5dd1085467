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

/** Environment variables that Deno itself needs. */
const KEPT_VARIABLES = ["PATH", "HOME", "TMPDIR", "DENO_DIR", "XDG_CACHE_HOME"];

/** Options of {@linkcode Program}. */
export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Environment, in addition to what Deno needs. By default the program listens on a free port. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Maximum number of open files and sockets. Default: the same as for the tests. */
  readonly descriptors?: number;
}

/** A running program. It is killed at the end of its block. */
export class Program implements AsyncDisposable {
  /** Lines of standard error so far, which has the log. */
  readonly lines: string[] = [];
  /** Lines of standard output so far. */
  readonly output: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<Deno.CommandStatus>;

  constructor({ args = [], variables = {}, descriptors }: ProgramOptions = {}) {
    const [deno, ...task] = denoJson.tasks.start.command.split(" ");
    if (deno !== "deno") fail(`the task starts with "${deno}", expected "deno"`);
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

  /** Returns the port that it listens on, from its log. */
  async port(): Promise<number> {
    return Number(/ address=\S+:(\d+) /.exec(await this.line("msg=Listening"))?.[1]);
  }

  /** Returns the port of its admin endpoints, from its log. */
  async metricsPort(): Promise<number> {
    return Number(/ metrics=https?:\/\/\S+:(\d+)\//.exec(await this.line("msg=Listening"))?.[1]);
  }

  /** Waits for a log line with this text, and returns it. */
  async line(part: string): Promise<string> {
    const find = (): string | undefined => this.lines.find((line) => line.includes(part));
    try {
      await until(() => find() !== undefined, "");
    } catch {
      fail(`no line with "${part}" in:\n${this.lines.join("\n")}`);
    }
    return find() ?? fail();
  }

  get pid(): number {
    return this.#child.pid;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits until it has ended, and returns its exit code. */
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
