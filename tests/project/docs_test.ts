/** Pages in Markdown: links lead somewhere, and blocks of code are what their languages allow. */

import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { parse } from "@std/yaml/parse";
import { REPOSITORY } from "../support/fixtures.ts";
import { run, testWith } from "../support/deployment.ts";
import { anchorsOf, codeBlocks, linksOf, PAGES } from "../support/pages.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Pages of GitHub that are beside the repository's files. */
const GITHUB = ["../../releases"];

/** Returns a line for each link that leads to no file or no heading. */
function brokenLinks(pages: ReadonlyMap<string, string>): string[] {
  return [...pages].flatMap(([page, text]) =>
    linksOf(text).filter((link) => !/^https?:/.test(link) && !GITHUB.includes(link)).flatMap((link) => {
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? page : new URL(path, `file:///${page}`).pathname.slice(1);
      if (!pages.has(file) && !exists(file)) return [`${page}: no file ${link}`];
      const target = pages.get(file);
      return anchor === undefined || target !== undefined && anchorsOf(target).has(anchor)
        ? []
        : [`${page}: no heading ${link}`];
    })
  );
}

function exists(path: string): boolean {
  try {
    Deno.statSync(new URL(path, REPOSITORY));
    return true;
  } catch {
    return false;
  }
}

Deno.test("Links of the pages lead to files and headings", () => {
  const links = [...PAGES.values()].flatMap(linksOf);
  assertGreater(links.filter((link) => link.includes("#")).length, 10);
  assertEquals(brokenLinks(PAGES), []);
});

Deno.test("brokenLinks() finds missing files and headings", () => {
  const readme = "# A\n\n## It's `b_c`, here\n\n[1](#its-b_c-here) [2](docs/faq.md) [3](https://example.com)\n";
  assertEquals(brokenLinks(new Map([["README.md", readme]])), []);
  const page = "[1](../README.md#a) [2](../README.md#b) [3](none.md) ![4](none.png) [5](#c)\n\n```\n## c\n```\n";
  assertEquals(brokenLinks(new Map([["README.md", readme], ["docs/x.md", page]])), [
    "docs/x.md: no heading ../README.md#b",
    "docs/x.md: no file none.md",
    "docs/x.md: no file none.png",
    "docs/x.md: no heading #c",
  ]);
});

Deno.test("Each page of docs/ is linked by README.md", () => {
  const linked = linksOf(PAGES.get("README.md") ?? "").map((link) => link.split("#", 1)[0]);
  for (const page of PAGES.keys()) {
    if (page.startsWith("docs/")) assert(linked.includes(page), page);
  }
});

const BLOCKS = [...PAGES].flatMap(([page, text]) => codeBlocks(page, text));

/** Commands of a shell: blocks that are indented, but for pictures and lists of files. */
const COMMANDS = BLOCKS.filter(({ where, language, text }) =>
  language === "" && /^(npx|docker|cd|sudo|kubectl|brew|sha256sum|curl|\.\/|[A-Z_]+=\S+ )/.test(text) &&
  !where.startsWith("docs/ollama-api.md")
);

testWith(["bash"], "Commands of the pages have the syntax of a shell, and name files that exist", async () => {
  assertGreater(COMMANDS.length, 15);
  for (const { where, text } of COMMANDS) {
    const { code, stderr } = await run("bash", ["-n", "-c", text]);
    assertEquals(code, 0, `${where}: ${stderr}`);
    for (const [path] of text.matchAll(/(?<=\s)(?:deploy|tools|tests|bench)\/[\w./-]+/g)) {
      assert(exists(path), `${where}: ${path}`);
    }
  }
});

testWith(["promtool"], "YAML of the pages is valid, and configurations of Prometheus are accepted", async () => {
  using folder = new TemporaryFolder();
  const yaml = BLOCKS.filter(({ language }) => language === "yaml");
  assertGreater(yaml.length, 5);
  for (const { where, text } of yaml) {
    const keys = Object.keys(parse(text) as Record<string, unknown>);
    if (!keys.includes("scrape_configs") && !keys.includes("rule_files")) continue;
    const file = folder.write("prometheus.yml", text);
    const { code, stdout, stderr } = await run("promtool", ["check", "config", "--syntax-only", file]);
    assertEquals(code, 0, `${where}: ${stdout}${stderr}`);
  }
});

Deno.test("The trip of a request in docs/architecture.md is through files and functions that exist", () => {
  const rows = (PAGES.get("docs/architecture.md") ?? "").matchAll(/^\| \d+ +\| `([\w/.]+)` +\| (.*?) \|/gm);
  const hops = [...rows].flatMap(([, file = "", names = ""]) =>
    [...names.matchAll(/(\w+)\(\)|`(\w+)`/g)].map(([, called, value]) => ({ file, name: called ?? value ?? "" }))
  );
  assertGreater(hops.length, 10);
  for (const { file, name } of hops) {
    const path = exists(`lib/${file}`) ? `lib/${file}` : file;
    assertMatch(Deno.readTextFileSync(new URL(path, REPOSITORY)), new RegExp(`\\b${name}\\b`), `${file}: ${name}`);
  }
});
