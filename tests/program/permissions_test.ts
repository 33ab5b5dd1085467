/** The program has the least permissions: with any one of them less it does not start. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { ROOT, run, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** What the program is run with. */
const FLAGS = denoJson.tasks.start.command.match(/--allow-\S+/g) ?? [];
const LOG_CONFIG = "file: {path: program.log}\n";
/** The one variable that is read for `--version` only. */
const COMMIT = "OLLAMA_EXPORTER_COMMIT";
/** How long a program may take that starts, listens and hears that it is to end. */
const START_SECONDS = 10;

/** The permissions without each of them, and without each variable. */
function reduced(): [what: string, flags: string[]][] {
  return FLAGS.flatMap((flag, index): [string, string[]][] => {
    const without = (changed: string[]): string[] => FLAGS.toSpliced(index, 1, ...changed);
    const [name = "", list] = flag.split("=");
    if (name !== "--allow-env") return [[flag, without([])]];
    const variables = list?.split(",") ?? [];
    return variables.map((variable) => [
      variable,
      without([`${name}=${variables.filter((other) => other !== variable).join(",")}`]),
    ]);
  });
}

/** What the program says on standard error, or its version, with these permissions. */
async function said(flags: readonly string[], args: readonly string[] = []): Promise<string> {
  using folder = new TemporaryFolder();
  folder.write("log_config.yaml", LOG_CONFIG);
  const program = ["run", "--no-prompt", "--quiet", `--config=${ROOT}/deno.json`, ...flags, `${ROOT}/main.ts`, ...args];
  const { stdout, stderr } = await run("sh", ["-c", BRIEFLY, Deno.execPath(), ...program], {
    cwd: folder.path,
    env: { ...Deno.env.toObject(), LISTEN_ADDRESS: "127.0.0.1:0", WEB_SERVER: "node", NO_COLOR: "1" },
  });
  return stdout + stderr;
}

/** Runs a program and ends it as soon as it listens. */
const BRIEFLY = `{ timeout ${START_SECONDS} "$0" "$@" 2>&1 & echo pid $!; wait; } | while read -r line; do
  case "$line" in pid*) pid="\${line#pid }" ;; *) echo "$line" ;; esac
  case "$line" in *msg=Listening*) kill "$pid" ;; esac
done`;

testWith(
  ["timeout"],
  "deno.json's permissions are enough: the program listens, writes its log and tells its version",
  async () => {
    assertMatch(await said(FLAGS), /msg=Listening/);
    assertMatch(await said(FLAGS, ["--version"]), /^ollama-exporter /);
  },
);

testWith(
  ["timeout"],
  "deno.json's permissions are all needed: without any of them the program does not start",
  async () => {
    const all = reduced();
    assert(all.length > 20, "there are lists");
    const left: string[] = [];
    for (const [what, flags] of all) {
      const text = await said(flags, what === COMMIT ? ["--version"] : []);
      if (!text.includes("Requires ") && !text.includes("NotCapable")) left.push(`${what}: ${text}`);
    }
    assertEquals(left, []);
  },
);

Deno.test("service and image run the executable that the task compile makes", () => {
  const unit = Deno.readTextFileSync(`${ROOT}/deploy/systemd/ollama-exporter.service`);
  const dockerfile = Deno.readTextFileSync(`${ROOT}/Dockerfile`);
  assertMatch(unit, /^ExecStart=\/usr\/local\/bin\/ollama-exporter$/m);
  assertMatch(dockerfile, /deno task compile /);
  assertMatch(dockerfile, /^ENTRYPOINT \["\/usr\/local\/bin\/ollama-exporter"\]$/m);
  assert(!/--allow-|deno run/.test(unit + dockerfile), "they give no permissions of their own");
});
