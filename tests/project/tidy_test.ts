/** The boundaries between the files, and the bounds of their size. Each rule is shown to find what breaks it. */

import { assert, assertEquals } from "@std/assert";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { type Found, parseSourceFile, readSourceFiles, type SourceFile } from "../support/source_files.ts";

const FILES = readSourceFiles("", "lib/", "tools/", "tests/", "bench/");

const FILE_LIMIT_LINES = 400;
const FUNCTION_LIMIT_LINES = 70;
const COMMENT_LIMIT_CHARACTERS = 120;

/** Files of lib/ that have no test of their own name, and the test that tests them. */
const TESTED_BY: Record<string, string> = {
  "lib/errors.ts": "tests/lib/proxy/exchange_test.ts",
  "lib/proxy/gather.ts": "tests/lib/proxy/tap_test.ts",
  "lib/http.ts": "tests/lib/proxy/proxy_test.ts",
  "lib/metrics/model_labels.ts": "tests/lib/model_name_test.ts",
  "lib/ollama/ollama.ts": "tests/lib/ollama/state_test.ts",
};

/** Members of global objects that read or change the state of the process. */
const PROCESS_STATE = [
  ...["env", "exit", "exitCode", "args", "addSignalListener", "removeSignalListener", "chdir", "cwd", "kill", "umask"]
    .flatMap((name) => [`Deno.${name}`, `process.${name}`]),
  ...["argv", "on", "once", "exitCode"].map((name) => `process.${name}`),
];

/** Fields that only the APIs of Ollama call so. Those that the server's state has are known to ollama.ts. */
const API_FIELDS = [
  ...["prompt_eval_count", "prompt_eval_cached_count", "prompt_eval_duration", "eval_count", "eval_duration"],
  ...["total_duration", "load_duration", "done_reason", "_debug_info", "prompt_ms", "predicted_ms"],
  ...["choices", "finish_reason", "reasoning_content", "prompt_tokens", "completion_tokens", "cached_tokens"],
  ...["prompt_tokens_details", "input_tokens", "output_tokens", "input_tokens_details", "cache_read_input_tokens"],
  ...["stop_reason", "content_block", "partial_json", "tool_use", "stream_options", "include_usage"],
];
/** API fields by file that may name them, for users: keys of log lines, and a help text. */
const NAMED_FOR_USERS: Record<string, string[]> = {
  "lib/log/log_observations.ts": ["prompt_tokens", "output_tokens"],
  "lib/settings/settings.ts": ["stream_options", "include_usage"],
};
const STATE_FIELDS = ["size_vram", "expires_at", "context_length"];

/** Modules that only these files import. */
const ONLY_IMPORTED_BY: Record<string, string[]> = {
  "prom-client": ["lib/metrics/registry.ts"],
  "@std/log": ["lib/log/log.ts"],
};

/** Findings, each in a line; none where all is well. */
type Rule = (files: readonly SourceFile[]) => string[];

function isLib({ path }: SourceFile): boolean {
  return path.startsWith("lib/");
}

function findings(file: SourceFile, found: readonly Found[]): string[] {
  return found.map(({ text, line }) => `${file.path}:${line}: ${text}`);
}

/** Files of the program that know one of these words, beside those that may. */
function knowing(files: readonly SourceFile[], words: readonly string[], allowed: readonly string[]): string[] {
  return files
    .filter((file) => (isLib(file) || file.path === "main.ts") && !allowed.includes(file.path))
    .flatMap((file) => {
      const known = new Set(words.filter((word) => !NAMED_FOR_USERS[file.path]?.includes(word)));
      const found = file.words.filter(({ text }) => text.split(/[^\w.-]+/).some((word) => isKnown(known, word)));
      return findings(file, found);
    });
}

/** Whether a word, or a part of it between dots, is known. */
function isKnown(known: ReadonlySet<string>, word: string): boolean {
  return known.has(word) || word.split(".").some((part) => known.has(part));
}

/** The files of the repository that a file imports. */
function importsOf(file: SourceFile): string[] {
  return filesOf(file, file.imports);
}

/** The same, and those that it starts. */
function needsOf(file: SourceFile): string[] {
  return filesOf(file, [...file.imports, ...file.urls]);
}

function filesOf(file: SourceFile, specifiers: readonly Found[]): string[] {
  const base = new URL(file.path, REPOSITORY);
  return specifiers
    .filter(({ text }) => text.startsWith("."))
    .map(({ text }) => new URL(text, base).href.slice(REPOSITORY.href.length));
}

/** All files that can be come to from these files, themselves included. */
function reachable(
  files: readonly SourceFile[],
  from: readonly string[],
  next: (file: SourceFile) => string[],
): Set<string> {
  const reached = new Set(from);
  for (const path of reached) {
    const file = files.find((file) => file.path === path);
    for (const other of file === undefined ? [] : next(file)) reached.add(other);
  }
  return reached;
}

/** Whether a file is one that is run: a test, or a program. */
function isRun(path: string): boolean {
  return path.endsWith("_test.ts") || path.endsWith("/main.ts");
}

const RULES: Record<string, { rule: Rule; breach: [path: string, text: string] }> = {
  "only main.ts and tools/ touch the state of the process": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => [
        ...findings(file, file.members.filter(({ text }) => PROCESS_STATE.includes(text))),
        ...findings(file, file.calls.filter(({ text }) => text === "addEventListener")),
        ...findings(file, file.members.filter(({ text }) => text === "globalThis.addEventListener")),
      ]),
    breach: ["lib/x.ts", "export const home = Deno.env.get('HOME');\n"],
  },
  "only config.ts knows the names of settings": {
    rule: (files) => {
      const names = Object.values(SETTINGS).flatMap(({ variable, flag }) => [variable, flag]);
      return knowing(files, names, ["lib/settings/settings.ts"]);
    },
    breach: ["lib/x.ts", "export const help = `Set OLLAMA_HOST first`;\n"],
  },
  "only dialects.ts and usage.ts know the fields of Ollama's APIs": {
    rule: (files) => knowing(files, API_FIELDS, ["lib/reading/dialects.ts", "lib/proxy/stream_usage.ts"]),
    breach: ["lib/x.ts", "export const tokens = (message: { eval_count: number }) => message.eval_count;\n"],
  },
  "only ollama.ts knows the fields of Ollama's state": {
    rule: (files) => knowing(files, STATE_FIELDS, ["lib/ollama/ollama.ts"]),
    breach: ["lib/x.ts", "export const path = ['models', '0.size_vram'];\n"],
  },
  "only some files import some modules": {
    rule: (files) =>
      Object.entries(ONLY_IMPORTED_BY).flatMap(([module, importers]) =>
        files
          .filter((file) => (isLib(file) || file.path === "main.ts") && !importers.includes(file.path))
          .flatMap((file) => findings(file, file.imports.filter(({ text }) => `${text}/`.startsWith(`${module}/`))))
      ),
    breach: ["lib/x.ts", "import type { Counter } from 'prom-client';\nexport type X = Counter;\n"],
  },
  "only proxy.ts and ollama.ts call fetch(), and take it as an option": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => {
        const isOption = file.bound.has("fetch");
        const mayCall = file.path === "lib/proxy/proxy.ts" || file.path === "lib/ollama/ollama.ts";
        const calls = file.calls.filter(({ text }) => text === "fetch" && !(mayCall && isOption));
        const members = file.members.filter(({ text }) =>
          text === "globalThis.fetch" || text.endsWith(".fetch") && !mayCall && !isOption
        );
        return findings(file, [...calls, ...members]);
      }),
    breach: ["lib/proxy/proxy.ts", "export const answer = (url: string) => fetch(url);\n"],
  },
  "nothing imports in a circle": {
    rule: (files) =>
      files.filter((file) => reachable(files, importsOf(file), importsOf).has(file.path))
        .map((file) => `${file.path} needs itself`),
    breach: [
      "lib/bytes/byte_search.ts",
      "import type { Dialect } from '../reading/dialects.ts';\nexport type X = Dialect;\n",
    ],
  },
  "lib/ needs nothing outside": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) =>
        importsOf(file).filter((path) => !path.startsWith("lib/")).map((path) => `${file.path} needs ${path}`)
      ),
    breach: ["lib/x.ts", "import denoJson from '../deno.json' with { type: 'json' };\nexport default denoJson;\n"],
  },
  "no module has state": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => {
        const names = file.declarations.map(({ text }) => text.split(" ")[1]);
        return findings(file, [
          ...file.declarations.filter(({ text }) => !text.startsWith("const ")),
          ...file.changed.filter(({ text }) => names.includes(text)),
        ]);
      }),
    breach: ["lib/x.ts", "const SEEN = new Set<string>();\nexport const see = (x: string) => SEEN.add(x);\n"],
  },
  "each file of lib/ has its test": {
    rule: (files) => {
      const paths = new Set(files.map(({ path }) => path));
      const isTested = (path: string): boolean =>
        paths.has(testOf(path)) || reachable(files, [TESTED_BY[path] ?? ""], needsOf).has(path);
      const missing = files.filter(isLib).map(({ path }) => path).filter((path) => !isTested(path));
      const stale = Object.keys(TESTED_BY).filter((path) => !paths.has(path) || paths.has(testOf(path)));
      return [...missing.map((path) => `${path} has none`), ...stale.map((path) => `${path} need not be in TESTED_BY`)];
    },
    breach: ["lib/x.ts", ""],
  },
  "main.ts needs each file of lib/, and a test each file of tests/": {
    rule: (files) => {
      const used = reachable(files, files.map(({ path }) => path).filter(isRun), needsOf);
      const program = reachable(files, ["main.ts"], needsOf);
      return files.map(({ path }) => path)
        .filter((path) => path.startsWith("lib/") ? !program.has(path) : path.startsWith("tests/") && !used.has(path))
        .map((path) => `${path} is needed by nothing`);
    },
    breach: ["tests/x.ts", ""],
  },
  "files are short": {
    rule: (files) =>
      files.map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }))
        .filter(({ lines }) => lines > FILE_LIMIT_LINES)
        .map(({ path, lines }) => `${path} has ${lines} lines`),
    breach: ["tools/x.ts", "// line\n".repeat(FILE_LIMIT_LINES + 1)],
  },
  "functions are short": {
    rule: (files) =>
      files.flatMap((file) => findings(file, file.functions.filter(({ lines }) => lines > FUNCTION_LIMIT_LINES))),
    breach: ["tests/x_test.ts", `Deno.test("x", () => {\n${"// line\n".repeat(FUNCTION_LIMIT_LINES)}});\n`],
  },
  "comments are narrow": {
    rule: (files) =>
      files.flatMap((file) =>
        findings(
          file,
          file.text.split("\n").map((text, index) => ({ text, line: index + 1 }))
            // What else there is, `deno fmt` breaks where it can be broken.
            .filter(({ text }) => /^\s*(\/\/|\/?\*)/.test(text) && [...text].length > COMMENT_LIMIT_CHARACTERS),
        )
      ),
    breach: ["bench/x.ts", `// ${"x".repeat(COMMENT_LIMIT_CHARACTERS - 2)}\n`],
  },
  "nothing is left to do": {
    rule: (files) => files.filter(({ text }) => /\bTO[D]O\b|\bFIX[M]E\b/.test(text)).map(({ path }) => path),
    breach: ["lib/x.ts", `// ${"TO"}${"DO"}: later\n`],
  },
};

function testOf(path: string): string {
  return path.replace(/^lib\/(.*)\.ts$/, "tests/lib/$1_test.ts");
}

for (const [name, { rule, breach: [path, text] }] of Object.entries(RULES)) {
  Deno.test(`The source keeps the rule: ${name}`, () => {
    assertEquals(rule(FILES), []);
    const broken = [...FILES.filter((file) => file.path !== path), parseSourceFile(path, text)];
    assert(rule(broken).some((finding) => finding.startsWith(path)), "the rule finds what breaks it");
  });
}
