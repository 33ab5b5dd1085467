/** The completion scripts, in the shells themselves. */

import { assertEquals, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { completionScript } from "../../../lib/settings/completion.ts";
import { COMMANDS, INFO_FLAGS, SHELLS } from "../../../lib/settings/help.ts";
import { isBooleanFlag, SETTINGS } from "../../../lib/settings/settings.ts";
import { run, testWith } from "../../support/deployment.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";

const NAMES = Object.values(SETTINGS).map(({ flag }) => flag);
const INFO_NAMES = Object.keys(INFO_FLAGS);

Deno.test("completionScript() wants the name of one shell", () => {
  const expected = "completion: expected `bash`, `zsh` or `fish`, got";
  const cases: [args: string[], got: string][] = [
    [[], "nothing"],
    [["tcsh"], '"tcsh"'],
    [["bash", "zsh"], '"bash" "zsh"'],
    [["toString"], '"toString"'],
  ];
  for (const [args, got] of cases) {
    assertThrows(() => completionScript(args), UserError, `${expected} ${got}`);
  }
});

/** Words up to the one that is completed, as bash splits them, and what completes it. */
const BASH_CASES: [words: string[], replies: string[]][] = [
  [[""], [...Object.keys(COMMANDS), ...NAMES.map((flag) => `--${flag}=`), ...INFO_NAMES.map((flag) => `--${flag}`)]],
  [["--web.s"], ["--web.systemd-socket=", "--web.server=", "--web.shutdown-timeout="]],
  [["comp"], ["completion"]],
  [["completion", ""], [...SHELLS]],
  [["completion", "z"], ["zsh"]],
  [["completion", "zsh", ""], []],
  [["health", "--log.f"], ["--log.format="]],
  [["health", "comp"], []],
  [["--web.server", "="], ["auto", "deno", "node"]],
  [["--web.server", "=", "n"], ["node"]],
  [["--web.server", "n"], ["node"]],
  [["--ollama.host", "=", ""], []],
  [["--web.systemd-socket", "--log.l"], ["--log.level="]],
  [["--web.config.file", "=", "we"], ["web config.yml", "web.yml"]],
  [["--log.config", "we"], ["web config.yml", "web.yml"]],
];

/** Prints what completes the last of its arguments, a line each. */
const BASH_DRIVER = `source "$0"
COMP_WORDS=(ollama-exporter "$@") COMP_CWORD=$#
_ollama_exporter
printf '%s\\n' "\${COMPREPLY[@]}"`;

/** A folder with files, and with the script of a shell. */
function folderFor(shell: string, name: string): TemporaryFolder {
  const folder = new TemporaryFolder();
  for (const file of ["web.yml", "web config.yml"]) folder.write(file, "");
  folder.write(name, `${completionScript([shell])}\n`);
  return folder;
}

testWith(["bash"], "bash completes commands, flags, values of closed sets, and files", async () => {
  using folder = folderFor("bash", "completion.bash");
  const replies = [];
  for (const [words] of BASH_CASES) {
    const args = ["--norc", "--noprofile", "-c", BASH_DRIVER, "./completion.bash", ...words];
    const { code, stdout, stderr } = await run("bash", args, { cwd: folder.path });
    assertEquals([code, stderr], [0, ""]);
    replies.push([words, stdout.split("\n").filter((line) => line !== "").toSorted()]);
  }
  assertEquals(replies, BASH_CASES.map(([words, expected]) => [words, expected.toSorted()]));
});

testWith(["shellcheck"], "The script for bash is without what shellcheck finds", async () => {
  using folder = folderFor("bash", "completion.bash");
  const result = await run("shellcheck", ["--shell=bash", "completion.bash"], { cwd: folder.path });
  assertEquals(result, { code: 0, stdout: "", stderr: "" });
});

/** A line before and after the key Tab. */
const ZSH_CASES: [typed: string, completed: string][] = [
  ...NAMES.map((flag): [string, string] => [`--${flag.slice(0, -1)}`, `--${flag}=`]),
  ["heal", "health "],
  ["completion f", "completion fish "],
  ["health --log.f", "health --log.format="],
  ["--web.server=n", "--web.server=node "],
  ["--web.server n", "--web.server node "],
  ["--log.level=W", "--log.level=WARN "],
  ["--openai.stream-usage=f", "--openai.stream-usage=false "],
  ["--web.config.file=web.", "--web.config.file=web.yml "],
  ["--ollama.host=web.", "--ollama.host=web."],
  ["--vers", "--version "],
];

/** Types each argument into an interactive zsh, presses Tab, and writes the line to the file `lines`. */
const ZSH_DRIVER = `zmodload zsh/zpty
print -r -- 'PS1= fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u
write-line() { print -r -- "$BUFFER" >>lines; BUFFER= }
zle -N write-line; bindkey "^I" complete-word; bindkey "^T" write-line; : >lines' >setup
zpty shell zsh -f -i
zpty -w shell '. ./setup'
until [[ -e lines ]]; do sleep 0.05; done
for typed; do
  ((count += 1))
  zpty -w -n shell "ollama-exporter $typed"$'\\t\\x14'
  until (($(wc -l <lines) >= count)); do zpty -r -t shell output; sleep 0.02; done
done
cat lines`;

testWith(["zsh", "timeout"], "zsh completes commands, flags, values of closed sets, and files", async () => {
  using folder = folderFor("zsh", "_ollama-exporter");
  const typed = ZSH_CASES.map(([line]) => line);
  const args = ["60", "zsh", "-f", "-c", ZSH_DRIVER, "zsh", ...typed];
  const { code, stdout, stderr } = await run("timeout", args, { cwd: folder.path });
  assertEquals([code, stderr], [0, ""]);
  const lines = stdout.split("\n").slice(0, -1);
  assertEquals(
    lines.map((line, index) => [typed[index], line]),
    ZSH_CASES.map(([line, completed]) => [line, `ollama-exporter ${completed}`]),
  );
});

/** Flags as fish offers them: a value after a flag takes a space, an optional one an equals sign. */
const FISH_FLAGS = NAMES.flatMap((flag) => isBooleanFlag(flag) ? [flag, `${flag}=`] : [flag]);

/** What is typed before the key Tab, and what fish offers. */
const FISH_CASES: [typed: string, replies: string[]][] = [
  ["", Object.keys(COMMANDS)],
  ["--web.s", ["--web.systemd-socket", "--web.systemd-socket=", "--web.server", "--web.shutdown-timeout"]],
  ["--", [...FISH_FLAGS, ...INFO_NAMES].map((flag) => `--${flag}`)],
  ["completion ", [...SHELLS]],
  ["completion --", []],
  ["health --log.f", ["--log.format"]],
  ["--web.server=", ["--web.server=auto", "--web.server=deno", "--web.server=node"]],
  ["--web.server n", ["node"]],
  ["--web.systemd-socket=t", ["--web.systemd-socket=true"]],
  ["--web.config.file web.", ["web.yml"]],
  ["--ollama.host web.", []],
];

testWith(["fish"], "fish completes commands, flags, values of closed sets, and files", async () => {
  using folder = folderFor("fish", "ollama-exporter.fish");
  const driver = `source ollama-exporter.fish; for line in $argv; complete -C "ollama-exporter $line"; echo .; end`;
  const args = ["--no-config", "-c", driver, ...FISH_CASES.map(([typed]) => typed)];
  const { code, stdout, stderr } = await run("fish", args, { cwd: folder.path });
  assertEquals([code, stderr], [0, ""]);
  const replies = stdout.split(/^\.\n/m).slice(0, -1).map((text) => text.match(/^[^\t\n]+/gm)?.toSorted() ?? []);
  assertEquals(replies, FISH_CASES.map(([, expected]) => expected.toSorted()));
});
