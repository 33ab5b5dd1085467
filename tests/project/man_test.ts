/** The man page: what mandoc finds in it, and what it prints. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { COMMANDS, INFO_FLAGS } from "../../lib/settings/help.ts";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { manPage } from "../../tools/man.ts";
import { run, testWith } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const PAGE = manPage("2026-01-02");

testWith(["mandoc"], "manPage() is without what mandoc warns of", async () => {
  using folder = new TemporaryFolder();
  const lint = (page: string): Promise<{ code: number; stdout: string }> =>
    run("mandoc", ["-T", "lint", "-W", "warning", folder.write("page.1", page)]);
  const { code, stdout } = await lint(PAGE);
  assertEquals([code, stdout], [0, ""]);
  assertStringIncludes((await lint(PAGE.replace(".SH OPTIONS", ".SH"))).stdout, "WARNING");
});

testWith(["mandoc"], "manPage() has every setting, command and flag, as they are typed", async () => {
  using folder = new TemporaryFolder();
  const page = folder.write("page.1", PAGE);
  const { stdout } = await run("mandoc", ["-T", "utf8", "-O", "width=1000", page]);
  // Bold and underlined letters are overstruck.
  const text = stdout.replace(/.[\b]/g, "");
  for (const { flag, variable, default: value, help, accepts } of Object.values(SETTINGS)) {
    assertStringIncludes(text, `--${flag}=value, ${variable}\n`);
    const description = text.slice(text.indexOf(`--${flag}=value`)).replace(/\s+/g, " ");
    assertStringIncludes(description, `${plain(help)} Accepts ${plain(accepts)}. Default: ${value || "none"}.`);
  }
  for (const [name, { args, help }] of Object.entries(COMMANDS)) {
    assertStringIncludes(text, `ollama-exporter ${name} ${args}\n`);
    assertStringIncludes(text, help);
  }
  for (const flag of Object.keys(INFO_FLAGS)) assertStringIncludes(text, `--${flag}`);
  assertStringIncludes(text, "2026-01-02");
  assert(!/^\s*\.|\\f/m.test(text), "no macros are left");
});

Deno.test("manPage() has dashes that can be copied: groff prints others as hyphens", () => {
  const [, ...lines] = PAGE.split("\n");
  assertEquals(lines.filter((line) => /(?<!\\)-/.test(line)), []);
});

/** A text without Markdown. */
function plain(text: string): string {
  return text.replaceAll("`", "");
}
