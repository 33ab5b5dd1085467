/** The script of CI, with programs that only say how they are called; and the programs that it installs early. */

import { assertEquals } from "@std/assert";
import { PACKAGES, type Ran, ROOT, run, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

testWith(["shellcheck"], ".ci/run is without what shellcheck finds", async () => {
  assertEquals(await run("shellcheck", [".ci/run"]), { code: 0, stdout: "", stderr: "" });
});

/** Packages of every Debian, and those of Node. */
const PRESENT = ["bash", "bsdutils", "coreutils", "dash", "dpkg", "nodejs", "npm", "tar"];

Deno.test(".ci/run installs the package of every program that tests need", () => {
  const [, table = ""] = /^declare -A packages=\(\n(.*?)\n\)/ms.exec(Deno.readTextFileSync(`${ROOT}/.ci/run`)) ?? [];
  const installed = [...table.matchAll(/^ {2}\[\S+\]=(\S+)$/gm)].map(([, name]) => name);
  const needed = Object.values(PACKAGES).filter((name) => !PRESENT.includes(name) && !installed.includes(name));
  assertEquals(needed, []);
});

const SUMMARY = "ok | 12 passed (3 steps) | 0 failed (1s)";

/**
 * Runs the script in a repository of another user, where no program is missing.
 *
 * @param npx Commands of a shell in place of npx; its arguments begin with `-y deno@VERSION`.
 */
async function runCi(npx: string): Promise<Ran> {
  using folder = new TemporaryFolder();
  Deno.mkdirSync(`${folder.path}/bin`);
  const script = Deno.readTextFileSync(`${ROOT}/.ci/run`);
  const needed = [...script.matchAll(/^ {2}\[([\w-]+)\]=/gm)].map(([, name]) => name)
    .filter((name) => name !== "git");
  for (const name of ["npx", "python3", ...needed]) {
    Deno.chmodSync(folder.write(`bin/${name}`, `#!/bin/bash\n${name === "npx" ? npx : "exit 0"}\n`), 0o755);
  }
  const repository = `${folder.path}/repository`;
  Deno.mkdirSync(`${repository}/.ci`, { recursive: true });
  Deno.writeTextFileSync(`${repository}/.ci/run`, script);
  assertEquals((await run("git", ["init", "--quiet", repository])).code, 0);
  const path = `${folder.path}/bin:${Deno.env.get("PATH")}`;
  // Git's own tests have this variable.
  const env = { PATH: path, HOME: folder.path, GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" };
  return await run("bash", [`${repository}/.ci/run`], { env, cwd: folder.path });
}

testWith(["bash", "git"], ".ci/run ends with the tests' result, and lets them use git", async () => {
  const npx = `case "$*" in *" task test") git status --short && echo "${SUMMARY}" ;; esac`;
  const { code, stdout, stderr } = await runCi(npx);
  assertEquals(stderr, "");
  assertEquals([code, stdout.trim().split("\n").at(-1)], [0, "12 passed, 0 failed"]);
});

testWith(["bash", "git"], ".ci/run fails if a check fails, a test is skipped, or none has run", async () => {
  const cases: [npx: string, line: string][] = [
    [`case "$*" in *lint) exit 1 ;; *" task test") echo "${SUMMARY}" ;; esac`, "12 passed, 0 failed"],
    [
      `case "$*" in *" task test") echo "ok | 12 passed | 0 failed | 1 ignored (1s)" ;; esac`,
      "12 passed, 0 failed, 1 skipped",
    ],
    [`case "$*" in *" task test") echo "FAILED | 12 passed | 2 failed (1s)"; exit 1 ;; esac`, "12 passed, 2 failed"],
    ["exit 0", "0 passed, 0 failed"],
  ];
  for (const [npx, line] of cases) {
    const { code, stdout } = await runCi(npx);
    assertEquals([code, stdout.trim().split("\n").at(-1)], [1, line], npx);
  }
});

testWith(["bash"], "Processes install a program one after the other", async () => {
  using folder = new TemporaryFolder();
  const log = `${folder.path}/log`;
  // Gives the other process two seconds to begin as well.
  const go = `echo begin >>${log}
for _ in {1..20}; do [ "$(grep -c begin ${log})" -gt 1 ] && break; sleep 0.1; done
echo end >>${log}`;
  Deno.chmodSync(folder.write("go", `#!/bin/bash\n${go}\n`), 0o755);
  const env = { ...Deno.env.toObject(), PATH: `${folder.path}:${Deno.env.get("PATH")}` };
  const script = `import { program } from "${ROOT}/tools/programs.ts"; await program("actionlint");`;
  const both = [1, 2].map(() => run(Deno.execPath(), ["eval", "--no-lock", script], { env }));
  for (const { code, stderr } of await Promise.all(both)) assertEquals(code, 0, stderr);
  assertEquals(Deno.readTextFileSync(log).trim().split("\n"), ["begin", "end", "begin", "end"]);
});
