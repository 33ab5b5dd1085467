/**
 * The steps of a release, which .github/workflows/release.yml runs one by one:
 *
 *     deno run --allow-all tools/release.ts STEP... [--target=TARGET] [--build=FOLDER] [--dist=FOLDER]
 *     deno run --allow-all tools/release.ts --dry-run
 *
 * Without a target, a step is for all platforms. The dry run carries out all steps for the platform of this machine; in
 * place of a section of the changelog it takes the unreleased one, pushes nothing, and goes on after a step that fails.
 * It exits with 1 if a step failed.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { messageOf } from "../lib/errors.ts";
import { REPOSITORY } from "./project.ts";
import {
  executableOf,
  pushChart,
  type Release,
  writeArchives,
  writeChart,
  writeFormula,
  writeManifests,
  writeNotes,
  writePackages,
  writeSbom,
  writeSums,
} from "./release/assets.ts";
import { smoke } from "./release/smoke.ts";
import { formatOf, HOST, TARGETS } from "./release/targets.ts";
import { releaseNotes } from "./release_notes.ts";

const ROOT = `${import.meta.dirname}/../`;

interface Run extends Release {
  readonly isDry: boolean;
}

/** Steps in their order: the last ones read what others write. */
const STEPS: Readonly<Record<string, (run: Run) => Promise<void> | void>> = {
  check,
  compile,
  format: checkFormats,
  smoke: async (run) => {
    for (const target of run.targets) {
      const path = executableOf(run, target);
      // Artifacts of workflows have no permissions.
      if (!target.includes("windows")) await Deno.chmod(path, 0o755);
      await smoke(await Deno.realPath(path), run.version);
    }
  },
  archives: writeArchives,
  packages: writePackages,
  manifests: writeManifests,
  chart: writeChart,
  sbom: writeSbom,
  sums: writeSums,
  formula: writeFormula,
  notes: (run) => writeNotes(run, run.isDry ? "Unreleased" : run.version),
  push: pushChart,
};

/** Compares tag, repository, changelog and chart with the version and the owner. */
function check({ version, isDry }: Run): void {
  const [tag, repository] = [Deno.env.get("GITHUB_REF_NAME"), Deno.env.get("GITHUB_REPOSITORY")];
  if (!isDry && tag !== `v${version}`) throw new Error(`deno.json has the version ${version}, the tag is ${tag}`);
  if (!isDry && repository !== REPOSITORY) throw new Error(`deno.json has ${REPOSITORY}, this is ${repository}`);
  releaseNotes(Deno.readTextFileSync(`${ROOT}CHANGELOG.md`), isDry ? "Unreleased" : version);
}

async function compile(run: Run): Promise<void> {
  for (const target of run.targets) {
    const commit = Deno.env.get("GITHUB_SHA");
    const args = [
      ...["task", "--quiet", "compile", `--output=${executableOf(run, target)}`, `--target=${target}`],
      ...commit === undefined ? [] : [`--commit=${commit}`],
    ];
    const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).spawn().status;
    if (!success) throw new Error(`cannot compile for ${target}`);
  }
}

/** Compares the headers of executables with their platforms. */
async function checkFormats(run: Run): Promise<void> {
  for (const target of run.targets) {
    const [found, expected] = [await formatOf(executableOf(run, target)), TARGETS[target]?.format];
    if (found !== expected) throw new Error(`${executableOf(run, target)} is ${found ?? "no executable"}`);
  }
}

/** Returns the time of the commit, for archives that can be reproduced. */
function commitTime(): number {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  if (given !== undefined) return Number(given);
  const { stdout } = new Deno.Command("git", { args: ["log", "-1", "--format=%ct"], cwd: ROOT }).outputSync();
  return Number(new TextDecoder().decode(stdout));
}

function option(name: string): string | undefined {
  return Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(`--${name}=`.length);
}

/** Prints a line for each step, and returns the number of those that failed. */
async function carryOut(run: Run, steps: readonly string[]): Promise<number> {
  let failed = 0;
  for (const name of steps) {
    const step = STEPS[name];
    if (step === undefined) throw new Error(`unknown step ${name}: expected ${Object.keys(STEPS).join(", ")}`);
    try {
      await step(run);
      await print(`${name}: done\n`);
    } catch (error) {
      failed++;
      await print(`${name}: failed: ${messageOf(error)}\n`);
      if (!run.isDry) break;
    }
  }
  return failed;
}

async function print(text: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(text));
}

if (import.meta.main) {
  const isDry = Deno.args.includes("--dry-run");
  const target = option("target") ?? (isDry ? HOST : undefined);
  if (target !== undefined && !(target in TARGETS)) {
    throw new Error(`unknown target ${target}: expected ${Object.keys(TARGETS).join(", ")}`);
  }
  const [build, dist] = [option("build") ?? `${ROOT}build`, option("dist") ?? `${ROOT}dist`];
  // Its checksums are those of all files there.
  if (isDry) await Deno.remove(dist, { recursive: true }).catch(() => {});
  for (const folder of [build, dist]) await Deno.mkdir(folder, { recursive: true });
  const run: Run = {
    version: denoJson.version,
    build: await Deno.realPath(build),
    dist: await Deno.realPath(dist),
    targets: target === undefined ? Object.keys(TARGETS) : [target],
    date: commitTime(),
    isDry,
  };
  const steps = Deno.args.filter((arg) => !arg.startsWith("--"));
  Deno.exitCode = await carryOut(run, isDry ? Object.keys(STEPS).filter((name) => name !== "push") : steps) === 0
    ? 0
    : 1;
}
