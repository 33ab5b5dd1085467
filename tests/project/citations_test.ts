/** Comments cite sections of docs/ollama-api.md by number; each number cited is a heading of that page. */

import { assertEquals } from "@std/assert";
import { REPOSITORY } from "../support/fixtures.ts";

const PAGE = "docs/ollama-api.md";
const FOLDERS = ["lib/", "tests/", "tools/", "bench/", "deploy/", "docs/"];
const EXTENSIONS = /\.(ts|js|css|html|md|ya?ml|sh)$/;

const NUMBER = String.raw`\d+(?:\.\d+)?`;
const LIST = String.raw`${NUMBER}(?:(?:, | to | and )${NUMBER})*`;

/** "docs/ollama-api.md 2.3", "docs/ollama-api.md 3.1 to 3.4". */
const CITATION = new RegExp(String.raw`\bdocs/ollama-api\.md (${LIST})`, "g");

/** "(2.3)" and "(6, 8.4)" in the comments of the fake Ollama, whose module comment says what they refer to. */
const BRACKETS = new RegExp(String.raw`\((${LIST})\)`, "g");

/** A section without its page ("section 2.3"), or the page without its folder. */
const UNCLEAR = /(?<!RFC \d{4},? )\bsections? \d+(?:\.\d+)?(?! of docs\/)|(?<!docs\/)\bollama-api\.md/gi;

interface TextFile {
  /** Path from the repository's root, with slashes. */
  path: string;
  text: string;
}

/** Reads the text files of a folder, subfolders included; of the root only its own files. */
function readTextFiles(folder: string): TextFile[] {
  return [...Deno.readDirSync(new URL(folder, REPOSITORY))].flatMap(({ name, isFile, isDirectory }) => {
    const path = folder + name;
    if (isDirectory && folder !== "" && name !== "node_modules") return readTextFiles(`${path}/`);
    return isFile && EXTENSIONS.test(name) ? [{ path, text: Deno.readTextFileSync(new URL(path, REPOSITORY)) }] : [];
  });
}

/** Returns the comments of a source file, each on one line; of other files the whole text. */
function proseOf({ path, text }: TextFile): string {
  if (!path.endsWith(".ts")) return text.replaceAll(/\s+/g, " ");
  const comments = text.match(/\/\*\*?[^]*?\*\/|^\s*\/\/.*(?:\n\s*\/\/.*)*/gm) ?? [];
  return comments.map((comment) => comment.replaceAll(/\s*\n\s*(?:\*(?!\/)|\/\/) ?/g, " ")).join("\n");
}

/** Returns a line for each citation of a section that the page does not have, and for each unclear one. */
function findBadCitations(files: readonly TextFile[], sections: ReadonlySet<string>): string[] {
  return files.filter(({ path }) => path !== PAGE).flatMap((file) => {
    const prose = proseOf(file);
    const lists = [...prose.matchAll(CITATION)];
    if (file.path.startsWith("tests/fake_ollama/")) lists.push(...prose.matchAll(BRACKETS));
    const cited = lists.flatMap(([, list = ""]) => list.match(new RegExp(NUMBER, "g")) ?? []);
    return [
      ...cited.filter((section) => !sections.has(section)).map((section) => `${file.path}: no section ${section}`),
      ...[...prose.matchAll(UNCLEAR)].map(([text]) => `${file.path}: "${text}" does not name ${PAGE}`),
    ];
  });
}

/** Returns the numbers of a page's headings: "2", "2.3". */
function sectionsOf(page: string): Set<string> {
  return new Set([...page.matchAll(/^#{2,3} (\d+(?:\.\d+)?)\.? /gm)].map(([, number = ""]) => number));
}

Deno.test("docs/ollama-api.md has each section that the repository cites", () => {
  const page = Deno.readTextFileSync(new URL(PAGE, REPOSITORY));
  // This file has examples of bad citations.
  const files = ["", ...FOLDERS].flatMap(readTextFiles).filter(({ path }) =>
    path !== "tests/project/citations_test.ts"
  );
  assertEquals(findBadCitations(files, sectionsOf(page)), []);
});

Deno.test("findBadCitations() finds missing sections and citations without the page", () => {
  const sections = sectionsOf("# Page\n\n## 1. Routes\n\n## 2. API\n\n### 2.3 Fields\n");
  const find = (text: string, path = "lib/x.ts") => findBadCitations([{ path, text }], sections);
  assertEquals(find("/** Fields (docs/ollama-api.md 2.3). */"), []);
  assertEquals(find("// RFC 9110, section 7.6: hop by hop\n// Fields: docs/ollama-api.md 1,\n// 2.3\n"), []);
  assertEquals(find("/**\n * Fields (docs/ollama-api.md\n * 2.4).\n */"), ["lib/x.ts: no section 2.4"]);
  assertEquals(find("// docs/ollama-api.md 1 to 3\n"), ["lib/x.ts: no section 3"]);
  assertEquals(find("// Fields (section 2.3)\n"), ['lib/x.ts: "section 2.3" does not name docs/ollama-api.md']);
  assertEquals(find("// ollama-api.md 2.3\n"), ['lib/x.ts: "ollama-api.md" does not name docs/ollama-api.md']);
  assertEquals(find("See docs/ollama-api.md\n9.", "README.md"), ["README.md: no section 9"]);
  assertEquals(find("/** Fields (1, 2.5). */", "tests/fake_ollama/x.ts"), ["tests/fake_ollama/x.ts: no section 2.5"]);
});
