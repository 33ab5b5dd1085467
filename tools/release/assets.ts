/**
 * The files of a release, made from executables and from the repository.
 *
 * @module
 */

import { writeExtras } from "../extras.ts";
import { CHARTS, downloadUrl, IMAGE, REPOSITORY, SOURCE_URL } from "../project.ts";
import { program } from "../programs.ts";
import { releaseNotes } from "../release_notes.ts";
import { executableName, TARGETS } from "./targets.ts";

const ROOT = `${import.meta.dirname}/../../`;
/** Creates the SBOM: it reads deno.lock, and writes SPDX. */
const CDXGEN = "@cyclonedx/cdxgen@12.8.4";
/** Checksums of the files of a release. */
export const SUMS = "SHA256SUMS";

/** Where files of a release come from and go to. */
export interface Release {
  readonly version: string;
  /** Folder with an executable in a subfolder for each of `targets`. */
  readonly build: string;
  /** Folder for the files of the release. */
  readonly dist: string;
  readonly targets: readonly string[];
  /** Time of all files in archives, in seconds since 1970. */
  readonly date: number;
}

/** Returns the path of an executable. */
export function executableOf({ build }: Pick<Release, "build">, target: string): string {
  return `${build}/${target}/${executableName(target)}`;
}

/** Writes an archive of each executable, with the documentation, and with the service's files for Linux. */
export async function writeArchives(release: Release): Promise<void> {
  for (const target of release.targets) {
    const name = `ollama-exporter-${release.version}-${target}`;
    await inFolder(async (work) => {
      const folder = `${work}/${name}`;
      await Deno.mkdir(folder);
      await Deno.copyFile(executableOf(release, target), `${folder}/${executableName(target)}`);
      await Deno.chmod(`${folder}/${executableName(target)}`, 0o755);
      await execute("cp", ["--recursive", "LICENSE", "README.md", "CHANGELOG.md", "docs", folder]);
      if (target.includes("linux")) await execute("cp", ["--recursive", "deploy/systemd", folder]);
      if (!target.includes("windows")) await writeExtras(folder, new Date(release.date * 1000));
      await pack(release, work, name, target.includes("windows") ? "zip" : "tar.gz");
    });
  }
}

/** Writes Debian and RPM packages of the executables for Linux. */
export async function writePackages(release: Release): Promise<void> {
  for (const target of release.targets) {
    const arch = TARGETS[target]?.arch;
    if (arch === undefined) continue;
    const args = ["run", "--allow-all", "tools/packages.ts", executableOf(release, target), arch, release.dist];
    await execute(Deno.execPath(), args, { env: { SOURCE_DATE_EPOCH: String(release.date) } });
  }
}

/** Writes an archive of deploy/kubernetes with the published image. */
export async function writeManifests(release: Release): Promise<void> {
  await inFolder(async (work) => {
    const name = `ollama-exporter-${release.version}-kubernetes`;
    await execute("cp", ["--recursive", "deploy/kubernetes", `${work}/${name}`]);
    for (const folder of ["sidecar", "standalone"]) {
      const path = `${work}/${name}/${folder}/kustomization.yaml`;
      await replaceIn(path, "    newTag: ", `    newName: ${IMAGE}\n    newTag: `);
    }
    await pack(release, work, name, "tar.gz");
  });
}

/** Writes the Helm chart with the published image. */
export async function writeChart(release: Release): Promise<void> {
  await inFolder(async (work) => {
    await execute("cp", ["--recursive", "deploy/helm/ollama-exporter", work]);
    const chart = `${work}/ollama-exporter`;
    await replaceIn(`${chart}/values.yaml`, "  repository: ollama-exporter\n", `  repository: ${IMAGE}\n`);
    await Deno.writeTextFile(`${chart}/Chart.yaml`, `home: ${SOURCE_URL}\nsources: [${SOURCE_URL}]\n`, {
      append: true,
    });
    await execute(await program("helm"), ["lint", "--strict", chart]);
    // `helm package` would take the current time for the files.
    await pack(release, work, "ollama-exporter", "tar.gz");
    await Deno.rename(`${release.dist}/ollama-exporter.tar.gz`, `${release.dist}/${chartOf(release)}`);
  });
}

/** Pushes the chart to the registry of the image, with the credentials of Docker. */
export async function pushChart(release: Release): Promise<void> {
  await execute(await program("helm"), ["push", `${release.dist}/${chartOf(release)}`, CHARTS]);
}

/** Returns the file name of the chart, as Helm has it. */
function chartOf({ version }: Release): string {
  return `ollama-exporter-${version}.tgz`;
}

/** Writes an SBOM of the modules that executables include, in SPDX. */
export async function writeSbom({ dist, version }: Release): Promise<void> {
  await inFolder(async (work) => {
    await execute("cp", ["deno.json", "deno.lock", work]);
    const output = `${dist}/ollama-exporter-${version}.spdx.json`;
    const options = ["--type=deno", "--no-install-deps", "--format=spdx", `--output=${output}`];
    await execute("npx", ["--yes", CDXGEN, ...options, "."], { cwd: work });
    const sbom = await Deno.readTextFile(output);
    const lock: { jsr: object; npm: object } = JSON.parse(await Deno.readTextFile("deno.lock"));
    for (const id of [...Object.keys(lock.jsr), ...Object.keys(lock.npm)]) {
      const [, name = "", number = ""] = /^@?(.*)@(.*)$/.exec(id) ?? [];
      if (!sbom.includes(`${name.split("/").at(-1)}@${number}`)) throw new Error(`the SBOM lacks ${id}`);
    }
  });
}

/** Writes the checksums of all files. */
export async function writeSums({ dist }: Release): Promise<void> {
  const names = [...Deno.readDirSync(dist)].map(({ name }) => name).filter((name) => name !== SUMS).sort();
  const lines = names.map(async (name) => `${await sha256Of(`${dist}/${name}`)}  ${name}\n`);
  await Deno.writeTextFile(`${dist}/${SUMS}`, (await Promise.all(lines)).join(""));
}

/** Writes the Homebrew formula, with the checksums. */
export async function writeFormula({ dist, build, version, targets }: Release): Promise<void> {
  const sums = await Deno.readTextFile(`${dist}/${SUMS}`);
  const archive = (target: string): string => `ollama-exporter-${version}-${target}.tar.gz`;
  const template = (await Deno.readTextFile(`${ROOT}deploy/homebrew/ollama-exporter.rb`)).replace(/^#.*\n/, "");
  const formula = template.replace(/@(\w+) ?([\w-]*)@/g, (_, name, target) => {
    if (name === "HOMEPAGE") return SOURCE_URL;
    if (name === "VERSION") return version;
    if (name === "URL") return downloadUrl(version, archive(target));
    const line = sums.split("\n").find((line) => line.endsWith(`  ${archive(target)}`));
    if (line === undefined && targets.includes(target)) throw new Error(`${SUMS} has no ${archive(target)}`);
    return line?.split(" ")[0] ?? "";
  });
  await Deno.writeTextFile(`${build}/ollama-exporter.rb`, formula);
}

/** Writes the notes of the release: the changelog, and the commands with its files. */
export async function writeNotes({ build, version }: Release, section = version): Promise<void> {
  const notes = releaseNotes(await Deno.readTextFile(`${ROOT}CHANGELOG.md`), section);
  const archive = `ollama-exporter-${version}-x86_64-unknown-linux-gnu.tar.gz`;
  const commands = [
    `docker run -d -p 8000:8000 --add-host host.docker.internal:host-gateway \\`,
    `  -e OLLAMA_HOST=http://host.docker.internal:11434 ${IMAGE}:${version}`,
    `helm install ollama-exporter ${CHARTS}/ollama-exporter --version ${version}`,
    `curl -LO ${downloadUrl(version, archive)}`,
    `gh attestation verify ${archive} --repo ${REPOSITORY}`,
    `gh attestation verify oci://${IMAGE}:${version} --repo ${REPOSITORY}`,
  ];
  const text = `${notes}\n\n## Installation\n\n${commands.map((command) => `    ${command}\n`).join("")}`;
  await Deno.writeTextFile(`${build}/notes.md`, text);
}

/** Packs a folder, with the same bytes for the same files. */
async function pack({ dist, date }: Release, work: string, name: string, type: "zip" | "tar.gz"): Promise<void> {
  await execute("find", [name, "-exec", "touch", "--no-dereference", `--date=@${date}`, "{}", "+"], { cwd: work });
  const file = `${dist}/${name}.${type}`;
  if (type === "zip") return await execute("zip", ["-q", "-X", "--recurse-paths", file, name], { cwd: work });
  const owner = ["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
  const args = ["--create", "--sort=name", ...owner, "--gzip", `--file=${file}`, name];
  await execute("tar", args, { cwd: work });
}

async function replaceIn(path: string, before: string, after: string): Promise<void> {
  const text = await Deno.readTextFile(path);
  if (text.split(before).length !== 2) throw new Error(`${path} must have "${before.trim()}" once`);
  await Deno.writeTextFile(path, text.replace(before, () => after));
}

async function sha256Of(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

async function inFolder(write: (work: string) => Promise<void>): Promise<void> {
  const work = await Deno.makeTempDir();
  try {
    await write(work);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Runs a program in the repository. */
async function execute(
  command: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd: ROOT, ...options }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${command} ${args.join(" ")}\n${decoder.decode(stdout)}${decoder.decode(stderr)}`);
}
