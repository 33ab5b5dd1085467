/**
 * Parses source files for the rules of tidy_test.ts.
 *
 * @module
 */

import { REPOSITORY } from "./fixtures.ts";

/** A part of a file, and its line, counted from 1. */
export interface Found {
  readonly text: string;
  readonly line: number;
}

/** The facts about a file that rules use. Comments are in `text` only. */
export interface SourceFile {
  /** Relative to the repository, with slashes. */
  readonly path: string;
  readonly text: string;
  /** Specifiers of imports and re-exports, as written. */
  readonly imports: readonly Found[];
  /** Files in `new URL("…", import.meta.url)`, such as those of workers. */
  readonly urls: readonly Found[];
  /** Strings, parts of templates, and names of members. */
  readonly words: readonly Found[];
  /** `object.member`, if the object is a plain name. */
  readonly members: readonly Found[];
  /** Names of called functions. */
  readonly calls: readonly Found[];
  /** Names that a pattern or a list of parameters binds. */
  readonly bound: ReadonlySet<string>;
  /** Top-level variables: `let name`. */
  readonly declarations: readonly Found[];
  /** Names of objects that are mutated: by assignment to a member, or by a method of {@linkcode CHANGING}. */
  readonly changed: readonly Found[];
  /** Functions, with their lengths in lines. */
  readonly functions: readonly (Found & { readonly lines: number })[];
}

/** Reads the files in folders and their subfolders; for `""`, the root, without subfolders. */
export function readSourceFiles(...folders: string[]): SourceFile[] {
  return folders.flatMap((folder) => {
    const files: SourceFile[] = [];
    for (const { name, isFile, isDirectory } of Deno.readDirSync(new URL(folder, REPOSITORY))) {
      if (isDirectory && folder !== "") files.push(...readSourceFiles(`${folder}${name}/`));
      if (!isFile || !name.endsWith(".ts") || name.endsWith(".d.ts")) continue;
      const path = folder + name;
      files.push(parseSourceFile(path, Deno.readTextFileSync(new URL(path, REPOSITORY))));
    }
    return files.sort((a, b) => a.path < b.path ? -1 : 1);
  });
}

/** Methods that mutate their object. */
const CHANGING = new Set([
  "add",
  "clear",
  "delete",
  "fill",
  "pop",
  "push",
  "set",
  "shift",
  "sort",
  "splice",
  "unshift",
]);

type Node = Deno.lint.Node;

/** Parses a file with the parser of Deno's linter. */
export function parseSourceFile(path: string, text: string): SourceFile {
  const found = new Findings(text);
  const visitor = { ...found.imported(), ...found.named(), ...found.declared() };
  Deno.lint.runPlugin({ name: "tidy", rules: { read: { create: () => visitor } } }, path, text);
  const { imports, urls, words, members, calls, bound, declarations, changed, functions } = found;
  return { path, text, imports, urls, words, members, calls, bound, declarations, changed, functions };
}

/** Collects facts from visitors. */
class Findings {
  readonly imports: Found[] = [];
  readonly urls: Found[] = [];
  readonly words: Found[] = [];
  readonly members: Found[] = [];
  readonly calls: Found[] = [];
  readonly bound = new Set<string>();
  readonly declarations: Found[] = [];
  readonly changed: Found[] = [];
  readonly functions: (Found & { lines: number })[] = [];
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  #at(node: Node, text: string): Found {
    return { text, line: this.#lineOf(node.range[0]) };
  }

  #lineOf(index: number): number {
    return this.#text.slice(0, index).split("\n").length;
  }

  /** Visits imports. */
  imported(): Deno.lint.LintVisitor {
    const add = (node: Node, source: Node | null): void => {
      if (source?.type === "Literal") this.imports.push(this.#at(node, String(source.value)));
    };
    return {
      ImportDeclaration: (node) => add(node, node.source),
      ExportNamedDeclaration: (node) => add(node, node.source),
      ExportAllDeclaration: (node) => add(node, node.source),
      ImportExpression: (node) => add(node, node.source),
      NewExpression: (node) => {
        const [file] = node.arguments;
        const isFile = node.callee.type === "Identifier" && node.callee.name === "URL" && node.arguments.length === 2;
        if (isFile && file?.type === "Literal") this.urls.push(this.#at(node, String(file.value)));
      },
    };
  }

  /** Visits names and texts. */
  named(): Deno.lint.LintVisitor {
    const add = (node: Node, word: string): void => void this.words.push(this.#at(node, word));
    return {
      Literal: (node) => {
        if (typeof node.value === "string") add(node, node.value);
      },
      TemplateElement: (node) => add(node, node.raw),
      Property: (node) => {
        if (node.key.type === "Identifier") add(node, node.key.name);
        if (node.parent.type === "ObjectPattern" && node.value.type === "Identifier") this.bound.add(node.value.name);
      },
      MemberExpression: (node) => {
        const { object, property } = node;
        if (property.type !== "Identifier" || node.computed) return;
        add(node, property.name);
        if (object.type === "Identifier") this.members.push(this.#at(node, `${object.name}.${property.name}`));
      },
    };
  }

  /** Visits declarations, calls and assignments. */
  declared(): Deno.lint.LintVisitor {
    const change = (node: Node, object: Node): void => {
      if (object.type === "Identifier") this.changed.push(this.#at(node, object.name));
    };
    const addFunction = (node: Node): void => {
      const [start, end] = node.range;
      const name = /^.*/.exec(this.#text.slice(start))?.[0] ?? "";
      this.functions.push({ ...this.#at(node, name), lines: this.#lineOf(end) - this.#lineOf(start) + 1 });
    };
    return {
      CallExpression: (node) => {
        const { callee } = node;
        if (callee.type === "Identifier") this.calls.push(this.#at(node, callee.name));
        if (callee.type !== "MemberExpression" || callee.property.type !== "Identifier") return;
        if (CHANGING.has(callee.property.name)) change(callee, callee.object);
      },
      AssignmentExpression: (node) => {
        if (node.left.type === "MemberExpression") change(node, node.left.object);
      },
      VariableDeclaration: (node) => {
        const isModules = node.parent.type === "Program" || node.parent.type === "ExportNamedDeclaration";
        for (const { id } of node.declarations) {
          const isState = isModules && !node.declare && id.type === "Identifier";
          if (isState) this.declarations.push(this.#at(node, `${node.kind} ${id.name}`));
        }
      },
      FunctionDeclaration: addFunction,
      FunctionExpression: addFunction,
      ArrowFunctionExpression: addFunction,
    };
  }
}
