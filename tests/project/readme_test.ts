/** README.md and docs/ match the code: tables are generated, and metrics, flags, settings and tasks exist. */

import { assert, assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { SETTINGS } from "../../lib/settings/settings.ts";
import { ALL_LIMITS } from "../../tools/limits.ts";
import { declarations, metricsTable, tables, withSections } from "../../tools/readme.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { PAGES } from "../support/pages.ts";

/** Longest README that is read to its end, in lines. */
const MAX_README_LINES = 170;

/** What pages name as missing, or as another program's. */
const FOREIGN_METRICS = ["process_open_fds"];

/** Returns the cells of a table, by row, without its head. */
function rowsOf(table: string): string[][] {
  const [, dashes = "", ...rows] = table.split("\n");
  assert(/^[| -]+$/.test(dashes), dashes);
  return rows.map((row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("README.md is short", () => {
  assertLess(PAGES.get("README.md")?.split("\n").length ?? Infinity, MAX_README_LINES);
});

Deno.test("Pages have the current tables: `deno task readme` updates them", async () => {
  for (const [page, sections] of Object.entries(await tables())) {
    const text = PAGES.get(page) ?? "";
    assertEquals(text, withSections(text, sections), page);
  }
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

/** Names of recorded series. */
const RECORDED = /\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b/g;

/** Pages that users read. Others describe Ollama's API, or what the program was. */
const USER_PAGES = new Map([...PAGES].filter(([page]) => !/^(CHANGELOG\.md|docs\/ollama-api\.md|tests\/)/.test(page)));

Deno.test("Pages name only metrics that exist", () => {
  const metrics = declarations().map(({ name }) => name);
  for (const [page, text] of USER_PAGES) {
    // Recorded series have other names, and a table has another exporter's metrics in its first column.
    const [before = "", theirs = ""] = text.replace(RECORDED, "").split("## From NorskHelsenett/ollama-metrics");
    const ours = before + theirs.replace(/^\|[^|]*\|/gm, "|");
    for (const [name] of ours.matchAll(/\b(?:ollama|process)_[a-z_]+[a-z]\b(?![.-])/g)) {
      const family = name.replace(/_(bucket|sum|count)$/, "");
      const isMetric = metrics.some((metric) => metric === family || metric.startsWith(`${name}_`));
      assert(isMetric || FOREIGN_METRICS.includes(name), `${page}: ${name}`);
    }
  }
});

/** Environment variables that begin as the exporter's settings do, but are Ollama's. */
const FOREIGN_VARIABLES = /^OLLAMA_(NUM_PARALLEL|MAX_(LOADED_MODELS|QUEUE)|CONTEXT_LENGTH|KV_CACHE_TYPE|ORIGINS)$/;

Deno.test("Pages name only settings, flags and tasks that exist", () => {
  const settings = Object.values(SETTINGS);
  const variables = settings.map(({ variable }) => variable as string);
  const flags = settings.map(({ flag }) => flag as string);
  const prefixes = [...new Set(variables.map((variable) => variable.split("_", 1)[0]))].join("|");
  const constants = ALL_LIMITS.map(({ name }) => name);
  for (const [page, text] of USER_PAGES) {
    for (const [variable] of text.matchAll(new RegExp(`(?<=[\`\\s])(?:${prefixes})(?:_[A-Z]+)+(?=[\`=])`, "g"))) {
      const isKnown = variables.includes(variable) || constants.includes(variable) || FOREIGN_VARIABLES.test(variable);
      assert(isKnown, `${page}: ${variable}`);
    }
    for (const [, flag = ""] of text.matchAll(/--((?:web|log|ollama|openai|metrics|slo)\.[a-z.-]+)/g)) {
      assert(flags.includes(flag), `${page}: ${flag}`);
    }
    for (const [, task = ""] of text.matchAll(/\bdeno(?:@[\d.]+)? task ([a-z:]+)/g)) {
      assert(task in denoJson.tasks, `${page}: ${task}`);
    }
  }
});

Deno.test("Pages name only series that the recording rules have", () => {
  const rules = ["recording", "energy"]
    .map((name) => Deno.readTextFileSync(new URL(`deploy/prometheus/${name}.rules.yml`, REPOSITORY))).join("");
  const recorded = [...rules.matchAll(/record: (\S+)/g)].map(([, name]) => name);
  const named = [...USER_PAGES].flatMap(([page, text]) => (text.match(RECORDED) ?? []).map((name) => ({ page, name })));
  assertGreater(named.length, 0);
  for (const { page, name } of named) assert(recorded.includes(name), `${page}: ${name}`);
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
