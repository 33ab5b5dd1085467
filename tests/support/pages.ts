/**
 * The repository's pages in Markdown, and their parts: blocks of code, headings, links.
 *
 * @module
 */

import { REPOSITORY } from "./fixtures.ts";

/** Folders with pages; of the root only its own files. */
const FOLDERS = ["", "docs/", "bench/", "tests/recordings/"];

/** Texts of the pages that describe the program, by path from the repository's root. */
export const PAGES: ReadonlyMap<string, string> = new Map(
  FOLDERS.flatMap((folder) =>
    [...Deno.readDirSync(new URL(folder, REPOSITORY))]
      .filter(({ isFile, name }) => isFile && name.endsWith(".md"))
      .map(({ name }): [string, string] => [
        folder + name,
        Deno.readTextFileSync(new URL(folder + name, REPOSITORY)),
      ])
      .toSorted()
  ),
);

/** A block of code of a page. */
export interface CodeBlock {
  /** Path and line of its first line, counted from 1. */
  readonly where: string;
  /** What follows the fence; empty for an indented block. */
  readonly language: string;
  readonly text: string;
}

/** Fenced blocks, and blocks that are indented by four spaces after a blank line. */
const BLOCK = /^```(?<language>\w*)\n(?<fenced>[^]*?)^```$|(?<=\n\n)(?<indented>(?: {4}.*\n|\n(?= {4}))+)/gm;

/** Returns the blocks of code of a page. */
export function codeBlocks(page: string, text: string): CodeBlock[] {
  return [...text.matchAll(BLOCK)].map(({ index, groups = {} }) => ({
    where: `${page}:${text.slice(0, index).split("\n").length}`,
    language: groups["language"] ?? "",
    text: groups["fenced"] ?? (groups["indented"] ?? "").replaceAll(/^ {4}/gm, ""),
  }));
}

/** Returns the anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of withoutCode(text).matchAll(/^#{1,6} (.*)$/gm)) {
    const anchor = heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-");
    let unique = anchor;
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${n}`;
    anchors.add(unique);
  }
  return anchors;
}

/** Returns the targets of a page's links and pictures. */
export function linksOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
}

/** Returns a text without fenced blocks and code spans' links. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```[^]*?^```$/gm, "");
}

/** Returns the queries of the README's table of questions. */
export function promqlAnswers(): string[] {
  const [, section = ""] = PAGES.get("README.md")?.split("| PromQL ") ?? [];
  const [table = ""] = section.split("\n\n");
  return [...table.matchAll(/^\|[^|]*\| `(.*)` *\|$/gm)].map(([, query = ""]) => query);
}
