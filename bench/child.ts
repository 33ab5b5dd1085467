/**
 * Child processes of the bench: start, communication, resource usage and termination.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";

/** Maximum time until a process is ready, and from SIGTERM until it has exited. */
const START_LIMIT_MS = 15_000;
const END_LIMIT_MS = 5_000;

/** Maximum number of output lines kept to explain a failure. */
const KEPT_LINES = 20;

/** Resource usage of a process. */
export interface Usage {
  /** Time of the reading, since the start of the machine. */
  readonly atSeconds: number;
  /** Time that each of its threads has spent on a core, in ns, by the thread's path. */
  readonly threads: ReadonlyMap<string, number>;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

/** Options of a process. */
export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Cores on which it runs, as for `taskset -c`. Default: all. */
  readonly cores?: string | undefined;
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
  constructor({ command, args, env, cwd, cores }: ChildOptions) {
    this.#name = [command, ...args].join(" ");
    const pin = cores === undefined ? [] : ["taskset", "-c", cores];
    const process = new Deno.Command("sh", {
      args: ["-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@" 2>&1', "sh", ...pin, command, ...args],
      // A proxy in the environment would apply to loopback, too.
      env: { ...env, NO_PROXY: "127.0.0.1,localhost", no_proxy: "127.0.0.1,localhost" },
      ...(cwd === undefined ? {} : { cwd }),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.pid = process.pid;
    this.#process = process;
    this.#input = process.stdin.getWriter();
    this.#ended = Promise.all([process.status, this.#read(process.stdout)]).then(() => {
      this.#isEnded = true;
      running.delete(this);
      this.#take?.("");
    });
    running.add(this);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const line of linesOf(stream)) {
      this.#lines.push(line);
      if (this.#lines.length > KEPT_LINES) this.#lines.shift();
      this.#take?.(line);
    }
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

/**
 * Reads the resource usage of a process. `cat` needs no permission to read `/proc/PID`, Deno needs all.
 *
 * @throws {Error} If it has exited.
 */
export async function usageOf(pid: number): Promise<Usage> {
  // A thread may end after its file is listed.
  const text = await output(
    "sh",
    "-c",
    `cd /proc; cat uptime ${pid}/status && grep "" ${pid}/task/*/schedstat /dev/null || :`,
  );
  const bytes = (name: string): number => {
    const kilobytes = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text)?.[1];
    if (kilobytes === undefined) throw new Error(`process ${pid} has exited`);
    return Number(kilobytes) * 1024;
  };
  // Nanoseconds on a core, nanoseconds of waiting, time slices (docs.kernel.org/scheduler/sched-stats.html).
  const found = [...text.matchAll(/^(.*schedstat):(\d+) \d+ \d+$/gm)];
  const threads = new Map(found.map(([, path = "", nanoseconds]) => [path, Number(nanoseconds)]));
  return { atSeconds: parseFloat(text), threads, rssBytes: bytes("VmRSS"), peakRssBytes: bytes("VmHWM") };
}

/** Returns the CPU time between two readings. Threads that have ended meanwhile do not count. */
export function cpuSecondsBetween(from: Usage, to: Usage): number {
  const nanoseconds = [...to.threads].reduce((sum, [path, after]) => sum + after - (from.threads.get(path) ?? 0), 0);
  return to.threads.size === 0 ? NaN : nanoseconds / 1e9;
}

/** Runs a command and returns its standard output. */
export async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout);
}

/** Returns the lines of a byte stream. */
export function linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): ReadableStream<string> {
  return stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
}

/** Writes a line to a stream such as standard output. */
export function writeLine(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
}

/** Returns milliseconds of a clock that all processes of the machine share. */
export function sharedNow(): number {
  return performance.timeOrigin + performance.now();
}

/** Ends this process, a child, when its standard input ends: with its parent. */
export async function exitWithInput(): Promise<void> {
  for await (const _ of Deno.stdin.readable);
  Deno.exit(0);
}
