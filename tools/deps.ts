/**
 * `deno task deps`: sees to it that the `@std` modules can be had, also where JSR is blocked.
 *
 * Many networks let npm through and block JSR. With `"vendor": true` in deno.json Deno reads JSR
 * packages from `vendor/jsr.io/`, so this tool can put them there:
 *
 * 1. Modules that are there are left alone. That is a matter of milliseconds.
 * 2. Where JSR answers, all is left to Deno, which fetches what it needs and verifies it against
 *    deno.lock.
 * 3. Otherwise they come from npm: the package `deno-std` has them as JavaScript. They are laid
 *    under the versions of deno.lock, with the declarations in `tools/stand_in/` for the type
 *    checker. `@std/log` is not in that package: a stand-in of ours is laid for it.
 *
 * With `--ask-jsr` modules from npm do not count as there, if JSR answers now: so that what is
 * compiled has the real ones.
 *
 * @module
 */

/** The npm package that the modules come from, and the integrity of the one that was checked. */
export const DENO_STD = {
  version: "1.4.0",
  integrity: "sha512-7c0Y6tyn0Sx0NKiaAeGtDwrpG+C7VFcOStVcYXPnjAuIEonxzVV+n6s8iuFjg6keqzxo/zrPbR/J9EY9BLNsRA==",
} as const;

/** Where Deno itself looks for JSR unless the variable JSR_URL says otherwise. */
const DEFAULT_JSR_URL = "https://jsr.io/";

/** Lies beside the packages and tells where they are from. */
const STAMP = ".ollama-exporter-deps.json";

/** How the names of folders begin in which modules are made ready. */
const ASIDE = ".laying-";

/** What of deno.lock is read here. */
interface Lock {
  /** `jsr:@std/http@^1.0.25` to `1.0.25`. */
  specifiers: Record<string, string>;
  /** By `@std/http@1.0.25`. */
  jsr: Record<string, { dependencies?: string[] }>;
  workspace: { dependencies: string[] };
}

/** What is known of the modules that lie in `vendor/`. */
interface Stamp {
  source: "jsr" | "npm";
  /** Of the lock, of this tool and of the stand-ins, when the modules were laid. */
  key: string;
  /** Bytes of each laid file, by its path. Empty where Deno fetches the modules itself. */
  files: Record<string, number>;
}

/** A package by its name, without the scope (`media-types`), and its version. */
interface PackageId {
  name: string;
  version: string;
}

/** One package while it is laid. */
interface Package extends PackageId {
  /** Text of each file, by its path: `_negotiation/encoding.js`. */
  files: Map<string, string>;
}

/** What `deps()` did. `laid`: the modules are from npm now. `jsr`: Deno fetches them. */
export type Done = "already there" | "jsr" | "laid";

/** Options of {@linkcode deps}. All but `root` are for the tests. */
export interface DepsOptions {
  /** The project's folder, with deno.lock. */
  root: string;
  /** Whether to ask JSR even if modules from npm are there. Default: `false`. */
  askJsr?: boolean;
  /** Default: Deno's own. */
  jsrUrl?: string;
  /** How long JSR may take to answer before it counts as blocked. Default: 3 seconds. */
  jsrTimeoutMs?: number;
  /** Puts the unpacked npm package below `folder` and gives its path. Default: Deno does it. */
  fetchDenoStd?: (folder: string, root: string) => Promise<string>;
  /** Is told in one line what was laid. Default: nobody. */
  log?: (line: string) => void;
}

/** Sees to it that the modules can be had. */
export async function deps(options: DepsOptions): Promise<Done> {
  const { root, askJsr = false, jsrUrl = DEFAULT_JSR_URL } = options;
  const lock = await readLock(`${root}/deno.lock`);
  const folder = `${root}/vendor/${vendorFolder(jsrUrl)}`;
  const key = await keyOf(lock, root);
  if (!askJsr && await isThere(folder, lock, key)) return "already there";

  await Deno.mkdir(`${root}/vendor`, { recursive: true });
  // Of two runs at once the second waits here, and then finds what the first has done.
  using lockFile = await Deno.open(`${root}/vendor/.lock`, { create: true, write: true });
  await lockFile.lock(true);
  if (!askJsr && await isThere(folder, lock, key)) return "already there";

  const trouble = await whyNotJsr(options, lock);
  if (trouble === undefined) {
    await leaveToDeno(folder);
    return "jsr";
  }
  if (await isThere(folder, lock, key)) return "already there";
  await layFromNpm(folder, lock, { ...options, key, trouble });
  options.log?.(
    `deps: JSR cannot be reached (${trouble}): laid into vendor/ the @std modules of the npm ` +
      `package deno-std ${DENO_STD.version}, and for @std/log a stand-in of our own`,
  );
  return "laid";
}

/** Reads deno.lock, as far as it matters here. */
async function readLock(path: string): Promise<Lock> {
  const lock: Lock & { version: string } = JSON.parse(await Deno.readTextFile(path));
  if (lock.version !== "5" || !lock.specifiers || !lock.jsr || !lock.workspace?.dependencies) {
    throw new Error(`Cannot read "${path}": expected a lock file of version 5 with JSR packages`);
  }
  return lock;
}

/** The folder in `vendor/` in which Deno looks for what is at `jsrUrl`. */
export function vendorFolder(jsrUrl: string): string {
  const { protocol, hostname, port } = new URL(jsrUrl);
  return (protocol === "https:" ? "" : "http_") + hostname + (port === "" ? "" : `_${port}`);
}

/** Changes whenever the modules from npm would come out differently. */
async function keyOf(lock: Lock, root: string): Promise<string> {
  const standIns = await readFolder(`${root}/tools/stand_in`, /\.ts$/);
  const tool = await Deno.readTextFile(new URL(import.meta.url));
  return await sha256(JSON.stringify([lock.specifiers, lock.jsr, [...standIns], tool]));
}

/** Whether nothing has to be done. */
async function isThere(folder: string, lock: Lock, key: string): Promise<boolean> {
  const stamp = await readStamp(folder);
  if (stamp === undefined) {
    // They may be from Deno, which was run without this tool.
    const sizes = directPackages(lock).map(({ name, version }) =>
      sizeOf(`${folder}/@std/${name}/${version}_meta.json`)
    );
    return (await Promise.all(sizes)).every((size) => size !== undefined);
  }
  // Where JSR answered once, Deno fetches what is missing, and says best what is the matter.
  if (stamp.source === "jsr") return true;
  if (stamp.key !== key) return false;
  const whole = Object.entries(stamp.files).map(async ([path, size]) => await sizeOf(`${folder}/${path}`) === size);
  return (await Promise.all(whole)).every(Boolean);
}

async function readStamp(folder: string): Promise<Stamp | undefined> {
  const text = await unlessMissing(Deno.readTextFile(`${folder}/${STAMP}`));
  return text === undefined ? undefined : JSON.parse(text);
}

/** The packages that deno.json names itself. */
function directPackages(lock: Lock): PackageId[] {
  return lock.workspace.dependencies.flatMap((specifier) => {
    const name = specifier.match(/^jsr:@std\/([^@]+)@/)?.[1];
    const version = lock.specifiers[specifier];
    return name !== undefined && version !== undefined ? [{ name, version }] : [];
  });
}

/** Asks JSR for a package that is needed. What stands in the way, or `undefined` if nothing does. */
async function whyNotJsr(
  { jsrUrl = DEFAULT_JSR_URL, jsrTimeoutMs = 3_000 }: DepsOptions,
  lock: Lock,
): Promise<string | undefined> {
  const wanted = directPackages(lock)[0];
  if (wanted === undefined) throw new Error("deno.lock names no package of JSR's scope @std");
  const url = new URL(`@std/${wanted.name}/meta.json`, jsrUrl);
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(jsrTimeoutMs) });
    const text = await response.text();
    if (!response.ok) return `${url.host}: status ${response.status}`;
    // A gateway may answer with a page of its own.
    const known = text.includes(JSON.stringify(wanted.version));
    return known ? undefined : `${url.host}: an answer that is not JSR's`;
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    return `${url.host}: ${late ? `no answer in ${jsrTimeoutMs / 1000} s` : messageOf(error)}`;
  }
}

/** Takes away what is from npm and notes that Deno fetches the modules. */
async function leaveToDeno(folder: string): Promise<void> {
  const ours = (await readStamp(folder))?.source === "npm";
  if (ours) await Deno.remove(folder, { recursive: true });
  await Deno.mkdir(folder, { recursive: true });
  const stamp: Stamp = { source: "jsr", key: "", files: {} };
  await Deno.writeTextFile(`${folder}/${STAMP}`, JSON.stringify(stamp));
}

/** Lays the modules from npm, in a folder aside that takes the place of `folder` when it is whole. */
async function layFromNpm(
  folder: string,
  lock: Lock,
  options: DepsOptions & { key: string; trouble: string },
): Promise<void> {
  const { root, key, trouble, fetchDenoStd = fetchWithDeno } = options;
  // What an earlier run left that was ended at the wrong moment. Nobody uses it: we hold the lock.
  for (const { name } of await Array.fromAsync(Deno.readDir(`${root}/vendor`))) {
    if (name.startsWith(ASIDE)) await Deno.remove(`${root}/vendor/${name}`, { recursive: true });
  }
  const aside = await Deno.makeTempDir({ dir: `${root}/vendor`, prefix: ASIDE });
  try {
    const denoStd = await fetchDenoStd(`${aside}/npm`, root).catch((error) => {
      throw new Error(
        `Cannot get the @std modules, neither from JSR nor from npm\n` +
          `  JSR: ${trouble}\n  npm: ${messageOf(error)}\n` +
          `See to it that one of the two can be reached (JSR_URL, .npmrc, HTTPS_PROXY), then repeat.`,
      );
    });
    const packages = await readPackages(denoStd, `${root}/tools/stand_in`, lock);
    const stamp: Stamp = { source: "npm", key, files: {} };
    for (const files of await Promise.all(packages.map((it) => vendored(it, lock)))) {
      for (const [path, text] of files) {
        await writeFile(`${aside}/new/${path}`, text);
        stamp.files[path] = new TextEncoder().encode(text).byteLength;
      }
    }
    await writeFile(`${aside}/new/${STAMP}`, JSON.stringify(stamp));
    // In two steps, so that whoever reads at this moment finds nothing rather than half of it.
    await unlessMissing(Deno.rename(folder, `${aside}/old`));
    await Deno.rename(`${aside}/new`, folder);
  } finally {
    await Deno.remove(aside, { recursive: true });
  }
}

/**
 * Has Deno itself fetch the npm package, so that it comes from the registry that the user has set
 * for Deno and npm (.npmrc, NPM_CONFIG_REGISTRY), and so that Deno verifies the integrity.
 */
export async function fetchWithDeno(
  folder: string,
  root: string,
  { version, integrity }: { version: string; integrity: string } = DENO_STD,
): Promise<string> {
  const specifier = `npm:deno-std@${version}`;
  const config = { nodeModulesDir: "auto", imports: { "deno-std": specifier } };
  const lock = {
    version: "5",
    specifiers: { [specifier]: version },
    npm: { [`deno-std@${version}`]: { integrity } },
    workspace: { dependencies: [specifier] },
  };
  await writeFile(`${folder}/deno.json`, JSON.stringify(config));
  await writeFile(`${folder}/deno.lock`, JSON.stringify(lock));
  await unlessMissing(Deno.copyFile(`${root}/.npmrc`, `${folder}/.npmrc`));
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--quiet", "--frozen"],
    cwd: folder,
    // Deno verifies what it downloads, not what lies in its cache: so the cache is a new one.
    env: { DENO_DIR: `${folder}/cache`, NO_COLOR: "1", RUST_BACKTRACE: "0" },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
  return `${folder}/node_modules/deno-std`;
}

/** The packages of deno.lock that are in the npm package or among our stand-ins. */
async function readPackages(denoStd: string, standIns: string, lock: Lock): Promise<Package[]> {
  const direct = new Set(directPackages(lock).map(({ name }) => name));
  const packages: Package[] = [];
  for (const id of Object.keys(lock.jsr)) {
    const [, name, version] = id.match(/^@std\/([^@]+)@(.+)$/) ?? [];
    if (name === undefined || version === undefined) continue;
    const files = new Map([
      ...await readFolder(`${denoStd}/${name.replaceAll("-", "_")}`, /\.js$/),
      ...await readFolder(`${standIns}/${name}`, /\.ts$/),
    ]);
    if (files.size > 0) packages.push({ name, version, files });
    else if (direct.has(name)) {
      throw new Error(`No modules for "${id}": expected in deno-std of npm or in tools/stand_in/`);
    }
  }
  return packages;
}

/** The files of a package as Deno has them in `vendor/`, by their paths. */
async function vendored(it: Package, lock: Lock): Promise<Map<string, string>> {
  const home = `@std/${it.name}`;
  const files = new Map<string, string>();
  const manifest: Record<string, { size: number; checksum: string }> = {};
  const exports: Record<string, string> = {};
  for (const [path, text] of it.files) {
    const declarations = path.replace(/\.js$/, ".d.ts");
    const typed = path.endsWith(".js") && it.files.has(declarations);
    const header = typed ? `// @ts-self-types="./${declarations.split("/").at(-1)}"\n` : "";
    const content = header + rewriteImports(text, { path, from: it, lock });
    files.set(`${home}/${it.version}/${path}`, content);
    const size = new TextEncoder().encode(content).byteLength;
    manifest[`/${path}`] = { size, checksum: `sha256-${await sha256(content)}` };
    const entry = exportOf(path);
    if (entry !== undefined) exports[entry] = `./${path}`;
  }
  const meta = { scope: "std", name: it.name, latest: it.version, versions: { [it.version]: {} } };
  files.set(`${home}/meta.json`, JSON.stringify(meta));
  files.set(`${home}/${it.version}_meta.json`, JSON.stringify({ exports, manifest }));
  return files;
}

/** Under which name a file can be imported: `./text-line-stream`. None for private files. */
function exportOf(path: string): string | undefined {
  if (/(^|\/)_/.test(path) || path.endsWith(".d.ts")) return undefined;
  const name = path.replace(/\.(js|ts)$/, "").replaceAll("_", "-");
  return name === "mod" ? "." : `./${name.replace(/\/mod$/, "")}`;
}

/**
 * Lets imports that lead out of a package (`../internal/diff.js`) name the other package, by the
 * requirement that deno.lock has for it (`jsr:@std/internal@^1.0.12/diff`).
 */
export function rewriteImports(
  text: string,
  { path, from, lock }: { path: string; from: PackageId; lock: Lock },
): string {
  // Not in comments, whose examples import whatever they like.
  const imports = /^(?!\s*(?:\*|\/\/))(.*\b(?:from|import)\s*\(?\s*")(\.[^"\n]+)(?=")/gm;
  return text.replace(imports, (whole, before: string, target: string) => {
    const base = `file:///packages/${from.name.replaceAll("-", "_")}/`;
    const { pathname } = new URL(target, base + path);
    const [, , folder = "", ...inside] = pathname.split("/");
    const name = folder.replaceAll("_", "-");
    if (name === from.name) return whole;
    const subpath = exportOf(inside.join("/"))?.slice(1) ?? `/${inside.join("/")}`;
    return `${before}${requirementOf(name, from, lock)}${subpath}`;
  });
}

/** By what requirement a package needs the package `name`, as deno.lock has it. */
function requirementOf(name: string, from: PackageId, lock: Lock): string {
  const id = `@std/${from.name}@${from.version}`;
  const short = `jsr:@std/${name}`;
  const found = lock.jsr[id]?.dependencies?.find((it) => it === short || it.startsWith(`${short}@`));
  // The lock leaves the version out where there is only one requirement for a package.
  const whole = found === short ? Object.keys(lock.specifiers).find((it) => it.startsWith(`${short}@`)) : found;
  if (whole !== undefined) return whole;
  throw new Error(`"${id}" of npm imports "@std/${name}", which deno.lock does not list for it`);
}

/** The texts of the files below a folder whose names match, by their paths in it, in order. */
async function readFolder(folder: string, wanted: RegExp): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const entries = await unlessMissing(Array.fromAsync(Deno.readDir(folder))) ?? [];
  for (const { name, isDirectory } of entries.toSorted((a, b) => a.name < b.name ? -1 : 1)) {
    const path = `${folder}/${name}`;
    if (isDirectory) {
      for (const [inner, text] of await readFolder(path, wanted)) {
        files.set(`${name}/${inner}`, text);
      }
    } else if (wanted.test(name)) files.set(name, await Deno.readTextFile(path));
  }
  return files;
}

async function writeFile(path: string, text: string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await unlessMissing(Deno.stat(path)))?.size;
}

/** What `action` gives, or `undefined` if the file that it is about is not there. */
async function unlessMissing<T>(action: Promise<T>): Promise<T | undefined> {
  try {
    return await action;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

if (import.meta.main) {
  // deno-lint-ignore no-console -- this is its way to speak
  const log = console.error;
  try {
    const root = `${import.meta.dirname}/..`;
    const jsrUrl = Deno.env.get("JSR_URL") || DEFAULT_JSR_URL;
    await deps({ root, jsrUrl, askJsr: Deno.args.includes("--ask-jsr"), log });
  } catch (error) {
    log(`deps: ${messageOf(error)}`);
    Deno.exitCode = 1;
  }
}
