/** The image. The tests run its build stage in a clean folder, without Docker. */

import { assert, assertEquals, assertFalse, assertMatch, assertStringIncludes, fail } from "@std/assert";
import { parse } from "@std/yaml/parse";
import denoJson from "../../deno.json" with { type: "json" };
import { SETTINGS } from "../../lib/settings/settings.ts";
import { isCi, ROOT, run, toolchain } from "../support/deployment.ts";
import { testWithPinned } from "../support/pinned.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { ignoring, type Instruction, parseDockerfile, substitute } from "../support/dockerfile.ts";

const STAGES = parseDockerfile(Deno.readTextFileSync(`${ROOT}/Dockerfile`));
const IGNORED = ignoring(Deno.readTextFileSync(`${ROOT}/.dockerignore`));
const BUILD = STAGES[0] ?? fail("no build stage");
const FINAL = STAGES[1] ?? fail("no final stage");
const BUILD_MS = 300_000;

/** The values of `ARG` in a build for this machine. */
const ARGUMENTS: Record<string, string> = {
  REVISION: "1a2b3c4",
  TARGETARCH: { x86_64: "amd64", aarch64: "arm64" }[Deno.build.arch],
  VERSION: denoJson.version,
};

function finalText(name: string): string {
  return FINAL.instructions.find((instruction) => instruction.name === name)?.text ?? fail(`no ${name}`);
}

/** Returns the files that an instruction copies from the context, with their paths in the image. */
function copied(instruction: Instruction): [from: string, to: string][] {
  const words = instruction.text.split(/\s+/);
  const target = words.pop() ?? fail(`COPY ${instruction.text}`);
  return words.flatMap((source): [string, string][] => {
    const info = Deno.statSync(`${ROOT}/${source}`);
    if (info.isDirectory) return filesBelow(source).map((path) => [path, `${target}/${path.slice(source.length + 1)}`]);
    return [[source, target.endsWith("/") ? `${target}${source.split("/").at(-1)}` : target]];
  });
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(`${ROOT}/${folder}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${folder}/${name}`) : [`${folder}/${name}`]
  );
}

Deno.test("Dockerfile copies files that exist and that .dockerignore does not exclude", () => {
  const copies = BUILD.instructions.filter(({ name }) => name === "COPY").flatMap(copied);
  assert(copies.length > 10, "COPY has files");
  for (const [path] of copies) assertFalse(IGNORED(path), `.dockerignore excludes ${path}`);
  for (
    const path of [
      "README.md",
      "node_modules/x/y.js",
      ".git/HEAD",
      "tests/fixtures/a",
      "vendor/x",
      "tools/dashboard.ts",
    ]
  ) {
    assert(IGNORED(path), `.dockerignore includes ${path}`);
  }
});

Deno.test("Dockerfile builds an image that does not run as root, exposes the default port and has a health check", () => {
  assertMatch(finalText("USER"), /^[1-9]\d*:[1-9]\d*$/);
  assertStringIncludes(SETTINGS.listenAddress.default, `:${finalText("EXPOSE")}`);
  assertEquals(finalText("WORKDIR"), "/app");
  const { flags, text } = FINAL.instructions.find(({ name }) => name === "COPY") ?? fail("nothing is copied");
  assertEquals(flags["from"], BUILD.name);
  const [, executable] = text.split(" ");
  assertEquals(JSON.parse(finalText("ENTRYPOINT")), [executable]);
  assertEquals(JSON.parse(finalText("HEALTHCHECK").replace(/^CMD /, "")), [executable, "health"]);
  for (const label of ["title", "description", "licenses", "version", "revision", "source"]) {
    assertStringIncludes(finalText("LABEL"), `org.opencontainers.image.${label}=`);
  }
});

Deno.test("Dockerfile and compose.yaml check health with the same options", () => {
  const { flags, text } = FINAL.instructions.find(({ name }) => name === "HEALTHCHECK") ?? fail("no health check");
  const options = Object.entries(flags).map(([flag, value]) => [flag.replace("-", "_"), value]);
  const { services } = parse(Deno.readTextFileSync(`${ROOT}/deploy/compose/compose.yaml`)) as {
    services: { exporter: { healthcheck: unknown } };
  };
  assertEquals(services.exporter.healthcheck, {
    ...Object.fromEntries(options),
    retries: Number(flags["retries"]),
    test: ["CMD", ...JSON.parse(text.replace(/^CMD /, ""))],
  });
});

await testWithPinned("hadolint", "hadolint finds nothing in Dockerfile", async (hadolint) => {
  using folder = new TemporaryFolder();
  const dockerfile = Deno.readTextFileSync(`${ROOT}/Dockerfile`);
  const path = folder.write("Dockerfile", dockerfile);
  assertEquals(await run(hadolint, [path]), { code: 0, stdout: "", stderr: "" });
  folder.write("Dockerfile", dockerfile.replace(/(denoland\/deno):\S+/, "$1"));
  assertStringIncludes((await run(hadolint, [path])).stdout, "DL3006", "an image without a tag");
});

Deno.test("Dockerfile has the same version of Deno as workflows, .ci/run and README", () => {
  const [, version] = BUILD.image.split(":");
  for (const path of [".github/workflows/ci.yml", ".github/workflows/release.yml"]) {
    const text = Deno.readTextFileSync(`${ROOT}/${path}`);
    for (const [, found] of text.matchAll(/deno-version: (.*)/g)) assertEquals(found, version, path);
  }
  assertStringIncludes(Deno.readTextFileSync(`${ROOT}/.ci/run`), `deno@${version}`);
  assertStringIncludes(Deno.readTextFileSync(`${ROOT}/README.md`), `deno@${version}`);
});

/** Runs the commands of a Dockerfile in the environment that BuildKit gives them, and returns the calls of deno. */
async function callsOf(buildkit: string, dockerfile: string, platform: string): Promise<string> {
  using folder = new TemporaryFolder();
  Deno.chmodSync(folder.write("deno", '#!/bin/sh\necho "$@"\n'), 0o755);
  const { code, stdout, stderr } = await run(buildkit, [folder.write("Dockerfile", dockerfile), platform]);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  const calls = stdout.trim().split("\n").map(async (line) => {
    const command: { args: string[]; env: string[] } = JSON.parse(line);
    const env = Object.fromEntries(command.env.map((variable) => variable.split("=", 2)));
    const [program = "", ...args] = command.args;
    const ran = await run(program, args, { cwd: folder.path, env: { ...env, PATH: `${folder.path}:${env.PATH}` } });
    return ran.stdout + ran.stderr;
  });
  return (await Promise.all(calls)).join("");
}

await testWithPinned("buildkit", "Dockerfile compiles for the platform of the image", async (buildkit) => {
  const dockerfile = Deno.readTextFileSync(`${ROOT}/Dockerfile`);
  for (const [architecture, target] of [["amd64", "x86_64"], ["arm64", "aarch64"]]) {
    const calls = await callsOf(buildkit, dockerfile, `linux/${architecture}`);
    assertStringIncludes(calls, `task compile --target=${target}-unknown-linux-gnu --commit=unknown`);
  }
  assertEquals(
    await callsOf(buildkit, dockerfile, "linux/riscv64"),
    "No executable for riscv64: amd64 and arm64 are supported\n",
  );
  const preset = dockerfile.replace("ARG TARGETARCH\n", "ARG TARGETARCH=amd64\n");
  assertStringIncludes(await callsOf(buildkit, preset, "linux/arm64"), "--target=x86_64-", "a default wins");
});

const found = await toolchain();
const skipped = typeof found === "string" ? ` (skipped: ${found})` : "";
Deno.test({
  name: `Dockerfile builds the executable in a clean folder${skipped}`,
  ignore: skipped !== "" && !isCi(),
  fn: async () => {
    if (typeof found === "string") fail(found);
    const image = await Deno.makeTempDir({ prefix: "dockerfile_test_" });
    try {
      await buildByHand(image, found);
      const { flags, text } = FINAL.instructions.find(({ name }) => name === "COPY") ?? fail();
      assertEquals(flags["from"], "build");
      const executable = image + text.split(" ")[0];
      const version = await run(executable, ["--version"], { cwd: "/", env: {} });
      assertEquals(version.stderr, "");
      assertStringIncludes(version.stdout, `ollama-exporter ${denoJson.version} `);
      await assertFitsImage(executable);
    } finally {
      await Deno.remove(image, { recursive: true });
    }
  },
});

/** Runs the instructions of the build stage in a folder. */
async function buildByHand(image: string, { deno, env }: { deno: string; env: Record<string, string> }): Promise<void> {
  await Deno.mkdir(`${image}/bin`);
  await Deno.symlink(deno, `${image}/bin/deno`);
  const values: Record<string, string> = {};
  let folder = image;
  for (const instruction of BUILD.instructions) {
    const { name, text } = instruction;
    if (name === "WORKDIR") await Deno.mkdir(folder = image + text, { recursive: true });
    else if (name === "ARG") {
      const [argument = "", preset = ""] = text.split("=");
      values[argument] = ARGUMENTS[argument] ?? preset;
    } else if (name === "COPY") {
      for (const [from, to] of copied(instruction)) if (!IGNORED(from)) await copy(from, `${folder}/${to}`);
    } else if (name === "RUN") {
      const path = `${image}/bin:${Deno.env.get("PATH")}`;
      const variables = { ...Deno.env.toObject(), ...values, ...env, PATH: path, NO_COLOR: "1" };
      const { code, stderr } = await run("sh", ["-c", text], { cwd: folder, env: variables, timeoutMs: BUILD_MS });
      assertEquals(code, 0, `RUN ${substitute(text, values)}\n${stderr}`);
    } else fail(`The test cannot carry out ${name}`);
  }
}

async function copy(from: string, to: string): Promise<void> {
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(`${ROOT}/${from}`, to);
}

/** Libraries of the base image: glibc and libgcc. */
async function assertFitsImage(executable: string): Promise<void> {
  const { stdout } = await run("ldd", [executable]);
  const libraries = [...stdout.matchAll(/^\s+(?:\S*\/)?([\w.-]+?)\.so/gm)].map(([, name]) => name);
  const known = ["linux-vdso", "ld-linux-x86-64", "libc", "libdl", "libgcc_s", "libm", "libpthread", "librt"];
  assertEquals(libraries.filter((name) => !known.includes(name ?? "")), [], stdout);
}
