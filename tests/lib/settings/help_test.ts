import { assert, assertStringIncludes } from "@std/assert";
import { COMMANDS, helpText, INFO_FLAGS, SHELLS } from "../../../lib/settings/help.ts";
import { parseCommand } from "../../../lib/settings/command.ts";
import { SETTINGS } from "../../../lib/settings/settings.ts";

Deno.test("helpText() has the flag, variable, default, description and accepted values of every setting", () => {
  const help = helpText();
  for (const { flag, variable, default: text, help: purpose, accepts } of Object.values(SETTINGS)) {
    assertStringIncludes(help, `--${flag}=${JSON.stringify(text)}  (${variable})`);
    assertStringIncludes(help, `${purpose} Accepts ${accepts}.`);
  }
  for (const line of help.split("\n")) assert(line.length <= 160, line);
});

Deno.test("helpText() has every command and flag that is no setting, and the program knows them", () => {
  const help = helpText();
  const nameOf = (arg: string): string => parseCommand([arg], () => undefined, "").name;
  for (const [name, { args, help: purpose }] of Object.entries(COMMANDS)) {
    assertStringIncludes(help, `ollama-exporter ${name} ${args}`);
    assertStringIncludes(help, purpose);
    assert(nameOf(name) === name);
  }
  for (const [flag, purpose] of Object.entries(INFO_FLAGS)) {
    assertStringIncludes(help, `  --${flag}  ${purpose}`);
    assert(nameOf(`--${flag}`) === flag);
  }
  assertStringIncludes(help, `completion ${SHELLS.join("|")} `);
});
