/** The README matches the code: its tables are generated, and the metrics, flags and tasks that it names exist. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { SETTINGS } from "../../lib/settings/settings.ts";
import { declarations, metricsTable, tables, withSections } from "../../tools/readme.ts";
import { REPOSITORY } from "../support/fixtures.ts";

const README = Deno.readTextFileSync(new URL("README.md", REPOSITORY));

/** Metrics that the README names as missing. */
const MISSING = ["process_open_fds"];

/** Returns the cells of a table, by row, without its head. */
function rowsOf(table: string): string[][] {
  const [, dashes = "", ...rows] = table.split("\n");
  assert(/^[| -]+$/.test(dashes), dashes);
  return rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("README.md has the current tables: `deno task readme` updates them", async () => {
  assertEquals(README, withSections(README, await tables()));
});

Deno.test("metricsTable() has a row for each declared metric", () => {
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

Deno.test("README.md names only metrics, flags and tasks that exist", () => {
  const metrics = declarations().map(({ name }) => name);
  // Recorded series have other names, and a table has another exporter's metrics in its first column.
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

Deno.test("README.md names only series that the recording rules have", () => {
  const rules = ["recording", "energy"]
    .map((name) => Deno.readTextFileSync(new URL(`deploy/prometheus/${name}.rules.yml`, REPOSITORY))).join("");
  const recorded = [...rules.matchAll(/record: (\S+)/g)].map(([, name]) => name);
  const named = README.match(RECORDED) ?? [];
  assert(named.length > 0);
  for (const name of named) assert(recorded.includes(name), name);
});

Deno.test("withSections() replaces the sections only", () => {
  const text = "before\n<!-- a:begin -->\nold\n<!-- a:end -->\nbetween\n<!-- b:begin -->\n<!-- b:end -->\nafter\n";
  const changed = withSections(text, { a: "| new |", b: "$& $1" });
  assertEquals(
    changed,
    "before\n<!-- a:begin -->\n\n| new |\n\n<!-- a:end -->\nbetween\n<!-- b:begin -->\n\n$& $1\n\n<!-- b:end -->\nafter\n",
  );
  assertEquals(withSections(changed, { a: "| new |", b: "$& $1" }), changed);
  assertEquals(withSections(text, {}), text);
});

Deno.test("withSections() rejects a text that lacks a section or repeats one", () => {
  const section = "<!-- a:begin -->\n<!-- a:end -->\n";
  for (const text of ["", "<!-- a:begin -->\n", "<!-- a:end -->\n<!-- a:begin -->\n", section + section]) {
    assertThrows(() => withSections(text, { a: "x" }), Error, 'one section "a"');
  }
});
