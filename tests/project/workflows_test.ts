/** Workflows: lint, pinned actions, and the platforms of a release. */

import { matchesGlob } from "node:path";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml/parse";
import { HOST, TARGETS } from "../../tools/release/targets.ts";
import { hasProgram, ROOT, run } from "../support/deployment.ts";
import { testWithPinned } from "../support/pinned.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Any YAML; missing members are `undefined`. */
// deno-lint-ignore no-explicit-any -- each member would need a type that says nothing.
type Yaml = any;

const WORKFLOWS = ["ci", "release"].map((name) => `${ROOT}/.github/workflows/${name}.yml`);

function readYaml(path: string): Yaml {
  return parse(Deno.readTextFileSync(path));
}

/** Every step of a workflow, with its job. */
function stepsOf(path: string): { job: string; step: Yaml }[] {
  return Object.entries<Yaml>(readYaml(path).jobs)
    .flatMap(([job, { steps = [] }]) => steps.map((step: Yaml) => ({ job, step })));
}

await testWithPinned("actionlint", "actionlint finds nothing in the workflows", async (actionlint) => {
  const args = [`-shellcheck=${hasProgram("shellcheck") ? "shellcheck" : ""}`, "-no-color"];
  assertEquals(await run(actionlint, [...args, ...WORKFLOWS]), { code: 0, stdout: "", stderr: "" });
  using folder = new TemporaryFolder();
  const broken = folder.write(
    "release.yml",
    Deno.readTextFileSync(WORKFLOWS[1] ?? "").replace("needs: test", "needs: x"),
  );
  assertStringIncludes((await run(actionlint, [...args, broken])).stdout, 'job "compile" needs job "x"');
});

await testWithPinned("zizmor", "zizmor finds nothing in the workflows", async (zizmor) => {
  const args = ["--offline", "--quiet", "--color=never"];
  const found = await run(zizmor, [...args, `${ROOT}/.github`]);
  assertEquals(found.code, 0, found.stdout + found.stderr);
  using folder = new TemporaryFolder();
  const text = Deno.readTextFileSync(WORKFLOWS[0] ?? "").replaceAll("persist-credentials: false", "fetch-depth: 1");
  const { code, stdout } = await run(zizmor, [...args, folder.write("ci.yml", text)]);
  assert(code !== 0);
  assertStringIncludes(stdout, "artipacked");
});

Deno.test("Workflows pin every action by commit, each by one", () => {
  const commits = new Map<string, string>();
  for (const path of WORKFLOWS) {
    for (const [, action = "", pin = ""] of Deno.readTextFileSync(path).matchAll(/uses: ([\w/-]+)@(.*)$/gm)) {
      assertMatch(pin, /^[0-9a-f]{40} # v\d+\.\d+\.\d+$/, `${path}: ${action}`);
      assertEquals(commits.get(action) ?? pin, pin, action);
      commits.set(action, pin);
    }
  }
  assert(commits.size > 5);
});

Deno.test("release.yml compiles for every platform, and tries each on its own", () => {
  const { jobs }: Yaml = readYaml(WORKFLOWS[1] ?? "");
  assertEquals(jobs.compile.strategy.matrix.target, Object.keys(TARGETS));
  const runners = Object.entries(TARGETS).map(([target, { runner }]) => ({ target, runner }));
  assertEquals(jobs.smoke.strategy.matrix.include, runners);
  assert(HOST in TARGETS || Deno.build.arch === "aarch64" && Deno.build.os === "windows");
});

Deno.test("release.yml runs every step of tools/release.ts once, and publishes after all of them", () => {
  const tool = Deno.readTextFileSync(`${ROOT}/tools/release.ts`);
  const [, table = ""] = /const STEPS: .*? = \{\n(.*?)\n\};/s.exec(tool) ?? [];
  const steps = [...table.matchAll(/^ {2}(\w+)[:,]/gm)].map(([, name]) => name);
  const called = stepsOf(WORKFLOWS[1] ?? "").flatMap(({ step: { run: command = "" } }) =>
    [...command.matchAll(/tools\/release\.ts ([a-z ]+)/g)].flatMap(([, names = ""]) => names.trim().split(" "))
  );
  assertEquals(called, steps);
  const { jobs }: Yaml = readYaml(WORKFLOWS[1] ?? "");
  const needs = (job: string): string[] =>
    [jobs[job].needs ?? []].flat().flatMap((name: string) => [name, ...needs(name)]);
  assertEquals([...new Set(needs("publish"))].sort(), ["check", "compile", "files", "image", "smoke", "test"]);
  assertEquals(jobs.test.needs, "check", "what takes no time comes before what takes long");
  assert(needs("image").includes("files"), "what is pushed cannot be taken back");
});

Deno.test("release.yml downloads its own artifacts only: the build records of Docker cannot be downloaded", () => {
  const { jobs }: Yaml = readYaml(WORKFLOWS[1] ?? "");
  const artifacts = (action: string): Yaml[] =>
    stepsOf(WORKFLOWS[1] ?? "").filter(({ step }) => step.uses?.startsWith(`actions/${action}-artifact@`))
      .map(({ step }) => step.with);
  const uploaded = artifacts("upload").map(({ name }) => name);
  assertEquals(uploaded, ["${{ matrix.target }}", "release"]);
  for (const { name, pattern } of artifacts("download")) {
    if (name !== undefined) assert(uploaded.includes(name), name);
    else {
      const matched = (name: string): boolean => matchesGlob(name, pattern ?? "*");
      for (const target of jobs.compile.strategy.matrix.target) assert(matched(target), target);
      assert(!matched("an-account~ollama-exporter~1A2B3C.dockerbuild"));
    }
  }
  for (const path of WORKFLOWS) assertEquals(readYaml(path).env?.DOCKER_BUILD_RECORD_UPLOAD, false, path);
});

Deno.test("release.yml attests the files and the image, for both platforms", () => {
  const attested = stepsOf(WORKFLOWS[1] ?? "")
    .filter(({ step }) => step.uses?.startsWith("actions/attest-build-provenance@")).map(({ job }) => job);
  assertEquals(attested, ["image", "publish"]);
  for (const path of WORKFLOWS) {
    const built = stepsOf(path).map(({ step }) => step.with?.platforms).filter((platforms) => platforms !== undefined);
    assertEquals(built, ["linux/amd64,linux/arm64"], path);
    assertEquals(readYaml(path).permissions, {}, "each job has its own");
  }
});

Deno.test("dependabot.yml names folders that exist", () => {
  const { updates }: Yaml = readYaml(`${ROOT}/.github/dependabot.yml`);
  for (const { directories } of updates) {
    for (const folder of directories) assert(Deno.statSync(`${ROOT}${folder}`).isDirectory, folder);
  }
});
