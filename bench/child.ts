/**
 * Child processes of the bench: start, communication, resource usage and termination.
 *
 * @module
 */

import { eachLine } from "./job.ts";

/** Maximum time until a process is ready, and from SIGTERM until it has exited. */
const START_LIMIT_MS = 15_000;
const END_LIMIT_MS = 5_000;

/** Maximum number of output lines kept to explain a failure. */
const KEPT_LINES = 20;

/** Clock ticks per second in `/proc` (`getconf CLK_TCK`; constant on Linux since 2.6). */
const TICKS_PER_SECOND = 100;

/** Resource usage of a process. */
export interface Usage {
  /** User and system time of all threads. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

/** Options of a process. */
export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Running processes. */
const running = new Set<Child>();

/** Terminates all processes that the bench has started. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop()));
}

/** Running process. */
export class Child {
  readonly pid: number;
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #name: string;
  readonly #lines: string[] = [];
  #take: ((line: string) => void) | undefined;
  #isEnded = false;
  readonly #ended: Promise<void>;

  /** With the maximum number of file descriptors. */
  constructor({ command, args, env, cwd }: ChildOptions) {
    this.#name = [command, ...args].join(" ");
    const process = new Deno.Command("sh", {
      args: ["-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh", command, ...args],
      // A proxy in the environment would apply to loopback, too.
      env: { ...env, NO_PROXY: "127.0.0.1,localhost", no_proxy: "127.0.0.1,localhost" },
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = process.pid;
    this.#process = process;
    this.#input = process.stdin.getWriter();
    const output = Promise.all([process.stdout, process.stderr].map((stream) =>
      eachLine(stream, (line) => {
        this.#lines.push(line);
        if (this.#lines.length > KEPT_LINES) this.#lines.shift();
        this.#take?.(line);
      })
    ));
    this.#ended = Promise.all([process.status, output]).then(() => {
      this.#isEnded = true;
      running.delete(this);
      this.#take?.("");
    });
    running.add(this);
  }

  /**
   * Waits for a matching line of output.
   *
   * @returns The first group of the match.
   */
  async line(expression: RegExp, limitMs: number = START_LIMIT_MS): Promise<string> {
    const found = this.#lines.map((line) => expression.exec(line)?.[1]).find((text) => text !== undefined);
    if (found !== undefined) return found;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const timer = setTimeout(() => reject(this.#failure(`no answer within ${limitMs} ms`)), limitMs);
    this.#take = (line) => {
      const text = expression.exec(line)?.[1];
      if (text !== undefined) resolve(text);
      else if (this.#isEnded) reject(this.#failure("it ended"));
    };
    if (this.#isEnded) this.#take("");
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#take = undefined;
    }
  }

  /** Sends a line to its standard input and returns the next line of output. */
  async ask(line: string, limitMs: number): Promise<string> {
    this.#lines.length = 0;
    const answer = this.line(/^(\{.*\})$/, limitMs);
    await Promise.all([answer, this.#input.write(new TextEncoder().encode(`${line}\n`))]);
    return await answer;
  }

  /** Terminates it, by SIGKILL if necessary. */
  async stop(): Promise<void> {
    if (!this.#isEnded) {
      this.#signal("SIGTERM");
      const timer = setTimeout(() => this.#signal("SIGKILL"), END_LIMIT_MS);
      await this.#ended;
      clearTimeout(timer);
    }
    await this.#input.close().catch(() => {});
  }

  #signal(signal: Deno.Signal): void {
    try {
      this.#process.kill(signal);
    } catch {
      // It has already exited.
    }
  }

  #failure(reason: string): Error {
    return new Error([`${this.#name}: ${reason}`, ...this.#lines].join("\n    "));
  }
}

/** Reads the resource usage of a process. `cat` needs no permission to read `/proc/PID`, Deno needs all. */
export async function usageOf(pid: number): Promise<Usage> {
  const [stat = "", ...status] = (await output("cat", `/proc/${pid}/stat`, `/proc/${pid}/status`)).split("\n");
  // The second field is the command name in parentheses, which may contain any character.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const kilobytes = (name: string): number => {
    const line = status.find((line) => line.startsWith(`${name}:`));
    return Number(line?.replace(/\D/g, "") ?? NaN);
  };
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    rssBytes: kilobytes("VmRSS") * 1024,
    peakRssBytes: kilobytes("VmHWM") * 1024,
  };
}

/** Runs a command and returns its standard output. */
export async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout);
}
