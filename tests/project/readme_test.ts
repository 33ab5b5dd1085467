/** The README says what the code does: its tables are the code's, and what it names is there. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { ENDPOINTS } from "../../lib/reading/endpoints.ts";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { declarations, endpointsTable, metricsTable, settingsTable, tables, withSections } from "../../tools/readme.ts";
import { REPOSITORY } from "../support/fixtures.ts";

const README = Deno.readTextFileSync(new URL("README.md", REPOSITORY));

/** Metrics that others have, and of which the README says that we do not. */
const MISSING = ["process_open_fds"];

/** The cells of a table's rows, without its head. */
function rowsOf(table: string): string[][] {
  const [, dashes = "", ...rows] = table.split("\n");
  assert(/^[| -]+$/.test(dashes), dashes);
  return rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("README.md has the tables that `deno task readme` writes", () => {
  // Otherwise: run it.
  assertEquals(README, withSections(README, tables()));
});

Deno.test("settingsTable() has a row for each setting, with all that is said of it", () => {
  const rows = rowsOf(settingsTable());
  const expected = Object.values(SETTINGS).map((setting) => [
    `\`${setting.variable}\``,
    `\`--${setting.flag}\``,
    setting.default === "" ? "none" : `\`${setting.default}\``,
    setting.help,
    setting.accepts,
  ]);
  assertEquals(rows, expected);
});

Deno.test("endpointsTable() has a row for each measured endpoint, with its label", () => {
  const rows = rowsOf(endpointsTable());
  assertEquals(rows.map(([endpoint]) => endpoint), ENDPOINTS.map(({ route }) => `\`POST ${route}\``));
  for (const [index, { api, operation, hasUsage }] of ENDPOINTS.entries()) {
    const [, label = "", counted = ""] = rows[index] ?? [];
    assertEquals(label, api === undefined ? `\`operation="${operation}"\`` : `\`api="${api}"\``);
    assertEquals(counted.startsWith("tokens"), hasUsage === true, label);
  }
});

Deno.test("metricsTable() has a row for each metric that is declared, and for nothing else", () => {
  const declared = declarations();
  const expected = declared.map((
    { name, type, help, labels },
  ) => [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(", ") || "none", help]);
  assertEquals(rowsOf(metricsTable()), expected);
  const golden = Deno.readTextFileSync(new URL("tests/golden/metrics.txt", REPOSITORY));
  assertEquals(
    declared.map(({ name, type }) => `${name} ${type}`),
    [...golden.matchAll(/^# TYPE (.*)$/gm)].map(([, declaration]) => declaration),
  );
});

Deno.test("README.md names only metrics, flags and tasks that there are", () => {
  const metrics = declarations().map(({ name }) => name);
  // Recorded series have names of their own, and the other exporter's metrics stand in the first column of a table.
  const [before = "", theirs = ""] = README.replace(RECORDED, "").split("### From NorskHelsenett/ollama-metrics");
  for (
    const [name] of (before + theirs.replace(/^\|[^|]*\|/gm, "|")).matchAll(/\b(?:ollama|process)_[a-z_]+[a-z]\b/g)
  ) {
    const family = name.replace(/_(bucket|sum|count)$/, "");
    const isMetric = metrics.some((metric) => metric === family || metric.startsWith(`${name}_`));
    assert(isMetric || MISSING.includes(name), name);
  }
  const flags = Object.values(SETTINGS).map(({ flag }) => flag);
  for (const [, flag = ""] of README.matchAll(/--((?:web|log|ollama|openai|metrics)\.[a-z.-]+)/g)) {
    assert(flags.includes(flag), flag);
  }
  for (const [, task = ""] of README.matchAll(/\bdeno(?:@[\d.]+)? task ([a-z:]+)/g)) {
    assert(task in denoJson.tasks, task);
  }
});

/** Names of recorded series. */
const RECORDED = /\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b/g;

Deno.test("README.md names only recorded series that the rules record", () => {
  const rules = Deno.readTextFileSync(new URL("deploy/prometheus/recording.rules.yml", REPOSITORY));
  const recorded = [...rules.matchAll(/record: (\S+)/g)].map(([, name]) => name);
  const named = README.match(RECORDED) ?? [];
  assert(named.length > 0);
  for (const name of named) assert(recorded.includes(name), name);
});

Deno.test("withSections() changes nothing but the sections", () => {
  const text = "before\n<!-- a:begin -->\nold\n<!-- a:end -->\nbetween\n<!-- b:begin -->\n<!-- b:end -->\nafter\n";
  const changed = withSections(text, { a: "| new |", b: "$& $1" });
  assertEquals(
    changed,
    "before\n<!-- a:begin -->\n\n| new |\n\n<!-- a:end -->\nbetween\n<!-- b:begin -->\n\n$& $1\n\n<!-- b:end -->\nafter\n",
  );
  assertEquals(withSections(changed, { a: "| new |", b: "$& $1" }), changed);
  assertEquals(withSections(text, {}), text);
});

Deno.test("withSections() refuses a text without a section, or with one twice", () => {
  const section = "<!-- a:begin -->\n<!-- a:end -->\n";
  for (const text of ["", "<!-- a:begin -->\n", "<!-- a:end -->\n<!-- a:begin -->\n", section + section]) {
    assertThrows(() => withSections(text, { a: "x" }), Error, 'one section "a"');
  }
});
