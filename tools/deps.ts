/**
 * `deno task deps`: makes the `@std` modules available where JSR is blocked.
 *
 * Many networks allow npm and block JSR. With `"vendor": true` in deno.json Deno reads JSR packages from
 * `vendor/jsr.io/`, which this tool fills:
 *
 * 1. If the modules are there, it does nothing.
 * 2. If JSR answers, it leaves everything to Deno, which fetches the modules and verifies them against deno.lock.
 * 3. Otherwise it takes them, as JavaScript, from the npm package `deno-std`. Declarations for the type checker, and
 *    all of `@std/log`, which that package lacks, are from `tools/stand_in/`.
 *
 * Modules from npm are replaced by those of JSR only after `vendor/` has been removed.
 *
 * @module
 */

import { describe, messageOf } from "../lib/errors.ts";

/** The npm package, with the integrity of the version that was reviewed. */
const DENO_STD = {
  version: "1.4.0",
  integrity: "sha512-7c0Y6tyn0Sx0NKiaAeGtDwrpG+C7VFcOStVcYXPnjAuIEonxzVV+n6s8iuFjg6keqzxo/zrPbR/J9EY9BLNsRA==",
};

/** Deno's own default, which the environment variable JSR_URL overrides. */
const DEFAULT_JSR_URL = "https://jsr.io/";

/** How long JSR may take to answer before it counts as blocked. */
const JSR_TIMEOUT_MS = 3_000;

/** A file among the packages: a hash of their sources, or `jsr` if Deno fetches them. */
const STAMP = ".ollama-exporter-deps";

/** Installs the npm package below `folder` and returns its path. */
type Install = (folder: string, root: string) => Promise<string>;

/**
 * Makes the modules available to the project in the folder `root`.
 *
 * @returns Why JSR could not be used, if modules have been taken from npm. Otherwise `undefined`.
 * @throws {Error} If they can be had neither from JSR nor from npm.
 */
export async function deps(
  root: string,
  { jsrUrl = DEFAULT_JSR_URL, install = installDenoStd }: { jsrUrl?: string; install?: Install } = {},
): Promise<string | undefined> {
  const folder = `${root}/vendor/${vendorFolder(jsrUrl)}`;
  const inputs = await hashInputs(root);
  const stamp = await Deno.readTextFile(`${folder}/${STAMP}`).catch(ignoreMissing);
  if (stamp === inputs || stamp === "jsr") return undefined;

  const reason = await jsrFailure(jsrUrl);
  if (reason === undefined) {
    if (stamp !== undefined) await Deno.remove(folder, { recursive: true });
    await writeFile(`${folder}/${STAMP}`, "jsr");
    return undefined;
  }
  await Deno.mkdir(`${root}/vendor`, { recursive: true });
  const temporary = await Deno.makeTempDir({ dir: `${root}/vendor`, prefix: ".deps-" });
  try {
    await vendorFromNpm(`${temporary}/new`, root, await install(`${temporary}/npm`, root));
    await writeFile(`${temporary}/new/${STAMP}`, inputs);
    await Deno.rename(folder, `${temporary}/old`).catch(ignoreMissing);
    await Deno.rename(`${temporary}/new`, folder);
    return reason;
  } catch (error) {
    throw new Error(
      `cannot get the @std modules from JSR or npm\n  JSR: ${reason}\n  npm: ${messageOf(error)}\n` +
        `Make one of them reachable (JSR_URL, .npmrc, HTTPS_PROXY) and try again`,
    );
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** The folder in `vendor/` where Deno keeps what it fetches from `jsrUrl`. */
export function vendorFolder(jsrUrl: string): string {
  const { protocol, hostname, port } = new URL(jsrUrl);
  return (protocol === "https:" ? "" : "http_") + hostname + (port === "" ? "" : `_${port}`);
}

/** A hash of everything that decides what {@linkcode vendorFromNpm} writes. */
async function hashInputs(root: string): Promise<string> {
  const lock = await Deno.readTextFile(`${root}/deno.lock`);
  const tool = await Deno.readTextFile(new URL(import.meta.url));
  const text = JSON.stringify([lock, tool, (await readFolder(`${root}/tools/stand_in`, ".ts")).sort()]);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();
}

/** Why JSR cannot be used, or `undefined` if it can. */
async function jsrFailure(jsrUrl: string): Promise<string | undefined> {
  const url = new URL("@std/assert/meta.json", jsrUrl);
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(JSR_TIMEOUT_MS) });
    const text = await response.text();
    if (!response.ok) return `${url.host}: status ${response.status}`;
    // A gateway may answer with a page of its own.
    return text.includes(`"scope":"std"`) ? undefined : `${url.host}: not an answer of JSR`;
  } catch (error) {
    return `${url.host}: ${describe(error)}`;
  }
}

/**
 * Installs the npm package with Deno, which takes it from the registry that the user has configured (.npmrc,
 * NPM_CONFIG_REGISTRY) and verifies its integrity.
 */
export async function installDenoStd(folder: string, root: string, { version, integrity } = DENO_STD): Promise<string> {
  const specifier = `npm:deno-std@${version}`;
  const npm = { [`deno-std@${version}`]: { integrity } };
  const lock = { version: "5", specifiers: { [specifier]: version }, npm, workspace: { dependencies: [specifier] } };
  await writeFile(`${folder}/deno.lock`, JSON.stringify(lock));
  await writeFile(
    `${folder}/deno.json`,
    JSON.stringify({ imports: { "deno-std": specifier }, nodeModulesDir: "auto" }),
  );
  await Deno.copyFile(`${root}/.npmrc`, `${folder}/.npmrc`).catch(ignoreMissing);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--quiet", "--frozen"],
    cwd: folder,
    // Deno verifies what it downloads, not what is in its cache: an empty cache makes it download.
    env: { DENO_DIR: `${folder}/cache`, NO_COLOR: "1", RUST_BACKTRACE: "0" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
  return `${folder}/node_modules/deno-std`;
}

/** Writes the packages of deno.lock as Deno vendors them: a list of versions, the exports of the version, its files. */
async function vendorFromNpm(folder: string, root: string, denoStd: string): Promise<void> {
  const lock = JSON.parse(await Deno.readTextFile(`${root}/deno.lock`));
  const specifiers = Object.keys(lock.specifiers);
  for (const id of Object.keys(lock.jsr)) {
    const [, name = "", version = ""] = /^@std\/(.+)@(.+)$/.exec(id) ?? [];
    const files = new Map([
      ...await readFolder(`${denoStd}/${name.replaceAll("-", "_")}`, ".js"),
      ...await readFolder(`${root}/tools/stand_in/${name}`, ".ts"),
    ]);
    const exports: Record<string, string> = {};
    for (const [path, text] of files) {
      const declarations = path.replace(/\.js$/, ".d.ts");
      const isTyped = path !== declarations && files.has(declarations);
      const header = isTyped ? `// @ts-self-types="./${declarations.split("/").at(-1)}"\n` : "";
      await writeFile(`${folder}/@std/${name}/${version}/${path}`, header + rewriteImports(text, path, specifiers));
      exports[exportOf(path)] = `./${path}`;
    }
    const isDirect = lock.workspace.dependencies.some((it: string) => it.startsWith(`jsr:@std/${name}@`));
    if (files.size === 0 && isDirect) throw new Error(`no modules for "${id}" in deno-std or tools/stand_in/`);
    if (files.size === 0) continue;
    await writeFile(`${folder}/@std/${name}/meta.json`, JSON.stringify({ versions: { [version]: {} } }));
    await writeFile(`${folder}/@std/${name}/${version}_meta.json`, JSON.stringify({ exports, manifest: {} }));
  }
}

/** The name that a file is imported by: `./text-line-stream` for `text_line_stream.js`, `.` for `mod.js`. */
function exportOf(path: string): string {
  const name = path.replace(/\.(js|ts)$/, "").replaceAll("_", "-");
  return name === "mod" ? "." : `./${name}`;
}

/**
 * Turns imports of another package (`../internal/diff.js`) into imports from JSR (`jsr:@std/internal@^1.0.12/diff`).
 *
 * @param specifiers Of deno.lock. They have the requirements, such as `jsr:@std/internal@^1.0.12`.
 * @throws {Error} If they lack the other package.
 */
export function rewriteImports(text: string, path: string, specifiers: readonly string[]): string {
  const up = "../".repeat(path.split("/").length);
  // Imports in comments are examples, and stay.
  const imports = /^(?!\s*(?:\*|\/\/))(.*\b(?:from|import)\s*\(?\s*")((?:\.\.\/)+)([^/"\n]+)\/([^"\n]+)(?=")/gm;
  return text.replace(imports, (whole, before: string, parents: string, folder: string, file: string) => {
    if (parents !== up) return whole;
    const name = `jsr:@std/${folder.replaceAll("_", "-")}`;
    const requirement = specifiers.find((specifier) => specifier.startsWith(`${name}@`));
    if (requirement === undefined) throw new Error(`"${path}" imports "${name}", which deno.lock does not list`);
    return before + requirement + exportOf(file).slice(1);
  });
}

/** The texts of the files below a folder that have this ending, by path. Empty if there is no folder. */
async function readFolder(folder: string, ending: string): Promise<[path: string, text: string][]> {
  const files: [string, string][] = [];
  for (const { name, isDirectory } of await Array.fromAsync(Deno.readDir(folder)).catch(ignoreMissing) ?? []) {
    if (isDirectory) {
      for (const [path, text] of await readFolder(`${folder}/${name}`, ending)) files.push([`${name}/${path}`, text]);
    } else if (name.endsWith(ending)) files.push([name, await Deno.readTextFile(`${folder}/${name}`)]);
  }
  return files;
}

async function writeFile(path: string, text: string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
}

/** Turns the error for a missing file into `undefined`. */
function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

if (import.meta.main) {
  // deno-lint-ignore no-console -- a tool's output
  const print = console.error;
  try {
    const reason = await deps(`${import.meta.dirname}/..`, { jsrUrl: Deno.env.get("JSR_URL") || DEFAULT_JSR_URL });
    if (reason !== undefined) print(`deps: took the @std modules from npm, since JSR cannot be used: ${reason}`);
  } catch (error) {
    print(`deps: ${messageOf(error)}`);
    Deno.exitCode = 1;
  }
}
