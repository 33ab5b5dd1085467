/** The program has the permissions that it needs, and no others: without any one of them it does not start. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { START_FLAGS } from "../../tools/start_flags.ts";
import { ROOT, run, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const PERMISSIONS = START_FLAGS.filter((flag) => flag.startsWith("--allow-"));
const LOG_CONFIG = "file: {path: program.log}\n";
/** The only variable that nothing but `--version` reads. */
const COMMIT = "OLLAMA_EXPORTER_COMMIT";
/** What is printed without a permission: an error of Deno, or of the exporter where a setting's file is affected. */
const REFUSALS = /Requires |NotCapable|Outside the permissions|expected a path in the working directory/;
/** How long a program may take to start, listen and stop. */
const START_SECONDS = 10;

/** The permissions without one of them, or without one environment variable, for each. */
function reduced(): [what: string, flags: string[]][] {
  return PERMISSIONS.flatMap((flag, index): [string, string[]][] => {
    const without = (changed: string[]): string[] => PERMISSIONS.toSpliced(index, 1, ...changed);
    const [name = "", list] = flag.split("=");
    if (name !== "--allow-env") return [[flag, without([])]];
    const variables = list?.split(",") ?? [];
    return variables.map((variable) => [
      variable,
      without([`${name}=${variables.filter((other) => other !== variable).join(",")}`]),
    ]);
  });
}

/** Everything that the program prints with these permissions until it listens or ends. */
async function outputOf(flags: readonly string[], args: readonly string[] = []): Promise<string> {
  using folder = new TemporaryFolder();
  folder.write("log_config.yaml", LOG_CONFIG);
  const program = ["run", "--no-prompt", "--quiet", `--config=${ROOT}/deno.json`, ...flags, `${ROOT}/main.ts`, ...args];
  const { stdout, stderr } = await run("sh", ["-c", BRIEFLY, Deno.execPath(), ...program], {
    cwd: folder.path,
    env: { ...Deno.env.toObject(), LISTEN_ADDRESS: "127.0.0.1:0", WEB_SERVER: "node", NO_COLOR: "1" },
  });
  return stdout + stderr;
}

/** Runs a program and terminates it as soon as it listens. */
const BRIEFLY = `{ timeout ${START_SECONDS} "$0" "$@" 2>&1 & echo pid $!; wait; } | while read -r line; do
  case "$line" in pid*) pid="\${line#pid }" ;; *) echo "$line" ;; esac
  case "$line" in *msg=Listening*) kill "$pid" ;; esac
done`;

testWith(
  ["timeout"],
  "The permissions are sufficient: the program listens, writes its log and prints its version",
  async () => {
    assertMatch(await outputOf(PERMISSIONS), /msg=Listening/);
    assertMatch(await outputOf(PERMISSIONS, ["--version"]), /^ollama-exporter /);
  },
);

testWith(
  ["timeout"],
  "The permissions are all needed: without any one of them the program does not start",
  async () => {
    const all = reduced();
    assert(all.length > 20, "environment variables are listed one by one");
    const unneeded: string[] = [];
    for (const [what, flags] of all) {
      const text = await outputOf(flags, what === COMMIT ? ["--version"] : []);
      if (!REFUSALS.test(text)) unneeded.push(`${what}: ${text}`);
    }
    assertEquals(unneeded, []);
  },
);

Deno.test("The permissions are network, files, environment and host name, with a list where Deno takes one", () => {
  const names = PERMISSIONS.map((flag) => flag.split("=")[0]);
  assertEquals(names.toSorted(), ["--allow-env", "--allow-net", "--allow-read", "--allow-sys", "--allow-write"]);
  for (const flag of ["--allow-env", "--allow-sys", "--allow-write"]) assert(!PERMISSIONS.includes(flag), flag);
  assert(START_FLAGS.includes("--no-prompt"));
});

Deno.test("The permissions include the environment variable of each setting", () => {
  const variables = PERMISSIONS.find((flag) => flag.startsWith("--allow-env="))?.split(/[=,]/) ?? [];
  for (const { variable } of Object.values(SETTINGS)) assert(variables.includes(variable), variable);
});

Deno.test("Service and image run the executable that the task compile builds", () => {
  const unit = Deno.readTextFileSync(`${ROOT}/deploy/systemd/ollama-exporter.service`);
  const dockerfile = Deno.readTextFileSync(`${ROOT}/Dockerfile`);
  assertMatch(unit, /^ExecStart=\/usr\/local\/bin\/ollama-exporter$/m);
  assertMatch(dockerfile, /deno task compile /);
  assertMatch(dockerfile, /^ENTRYPOINT \["\/usr\/local\/bin\/ollama-exporter"\]$/m);
  assert(!/--allow-|deno run/.test(unit + dockerfile), "they grant no permissions of their own");
});
