/**
 * Builds the Debian and RPM packages of an executable with nfpm. Needs Go.
 *
 *     deno run --allow-all tools/packages.ts bin/ollama-exporter amd64 dist
 *
 * @module
 */

import { gzipSync } from "node:zlib";
import denoJson from "../deno.json" with { type: "json" };
import { writeExtras } from "./extras.ts";
import { ACCOUNT, SOURCE_URL } from "./project.ts";
import { program } from "./programs.ts";

const ROOT = new URL("..", import.meta.url).pathname;

const EXECUTABLE = { installed: "/usr/local/bin/ollama-exporter", packaged: "/usr/bin/ollama-exporter" };

/** Options of {@linkcode buildPackages}. */
interface PackageOptions {
  /** Path of the executable for Linux. */
  readonly executable: string;
  readonly arch: "amd64" | "arm64";
  readonly version: string;
  /** Folder for the packages; it must exist. */
  readonly output: string;
  /** Time of all files; the same executable and time give the same packages. */
  readonly date: Date;
}

/**
 * Builds a Debian and an RPM package.
 *
 * @returns Their paths.
 * @throws {Error} With the output of nfpm.
 */
export async function buildPackages(options: PackageOptions): Promise<string[]> {
  const { executable, arch, version, output, date } = options;
  const files = await Deno.makeTempDir();
  try {
    await writeFiles(files, executable, date);
    const env = {
      FILES: files,
      ARCH: arch,
      VERSION: version,
      MAINTAINER: `${ACCOUNT} <${ACCOUNT}@users.noreply.github.com>`,
      VENDOR: ACCOUNT,
      HOMEPAGE: SOURCE_URL,
      SOURCE_DATE_EPOCH: String(secondsOf(date)),
    };
    const nfpm = await program("nfpm");
    const args = ["package", "--config=deploy/packages/nfpm.yaml"];
    const built = ["deb", "rpm"].map(async (packager) => {
      const target = `${output}/${nameOf(packager, options)}`;
      const command = new Deno.Command(nfpm, {
        args: [...args, `--packager=${packager}`, `--target=${target}`],
        cwd: ROOT,
        env,
      });
      const { success, stdout, stderr } = await command.output();
      const text = new TextDecoder().decode(new Uint8Array([...stdout, ...stderr]));
      if (!success) throw new Error(`nfpm: ${text}`);
      return target;
    });
    return await Promise.all(built);
  } finally {
    await Deno.remove(files, { recursive: true });
  }
}

/** Name of a package by the convention of its distribution. */
function nameOf(packager: string, { arch, version }: PackageOptions): string {
  if (packager === "deb") return `ollama-exporter_${version}_${arch}.deb`;
  return `ollama-exporter-${version}-1.${arch === "amd64" ? "x86_64" : "aarch64"}.rpm`;
}

/** Writes the files that deploy/packages/nfpm.yaml names. */
async function writeFiles(folder: string, executable: string, date: Date): Promise<void> {
  await Deno.copyFile(executable, `${folder}/ollama-exporter`);
  for (const name of ["ollama-exporter.socket", "ollama-exporter.env"]) {
    await Deno.copyFile(`${ROOT}deploy/systemd/${name}`, `${folder}/${name}`);
  }
  const unit = await Deno.readTextFile(`${ROOT}deploy/systemd/ollama-exporter.service`);
  await Deno.writeTextFile(
    `${folder}/ollama-exporter.service`,
    unit.replaceAll(EXECUTABLE.installed, EXECUTABLE.packaged),
  );
  await Deno.copyFile(`${ROOT}LICENSE`, `${folder}/LICENSE`);
  await writeExtras(folder, date);
  const compress = async (from: string, to: string): Promise<void> =>
    await Deno.writeFile(`${folder}/${to}`, gzipSync(await Deno.readFile(from), { level: 9 }));
  await compress(`${ROOT}CHANGELOG.md`, "NEWS.gz");
  await compress(`${folder}/man/ollama-exporter.1`, "ollama-exporter.1.gz");
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile) await Deno.utime(`${folder}/${name}`, secondsOf(date), secondsOf(date));
  }
}

function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

if (import.meta.main) {
  const [executable, arch, output] = Deno.args;
  if (executable === undefined || output === undefined || arch !== "amd64" && arch !== "arm64") {
    // deno-lint-ignore no-console -- for who runs it
    console.error("Usage: packages.ts EXECUTABLE amd64|arm64 FOLDER");
    Deno.exit(2);
  }
  const seconds = Deno.env.get("SOURCE_DATE_EPOCH");
  const date = seconds === undefined ? new Date() : new Date(Number(seconds) * 1000);
  const paths = await buildPackages({
    executable: await Deno.realPath(executable),
    arch,
    output: await Deno.realPath(output),
    date,
    version: denoJson.version,
  });
  // deno-lint-ignore no-console -- for who runs it
  console.log(paths.join("\n"));
}
