/**
 * Shared by the tests of deploy/, the image and the executable: programs that may be missing, child processes, and the
 * runtime that `deno compile` needs.
 *
 * @module
 */

import { fail } from "@std/assert";
import { REPOSITORY } from "./fixtures.ts";
import { delay, PATIENCE_MS } from "./helpers.ts";

/** The path of the repository. */
export const ROOT = REPOSITORY.pathname.replace(/\/$/, "");

/** Programs that tests need, and their Debian packages. */
export const PACKAGES = {
  bash: "bash",
  caddy: "caddy",
  curl: "curl",
  dpkg: "dpkg",
  "dpkg-deb": "dpkg",
  fakeroot: "fakeroot",
  fish: "fish",
  git: "git",
  go: "golang-go",
  java: "default-jdk-headless",
  mandoc: "mandoc",
  nginx: "nginx",
  node: "nodejs",
  npx: "npm",
  openssl: "openssl",
  prometheus: "prometheus",
  promtool: "prometheus",
  rpm: "rpm",
  script: "bsdutils",
  sh: "dash",
  sha256sum: "coreutils",
  shellcheck: "shellcheck",
  "systemd-analyze": "systemd",
  "systemd-socket-activate": "systemd",
  tar: "tar",
  timeout: "coreutils",
  zip: "zip",
  zsh: "zsh",
} as const;

/** A program that tests need. */
export type NeededProgram = keyof typeof PACKAGES;

/** Reports whether a program is installed. */
export function hasProgram(name: string): boolean {
  try {
    return new Deno.Command("sh", { args: ["-c", 'command -v "$0" >/dev/null', name] }).outputSync().success;
  } catch {
    return false;
  }
}

/** Reports whether this is CI, where no test may be skipped. */
export function isCi(): boolean {
  return Deno.env.get("CI") === "true";
}

type Test = (t: Deno.TestContext) => Promise<void> | void;

/** Defines a test that needs programs. Without them it is skipped, with the reason in its name; in CI it fails. */
export function testWith(programs: readonly NeededProgram[], name: string, test: Test): void {
  const missing = programs.filter((program) => !hasProgram(program));
  const reason = missing.map((program) => `no ${program}, Debian package ${PACKAGES[program]}`).join("; ");
  testOrSkip(reason === "" ? undefined : reason, name, test);
}

/** Defines a test. With a reason it is skipped, with the reason in its name; in CI it fails. */
export function testOrSkip(reason: string | undefined, name: string, test: Test): void {
  if (reason === undefined) return Deno.test(name, test);
  Deno.test({ name: `${name} (skipped: ${reason})`, ignore: !isCi(), fn: () => fail(reason) });
}

/** Output and exit code of a program. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@linkcode run}. */
export interface RunOptions {
  readonly cwd?: string;
  /** Replaces the environment of the tests. */
  readonly env?: Record<string, string>;
  /** Default: {@linkcode PATIENCE_MS}. */
  readonly timeoutMs?: number;
}

/** Runs a program, and kills it after the timeout. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { cwd = ROOT, env, timeoutMs = PATIENCE_MS } = options;
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd,
    ...(env === undefined ? {} : { env, clearEnv: true }),
    signal: AbortSignal.timeout(timeoutMs),
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Options of {@linkcode Process}. */
export interface ProcessOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** User and group, if the tests run as root. */
  readonly uid?: number;
}

/** A program that runs until it is stopped, at the latest at the end of its block. */
export class Process implements AsyncDisposable {
  /** Its standard error so far. */
  output = "";
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  #hasEnded = false;

  constructor(command: string, args: readonly string[], { env = {}, cwd = ROOT, uid }: ProcessOptions = {}) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      cwd,
      env,
      clearEnv: true,
      ...(uid !== undefined && Deno.uid() === 0 ? { uid, gid: uid } : {}),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#child.status.then(() => this.#hasEnded = true);
    this.#read = this.#collect();
  }

  async #collect(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) this.output += text;
  }

  /** Waits until its output matches, and returns the match. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.#hasEnded || performance.now() > deadline) {
        fail(`no ${pattern} in the output:\n${this.output}`);
      }
      await delay(5);
    }
  }

  /** Sends a signal, unless it has ended. */
  signal(name: Deno.Signal): void {
    if (!this.#hasEnded) this.#child.kill(name);
  }

  /** Terminates it, and kills it if it does not end. */
  async stop(): Promise<Deno.CommandStatus> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), PATIENCE_MS);
    const status = await this.#child.status;
    clearTimeout(timer);
    await this.#read;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** A running exporter and its URL. */
export class ExporterProcess extends Process {
  url = "";

  /** Starts one and waits until it listens. */
  static async start(command: string, args: readonly string[], options: ProcessOptions = {}): Promise<ExporterProcess> {
    const env = { LISTEN_ADDRESS: "127.0.0.1:0", LOG_FORMAT: "json", NO_COLOR: "1", ...options.env };
    const exporter = new ExporterProcess(command, args, { ...options, env });
    try {
      const [, address] = await exporter.waitFor(/"Listening".*?"address":"([^"]+)"/);
      exporter.url = `http://${address}`;
      return exporter;
    } catch (error) {
      await exporter.stop();
      throw error;
    }
  }
}

/** A Deno that can compile here, and the environment variables that it needs. */
export interface Toolchain {
  readonly deno: string;
  readonly env: Record<string, string>;
}

/** The version that fits the runtime of ../shared/denort. */
const DENO_FOR_DENORT = "deno@2.8.3";
/** Timeout for downloads of packages and runtimes. */
const DOWNLOAD_MS = 120_000;

/** Returns a Deno that can compile, or the reason why there is none. ../shared/denort prints the path of a runtime. */
export async function toolchain(): Promise<Toolchain | string> {
  const denort = `${ROOT}/../shared/denort`;
  const own = { deno: Deno.execPath(), env: {} };
  if (!exists(denort)) return await canCompile(own) ? own : "Deno's download server cannot be reached";
  try {
    const runtime = await run(denort, [], { timeoutMs: DOWNLOAD_MS });
    const deno = await run("npx", ["-y", "-p", DENO_FOR_DENORT, "-c", "command -v deno"], { timeoutMs: DOWNLOAD_MS });
    if (runtime.code !== 0 || deno.code !== 0) return `no runtime: ${runtime.stderr}${deno.stderr}`.trim();
    // Otherwise the stack of `deno compile` overflows with this runtime.
    const env = { DENORT_BIN: runtime.stdout.trim(), RUST_MIN_STACK: "67108864" };
    return { deno: deno.stdout.trim(), env };
  } catch (error) {
    return `no runtime: ${error}`;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

async function canCompile({ deno }: Toolchain): Promise<boolean> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/empty.ts`, "");
    const args = ["compile", "--no-config", "--output=empty", "empty.ts"];
    return (await run(deno, args, { cwd: folder, timeoutMs: DOWNLOAD_MS })).code === 0;
  } catch {
    return false;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
