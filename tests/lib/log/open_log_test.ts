import { assertEquals, assertThrows } from "@std/assert";
import { Problems, UserError } from "../../../lib/errors.ts";
import { openLog } from "../../../lib/log/open_log.ts";
import { parseCommand } from "../../../lib/settings/command.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";

/** Whether the log has DEBUG lines, its format, and the problems. */
interface Opened {
  readonly isDebug: boolean;
  readonly format: string;
  readonly problems: readonly string[];
}

/** Opens the log with a file of this text, and with these arguments. */
async function opened(text: string, args: readonly string[] = []): Promise<Opened> {
  using folder = new TemporaryFolder();
  return await openedWith([`--log.config=${folder.write("log.yaml", text)}`, ...args], folder.path);
}

/** @param folder Is left out of the problems. */
async function openedWith(args: readonly string[], folder: string): Promise<Opened> {
  const command = parseCommand(args, () => undefined, "");
  if (command.name !== "serve") throw new Error("not reached");
  const problems = new Problems([]);
  const { log, format } = await openLog(command, problems);
  return { isDebug: log.isDebug, format, problems: linesOf(problems).map((line) => line.replaceAll(folder, "")) };
}

function linesOf(problems: Problems): string[] {
  try {
    problems.end();
    return [];
  } catch (error) {
    return error instanceof UserError ? error.message.split("\n") : [];
  }
}

Deno.test("openLog() takes level and format from settings that were set, then from the file, then by default", async () => {
  const none = { isDebug: false, format: "text", problems: [] };
  assertEquals(await opened(""), none);
  assertEquals(await opened("level: DEBUG\nformat: json\n"), { isDebug: true, format: "json", problems: [] });
  assertEquals(await opened("level: DEBUG\nformat: json\n", ["--log.level=INFO", "--log.format=text"]), none);
});

Deno.test("openLog() reports what is wrong with the file by the name of the setting, and logs nevertheless", async () => {
  const broken = await opened("level: LOUD\nformat: xml\n", ["--log.format=json"]);
  assertEquals([broken.isDebug, broken.format], [false, "json"]);
  assertEquals(broken.problems.map((line) => line.slice(0, 40)), [
    "--log.config: /log.yaml: level: expected",
    "--log.config: /log.yaml: format: expecte",
  ]);
  assertEquals(await opened("format: json\nfile: { path: none/a.log }\n"), {
    isDebug: false,
    format: "json",
    problems: ["--log.config: Cannot open log file /none/a.log: No such file or directory"],
  });
  using folder = new TemporaryFolder();
  const problemsWith = async (path: string): Promise<readonly string[]> =>
    (await openedWith([`--log.config=${path}`], folder.path)).problems;
  assertEquals(await problemsWith(`${folder.path}/no.yaml`), ["--log.config: /no.yaml: No such file or directory"]);
  assertEquals(await problemsWith(folder.path), ["--log.config: : Is a directory"]);
});

Deno.test("openLog() does without the default file if there is none", async () => {
  assertEquals(await openedWith([], "-"), { isDebug: false, format: "text", problems: [] });
  assertThrows(() => Deno.statSync("log_config.yaml"), Deno.errors.NotFound);
});
