/**
 * Programs that check and build what is released. tools/programs/ pins their versions, as Go modules and Python
 * packages; they are kept in node_modules/.cache/programs. To install all of them:
 *
 *     deno run --allow-all tools/programs.ts
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";

const SOURCE = new URL("programs/", import.meta.url).pathname;
const CACHE = new URL("../node_modules/.cache/programs/", import.meta.url).pathname;

/** Packages of Go, by program. They need Go 1.21 or later, which fetches the version in go.mod. */
const GO_PACKAGES: Readonly<Record<string, string>> = {
  /** Linter for GitHub workflows. */
  actionlint: "github.com/rhysd/actionlint/cmd/actionlint",
  /** Prints what BuildKit makes of a Dockerfile. */
  buildkit: "./buildkit",
  helm: "helm.sh/helm/v3/cmd/helm",
  kustomize: "sigs.k8s.io/kustomize/kustomize/v5",
  /** Decodes resources of the Prometheus operator. */
  monitors: "./monitors",
  /** Builds the Debian and RPM packages. */
  nfpm: "github.com/goreleaser/nfpm/v2/cmd/nfpm",
};

/** Programs of Python packages: linters of Dockerfiles, manifests and the security of workflows. */
const PYTHON_PROGRAMS = ["hadolint", "kubernetes-validate", "zizmor"];

/**
 * Installs a program, unless it is there. Processes that do this at the same time wait for each other.
 *
 * @param name A key of {@linkcode GO_PACKAGES} or one of {@linkcode PYTHON_PROGRAMS}.
 * @returns Its path.
 * @throws {Error} With the output of `go` or `pip`, or if one of them is missing.
 */
export async function program(name: string): Promise<string> {
  await Deno.mkdir(CACHE, { recursive: true });
  using file = await Deno.open(`${CACHE}lock`, { create: true, write: true });
  // The end of the process or of this block unlocks it.
  await file.lock(true);
  return await install(name);
}

async function install(name: string): Promise<string> {
  const goPackage = GO_PACKAGES[name];
  if (goPackage !== undefined) {
    await output("go", ["build", "-o", `${CACHE}${name}`, goPackage]);
    return `${CACHE}${name}`;
  }
  if (!PYTHON_PROGRAMS.includes(name)) throw new Error(`unknown program: ${name}`);
  const requirements = await Deno.readTextFile(`${SOURCE}requirements.txt`);
  const [folder, installed] = [`${CACHE}python`, `${CACHE}python/requirements.txt`];
  if (await textOf(installed) !== requirements) {
    await output("python3", ["-m", "venv", "--clear", folder]);
    await output(`${folder}/bin/pip`, ["install", "--quiet", "--only-binary=:all:", "-r", "requirements.txt"]);
    await Deno.writeTextFile(installed, requirements);
  }
  return `${folder}/bin/${name}`;
}

async function output(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, {
    args,
    cwd: SOURCE,
    stdout: "null",
    env: { GOTOOLCHAIN: "auto" },
  }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

if (import.meta.main) {
  for (const name of [...Object.keys(GO_PACKAGES), ...PYTHON_PROGRAMS]) {
    // deno-lint-ignore no-console -- for who runs it
    await program(name).then(console.log, (error) => console.error(`${name}: ${messageOf(error)}`));
  }
}
