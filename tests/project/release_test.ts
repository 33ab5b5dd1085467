/** Releases: the files that tools/release.ts makes, of stand-ins for executables. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { RUNBOOK_FILES, withAlertsUrl } from "../../tools/dashboard.ts";
import { IMAGE, REPOSITORY, SOURCE_URL } from "../../tools/project.ts";
import {
  executableOf,
  type Release,
  writeArchives,
  writeChart,
  writeFormula,
  writeManifests,
  writeNotes,
  writeSums,
} from "../../tools/release/assets.ts";
import { smoke } from "../../tools/release/smoke.ts";
import { formatOf, TARGETS } from "../../tools/release/targets.ts";
import { releaseNotes } from "../../tools/release_notes.ts";
import { ROOT, run, testWith } from "../support/deployment.ts";
import { testWithPinned } from "../support/pinned.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const VERSION = denoJson.version;
const DATE = 1_700_000_000;

/** The first bytes of executables by target, and what follows at an offset. */
const HEADERS: Record<string, [start: number[], offset: number, bytes: number[]]> = {
  "x86_64-unknown-linux-gnu": [[0x7f, 0x45, 0x4c, 0x46], 18, [0x3e, 0]],
  "aarch64-unknown-linux-gnu": [[0x7f, 0x45, 0x4c, 0x46], 18, [0xb7, 0]],
  "x86_64-apple-darwin": [[0xcf, 0xfa, 0xed, 0xfe], 4, [7, 0, 0, 1]],
  "aarch64-apple-darwin": [[0xcf, 0xfa, 0xed, 0xfe], 4, [12, 0, 0, 1]],
  "x86_64-pc-windows-msvc": [[0x4d, 0x5a], 0x3c, [0x40, 0, 0, 0, 0x50, 0x45, 0, 0, 0x64, 0x86]],
};

/** Folders of a release with a stand-in for each executable. */
class Fixture implements Disposable {
  readonly #folder = new TemporaryFolder();
  readonly release: Release = {
    version: VERSION,
    build: `${this.#folder.path}/build`,
    dist: `${this.#folder.path}/dist`,
    targets: Object.keys(TARGETS),
    date: DATE,
  };

  constructor() {
    Deno.mkdirSync(this.release.dist);
    for (const [target, [start, offset, bytes]] of Object.entries(HEADERS)) {
      Deno.mkdirSync(`${this.release.build}/${target}`, { recursive: true });
      const header = new Uint8Array(100);
      header.set(start);
      header.set(bytes, offset);
      Deno.writeFileSync(executableOf(this.release, target), header);
    }
  }

  /** Files of the release. */
  get files(): string[] {
    return [...Deno.readDirSync(this.release.dist)].map(({ name }) => name).sort();
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

/** Returns the output of a program. */
async function output(command: string, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args);
  assertEquals(code, 0, stderr);
  return stdout;
}

Deno.test("formatOf() tells the platform of an executable by its header", async () => {
  using fixture = new Fixture();
  for (const [target, { format }] of Object.entries(TARGETS)) {
    assertEquals(await formatOf(executableOf(fixture.release, target)), format, target);
  }
  assertEquals(await formatOf(`${ROOT}/LICENSE`), undefined);
});

testWith(["sh"], "smoke() has the output of an executable that does not start", async () => {
  using folder = new TemporaryFolder();
  const script = `#!/bin/sh\n[ "$1" = --version ] && exec echo "ollama-exporter ${VERSION} (x)"\necho no glibc >&2\n`;
  const path = folder.write("ollama-exporter", script);
  Deno.chmodSync(path, 0o755);
  const { message } = await assertRejects(() => smoke(path, VERSION), Error);
  assertEquals(message, "it does not listen:\nno glibc\n");
});

testWith(
  ["tar", "zip", "sha256sum"],
  "Archives have an executable and the service, and can be reproduced",
  async () => {
    using fixture = new Fixture();
    const { release } = fixture;
    const names = Object.keys(TARGETS).map((target) => `ollama-exporter-${VERSION}-${target}`);
    await writeArchives(release);
    assertEquals(fixture.files, names.map((name) => `${name}.${name.includes("windows") ? "zip" : "tar.gz"}`).sort());
    const listed = (await output("tar", ["-tvzf", `${release.dist}/${names[0]}.tar.gz`])).split("\n");
    const executable = listed.find((line) => line.endsWith("/ollama-exporter")) ?? "";
    assertMatch(executable, /^-rwxr-xr-x 0\/0 +100 2023-11-1\d/);
    for (
      const name of [
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "docs/metrics.md",
        "systemd/install.sh",
        "systemd/ollama-exporter.service",
        "man/ollama-exporter.1",
      ]
    ) {
      assert(listed.some((line) => line.endsWith(`/${name}`)), name);
    }
    await writeSums(release);
    const sums = Deno.readTextFileSync(`${release.dist}/SHA256SUMS`);
    await output("sh", ["-c", `cd ${release.dist} && sha256sum --check --strict SHA256SUMS`]);
    for (const name of fixture.files) Deno.removeSync(`${release.dist}/${name}`);
    await writeArchives(release);
    await writeSums(release);
    assertEquals(Deno.readTextFileSync(`${release.dist}/SHA256SUMS`), sums);
  },
);

await testWithPinned("helm", "Chart and manifests of a release have its image", async (helm) => {
  using fixture = new Fixture();
  const { dist } = fixture.release;
  await writeChart(fixture.release);
  await writeManifests(fixture.release);
  const [manifests = "", chart = ""] = fixture.files;
  const args = ["template", "test", `${dist}/${chart}`, "--kube-version=1.36.0"];
  assertStringIncludes(await output(helm, args), `image: "${IMAGE}:${VERSION}"\n`);
  const shown = await output(helm, ["show", "chart", `${dist}/${chart}`]);
  assertStringIncludes(shown, `home: ${SOURCE_URL}\n`);
  const files = await output("tar", ["-xOzf", `${dist}/${manifests}`, "--wildcards", "*/kustomization.yaml"]);
  assertEquals(files.match(/newName: .*\n +newTag: .*/g), Array(2).fill(`newName: ${IMAGE}\n    newTag: ${VERSION}`));
});

testWith(["tar", "zip"], "The formula has URL and checksum of each archive", async () => {
  using fixture = new Fixture();
  const { release } = fixture;
  await writeArchives(release);
  await writeSums(release);
  await writeFormula(release);
  const formula = Deno.readTextFileSync(`${release.build}/ollama-exporter.rb`);
  const sums = Deno.readTextFileSync(`${release.dist}/SHA256SUMS`);
  const archives = [...formula.matchAll(/url "(.*)"\n +sha256 "(.*)"/g)];
  assertEquals(archives.length, 4);
  for (const [, url = "", sha256] of archives) {
    const name = url.slice(url.lastIndexOf("/") + 1);
    assertEquals(url, `${SOURCE_URL}/releases/download/v${VERSION}/${name}`);
    assertStringIncludes(sums, `${sha256}  ${name}\n`);
  }
  assertEquals(formula.match(/@/g), null, "nothing is left to fill in");
});

Deno.test("The notes of a release have its changelog and commands with its image", async () => {
  using fixture = new Fixture();
  await writeNotes(fixture.release, "Unreleased");
  const notes = Deno.readTextFileSync(`${fixture.release.build}/notes.md`);
  assertStringIncludes(notes, "[FEATURE]");
  assertStringIncludes(notes, ` ${IMAGE}:${VERSION}\n`);
  assertStringIncludes(notes, "--add-host host.docker.internal:host-gateway ", "Linux has no such name");
  assertStringIncludes(notes, `--repo ${REPOSITORY}\n`);
});

Deno.test("releaseNotes() returns the changelog of a version, and fails if there is none", () => {
  const changelog =
    "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.0 / 2026-11-22\n\n- [BUGFIX] b\n\n## 1.1.0\n\n## 1.0.0\n\n- a\n";
  assertEquals(releaseNotes(changelog, "1.2.0"), "- [BUGFIX] b");
  assertEquals(releaseNotes(changelog, "1.0.0"), "- a");
  for (const version of ["1.1.0", "1.2", "2.0.0", ""]) {
    assertThrows(() => releaseNotes(changelog, version), Error, "no section");
  }
});

Deno.test("tools/release.ts compares tag and repository with those that it has", async () => {
  const check = async (env: Record<string, string>): Promise<string> => {
    const args = ["run", "--quiet", "--allow-all", `${ROOT}/tools/release.ts`, "check"];
    using folder = new TemporaryFolder();
    const folders = [`--build=${folder.path}/build`, `--dist=${folder.path}/dist`];
    const { code, stdout } = await run(Deno.execPath(), [...args, ...folders], {
      env: { ...Deno.env.toObject(), ...env },
    });
    assertEquals(code, 1);
    return stdout;
  };
  const tag = `v${VERSION}`;
  assertMatch(await check({ GITHUB_REF_NAME: "v9.9.9", GITHUB_REPOSITORY: REPOSITORY }), /the tag is v9\.9\.9/);
  assertMatch(await check({ GITHUB_REF_NAME: tag, GITHUB_REPOSITORY: "someone/else" }), /this is someone\/else/);
  assertMatch(await check({ GITHUB_REF_NAME: tag, GITHUB_REPOSITORY: REPOSITORY }), /no section/);
});

Deno.test("The account that publishes is named in one place", async () => {
  const account = REPOSITORY.split("/")[0] ?? "";
  const { stdout } = await run("git", ["grep", "--untracked", "--word-regexp", "--name-only", account]);
  // The other files are made from it, by tools/dashboard.ts.
  assertEquals(stdout.trim().split("\n"), ["deno.json", "deploy/grafana/ollama.json", ...RUNBOOK_FILES]);
  for (const path of RUNBOOK_FILES) {
    const rules = Deno.readTextFileSync(`${ROOT}/${path}`);
    assertEquals(rules, withAlertsUrl(rules), path);
  }
});
