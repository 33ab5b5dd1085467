/**
 * `deno task compile`: builds one executable of the exporter, with its version and commit.
 *
 *     deno task compile
 *     deno task compile --target=aarch64-unknown-linux-gnu --output=dist/ollama-exporter --commit=1a2b3c4
 *
 * Arguments are passed to `deno compile`, after the flags of the task `start`. `--commit` names the source where git is
 * not available. The effect of other options was measured: see OPTIONS.
 *
 * @module
 */

import { START_FLAGS } from "./start_flags.ts";

/** Has the commit for the program: `deno compile` embeds the variables of a file in the executable. */
const COMMIT_VARIABLE = "OLLAMA_EXPORTER_COMMIT";

/** A dependency of prom-client with a test file of 2 MB, on which the parser of `deno compile` overflows its stack. */
const UNUSED = { package: "bintrees", folder: "test" };

/**
 * Measured with the runtime 2.6.10, medians of 15 starts: size, time until it listens, resident memory.
 *
 *     none                                     96.3 MB  145 ms  64 MB
 *     --exclude                                94.0 MB  133 ms  62 MB
 *     --exclude --no-code-cache                94.0 MB  132 ms  61 MB  chosen
 *     --exclude --self-extracting              94.0 MB  145 ms  62 MB
 *     --bundle --no-code-cache                 92.7 MB   97 ms  53 MB
 *     --bundle                                 92.7 MB   82 ms  53 MB
 *     --bundle --minify                        92.4 MB   87 ms  54 MB
 *
 * Since then prom-client's index is not loaded: 93 ms to the first response where it was 141 ms, and 79 ms with
 * `--bundle`, which is experimental, downloads a bundler that no lock file pins, and removes file names from stack
 * traces: not worth the rest. A code cache would be written to the temporary folder under a predictable name.
 */
const OPTIONS = [
  // `deno task ok` checks types.
  "--no-check",
  "--no-code-cache",
  // Imports of text, for runtimes that are older than the Deno that compiles.
  "--unstable-raw-imports",
  // What tests download is beside the packages, which are included as folders.
  "--exclude=node_modules/.cache",
  // The module of a worker is not imported.
  "--include=lib/web/bcrypt_worker.ts",
];

const DEFAULT_OUTPUT = "ollama-exporter";

/** Options of {@linkcode compileArguments}. */
export interface CompileOptions {
  /** The repository. */
  readonly root: string;
  /** The file of variables that the executable embeds. */
  readonly variablesFile: string;
}

/** Returns the arguments of `deno` that build the executable, from those of this tool. */
export function compileArguments(args: readonly string[], { root, variablesFile }: CompileOptions): string[] {
  const output = args.some((arg) => /^(-o|--output)(=|$)/.test(arg)) ? [] : [`--output=${DEFAULT_OUTPUT}`];
  return [
    "compile",
    ...START_FLAGS,
    ...args.filter((arg) => !arg.startsWith("--commit=")),
    ...OPTIONS,
    ...unusedFolders(root).map((folder) => `--exclude=${folder}`),
    `--env-file=${variablesFile}`,
    ...output,
    "main.ts",
  ];
}

/** Returns the path of the folder {@linkcode UNUSED}, in the version of deno.lock. */
function unusedFolders(root: string): string[] {
  const lock: { npm: Record<string, unknown> } = JSON.parse(Deno.readTextFileSync(`${root}/deno.lock`));
  return Object.keys(lock.npm)
    .filter((id) => id.startsWith(`${UNUSED.package}@`))
    .map((id) => `node_modules/.deno/${id}/node_modules/${UNUSED.package}/${UNUSED.folder}`);
}

/** Returns the commit from the arguments, otherwise the one that is checked out, `unknown` without git. */
export function commitOf(args: readonly string[], root: string): string {
  const given = args.find((arg) => arg.startsWith("--commit="))?.slice("--commit=".length);
  if (given) return given;
  const commit = git(root, "rev-parse", "--short=12", "HEAD");
  if (!commit) return "unknown";
  return git(root, "status", "--porcelain") === "" ? commit : `${commit}-dirty`;
}

/** Returns the output of git, or `undefined` without git, a repository or a commit. */
function git(root: string, ...args: string[]): string | undefined {
  try {
    const { success, stdout } = new Deno.Command("git", { args, cwd: root, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const root = new URL("..", import.meta.url).pathname;
  const variablesFile = Deno.makeTempFileSync({ suffix: ".env" });
  try {
    Deno.writeTextFileSync(variablesFile, `${COMMIT_VARIABLE}=${commitOf(Deno.args, root)}\n`);
    const args = compileArguments(Deno.args, { root, variablesFile });
    const { code } = new Deno.Command(Deno.execPath(), { args, cwd: root, stdout: "inherit", stderr: "inherit" })
      .outputSync();
    Deno.exitCode = code;
  } finally {
    Deno.removeSync(variablesFile);
  }
}
