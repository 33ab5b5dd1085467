/** Rules for the source: what may import what, and how long files may be. Each rule is shown to find a breach. */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { type Found, parseSourceFile, readSourceFiles, type SourceFile } from "../support/source_files.ts";

const FILES = readSourceFiles("", "lib/", "tools/", "tests/", "bench/");

const FILE_LIMIT_LINES = 400;
const FUNCTION_LIMIT_LINES = 70;
const COMMENT_LIMIT_CHARACTERS = 120;

/** The rooms of lib/, its folders and the files beside them, and the rooms that each may import. */
const ROOMS: Record<string, readonly string[]> = {
  bytes: [],
  errors: [],
  http: [],
  json: [],
  model_name: [],
  observation: [],
  analysis: ["observation", "model_name", "ollama"],
  listen: ["http", "errors", "settings"],
  ollama: ["http", "errors", "json", "model_name", "settings"],
  reading: ["bytes", "observation", "json", "model_name"],
  settings: ["errors", "http"],
  clients: ["http", "observation", "settings"],
  log: ["settings", "observation", "model_name", "errors", "http"],
  metrics: ["observation", "model_name", "ollama"],
  proxy: ["reading", "bytes", "http", "errors", "observation", "model_name"],
  status: ["settings", "ollama", "observation", "model_name", "http"],
  web: ["status", "metrics", "ollama", "settings", "log", "http", "errors"],
  exporter: [
    ...["analysis", "clients", "http", "log", "metrics", "model_name", "observation", "ollama", "proxy", "status"],
    "web",
  ],
};

const ROOM_LIMIT = 18;
/** How many rooms may stand on one another. */
const FLOOR_LIMIT = 6;

/** Members of global objects that read or change the state of the process. */
const PROCESS_STATE = [
  ...["env", "exit", "exitCode", "args", "addSignalListener", "removeSignalListener", "chdir", "cwd", "kill", "umask"]
    .flatMap((name) => [`Deno.${name}`, `process.${name}`]),
  ...["argv", "on", "once", "exitCode"].map((name) => `process.${name}`),
];

/** JSON fields of the inference APIs whose names mean nothing else. */
const API_FIELDS = [
  ...["prompt_eval_count", "prompt_eval_cached_count", "prompt_eval_duration", "eval_count", "eval_duration"],
  ...["total_duration", "load_duration", "done_reason", "_debug_info", "prompt_ms", "predicted_ms"],
  ...["choices", "finish_reason", "reasoning_content", "prompt_tokens", "completion_tokens", "cached_tokens"],
  ...["prompt_tokens_details", "input_tokens", "output_tokens", "input_tokens_details", "cache_read_input_tokens"],
  ...["stop_reason", "content_block", "partial_json", "tool_use", "stream_options", "include_usage"],
];
/** API fields by file that may name them for users: keys of log lines, and a help text. */
const NAMED_FOR_USERS: Record<string, readonly string[]> = {
  "lib/log/log_observations.ts": ["prompt_tokens", "output_tokens"],
  "lib/settings/settings.ts": ["stream_options", "include_usage"],
};
/** The same of the routes for the server's state. */
const STATE_FIELDS = ["size_vram", "expires_at", "context_length"];

/** Packages that only one room imports. */
const PACKAGE_ROOMS: Record<string, string> = { "prom-client": "metrics", "@std/log": "log" };

/** Returns one line for each breach. */
type Rule = (files: readonly SourceFile[]) => string[];

function isLib({ path }: SourceFile): boolean {
  return path.startsWith("lib/");
}

/** Returns the room of a file in lib/: `proxy` for `lib/proxy/tap.ts`, `http` for `lib/http.ts`. */
function roomOf(path: string): string {
  return path.split("/")[1]?.replace(/\.ts$/, "") ?? "";
}

/** Returns the other rooms that a file in lib/ imports. */
function roomsOf(file: SourceFile): string[] {
  const rooms = importsOf(file).filter((path) => path.startsWith("lib/")).map(roomOf);
  return [...new Set(rooms)].filter((room) => room !== roomOf(file.path));
}

/** Returns the floor of a room: 1 if it imports no other room, infinity if it imports itself in a circle. */
function floorOf(room: string, rooms: typeof ROOMS, above: readonly string[] = []): number {
  if (above.includes(room)) return Infinity;
  return 1 + Math.max(0, ...rooms[room]?.map((other) => floorOf(other, rooms, [...above, room])) ?? []);
}

function findings(file: SourceFile, found: readonly Found[]): string[] {
  return found.map(({ text, line }) => `${file.path}:${line}: ${text}`);
}

/** Finds these words in the program, except in files whose paths begin with one of `allowed`. */
function findWords(files: readonly SourceFile[], words: readonly string[], allowed: readonly string[]): string[] {
  return files
    .filter((file) => isLib(file) || file.path === "main.ts")
    .filter(({ path }) => !allowed.some((start) => path.startsWith(start)))
    .flatMap((file) => {
      const known = new Set(words.filter((word) => !NAMED_FOR_USERS[file.path]?.includes(word)));
      const found = file.words.filter(({ text }) => text.split(/[^\w.-]+/).some((word) => isKnown(known, word)));
      return findings(file, found);
    });
}

/** Whether a word, or a part of it between dots, is one of `known`. */
function isKnown(known: ReadonlySet<string>, word: string): boolean {
  return known.has(word) || word.split(".").some((part) => known.has(part));
}

/** Returns the files of the repository that a file imports. */
function importsOf(file: SourceFile): string[] {
  return filesOf(file, file.imports);
}

/** Returns the files that a file imports or loads by URL. */
function needsOf(file: SourceFile): string[] {
  return filesOf(file, [...file.imports, ...file.urls]);
}

function filesOf(file: SourceFile, specifiers: readonly Found[]): string[] {
  const base = new URL(file.path, REPOSITORY);
  return specifiers
    .filter(({ text }) => text.startsWith("."))
    .map(({ text }) => new URL(text, base).href.slice(REPOSITORY.href.length));
}

/** Returns the files that can be reached from these files. They are among them. */
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

/** Whether a file is run: a test or a program. */
function isRun(path: string): boolean {
  return path.endsWith("_test.ts") || path.endsWith("/main.ts");
}

const RULES: Record<string, { rule: Rule; breach: [path: string, text: string] }> = {
  "only main.ts and tools/ use the state of the process": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => [
        ...findings(file, file.members.filter(({ text }) => PROCESS_STATE.includes(text))),
        ...findings(file, file.calls.filter(({ text }) => text === "addEventListener")),
        ...findings(file, file.members.filter(({ text }) => text === "globalThis.addEventListener")),
      ]),
    breach: ["lib/x.ts", "export const home = Deno.env.get('HOME');\n"],
  },
  "only settings/ has names of settings": {
    rule: (files) => {
      const names = Object.values(SETTINGS).flatMap(({ variable, flag }) => [variable, flag]);
      return findWords(files, names, ["lib/settings/"]);
    },
    breach: ["lib/x.ts", "export const help = `Set OLLAMA_HOST first`;\n"],
  },
  "only reading/ and proxy/stream_usage.ts have JSON fields of the inference APIs": {
    rule: (files) => findWords(files, API_FIELDS, ["lib/reading/", "lib/proxy/stream_usage.ts"]),
    breach: ["lib/x.ts", "export const tokens = (message: { eval_count: number }) => message.eval_count;\n"],
  },
  "only ollama/ has JSON fields of the server's state": {
    rule: (files) => findWords(files, STATE_FIELDS, ["lib/ollama/"]),
    breach: ["lib/x.ts", "export const path = ['models', '0.size_vram'];\n"],
  },
  "only metrics/ imports prom-client, only log/ @std/log": {
    rule: (files) =>
      files.filter((file) => isLib(file) || file.path === "main.ts").flatMap((file) => {
        const found = file.imports.filter(({ text }) =>
          Object.entries(PACKAGE_ROOMS).some(([name, room]) =>
            `${text}/`.startsWith(`${name}/`) && roomOf(file.path) !== room
          )
        );
        return findings(file, found);
      }),
    breach: ["lib/x.ts", "import type { Counter } from 'prom-client';\nexport type X = Counter;\n"],
  },
  "a room imports only the rooms that ROOMS lists for it": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => {
        const allowed = ROOMS[roomOf(file.path)];
        if (allowed === undefined) return [`${file.path} is in no room`];
        return roomsOf(file).filter((room) => !allowed.includes(room)).map((room) =>
          `${file.path} imports lib/${room}`
        );
      }),
    breach: ["lib/reading/x.ts", "import { describe } from '../errors.ts';\nexport const x = describe;\n"],
  },
  "only proxy/ and ollama/ call fetch(), and take it as an option": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) => {
        const isOption = file.bound.has("fetch");
        const mayCall = ["proxy", "ollama"].includes(roomOf(file.path));
        const calls = file.calls.filter(({ text }) => text === "fetch" && !(mayCall && isOption));
        const members = file.members.filter(({ text }) =>
          text === "globalThis.fetch" || text.endsWith(".fetch") && !mayCall && !isOption
        );
        return findings(file, [...calls, ...members]);
      }),
    breach: ["lib/proxy/proxy.ts", "export const answer = (url: string) => fetch(url);\n"],
  },
  "no file imports itself, directly or not": {
    rule: (files) =>
      files.filter((file) => reachable(files, importsOf(file), importsOf).has(file.path))
        .map((file) => `${file.path} imports itself`),
    breach: [
      "lib/bytes/byte_search.ts",
      "import type { Dialect } from '../reading/dialects.ts';\nexport type X = Dialect;\n",
    ],
  },
  "lib/ imports nothing outside": {
    rule: (files) =>
      files.filter(isLib).flatMap((file) =>
        importsOf(file).filter((path) => !path.startsWith("lib/")).map((path) => `${file.path} imports ${path}`)
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
  "each file of lib/ has a test at the same place in tests/lib/": {
    rule: (files) => {
      const paths = new Set(files.map(({ path }) => path));
      return files.filter(isLib).filter(({ path }) => !paths.has(testOf(path))).map(({ path }) =>
        `${path} has no test`
      );
    },
    breach: ["lib/x.ts", ""],
  },
  "tests/lib/ has no folder that lib/ lacks": {
    rule: (files) => {
      const folders = new Set(files.filter(isLib).map(({ path }) => `tests/${folderOf(path)}`));
      return files.map(({ path }) => path)
        .filter((path) => path.startsWith("tests/lib/") && !folders.has(folderOf(path)))
        .map((path) => `${path} has no place in lib/`);
    },
    breach: ["tests/lib/x/y_test.ts", ""],
  },
  "every function, class and constant that lib/ exports is imported": {
    rule: (files) => {
      const code = files.map(({ path, text }) => ({ path, text: text.replace(/^\s*(\/\/|\/?\*).*$/gm, "") }));
      return code.filter(({ path }) => path.startsWith("lib/")).flatMap(({ path, text }) =>
        [...text.matchAll(/^export (?:abstract |async )*(?:function\*?|class|const) (\w+)/gm)]
          .map(([, name = ""]) => name)
          .filter((name) => !code.some((other) => other.path !== path && new RegExp(`\\b${name}\\b`).test(other.text)))
          .map((name) => `${path} exports ${name} for nothing`)
      );
    },
    breach: ["lib/x.ts", `// unused${"Export"}\nexport const unused${"Export"} = 1;\n`],
  },
  "main.ts uses each file of lib/, and a test each file of tests/": {
    rule: (files) => {
      const used = reachable(files, files.map(({ path }) => path).filter(isRun), needsOf);
      const program = reachable(files, ["main.ts"], needsOf);
      return files.map(({ path }) => path)
        .filter((path) => path.startsWith("lib/") ? !program.has(path) : path.startsWith("tests/") && !used.has(path))
        .map((path) => `${path} is not used`);
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
            // `deno fmt` wraps everything else that can be wrapped.
            .filter(({ text }) => /^\s*(\/\/|\/?\*)/.test(text) && [...text].length > COMMENT_LIMIT_CHARACTERS),
        )
      ),
    breach: ["bench/x.ts", `// ${"x".repeat(COMMENT_LIMIT_CHARACTERS - 2)}\n`],
  },
  "nothing is marked as left to do": {
    rule: (files) => files.filter(({ text }) => /\bTO[D]O\b|\bFIX[M]E\b/.test(text)).map(({ path }) => path),
    breach: ["lib/x.ts", `// ${"TO"}${"DO"}: later\n`],
  },
};

function testOf(path: string): string {
  return path.replace(/^lib\/(.*)\.ts$/, "tests/lib/$1_test.ts");
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

for (const [name, { rule, breach: [path, text] }] of Object.entries(RULES)) {
  Deno.test(`The source keeps the rule: ${name}`, () => {
    assertEquals(rule(FILES), []);
    const broken = [...FILES.filter((file) => file.path !== path), parseSourceFile(path, text)];
    assert(rule(broken).some((finding) => finding.startsWith(path)), "the rule finds a breach");
  });
}

Deno.test("ROOMS has few rooms, on few floors, and no circle", () => {
  assertLessOrEqual(Object.keys(ROOMS).length, ROOM_LIMIT);
  for (const room of Object.keys(ROOMS)) assertLessOrEqual(floorOf(room, ROOMS), FLOOR_LIMIT, room);
  assertEquals([floorOf("a", { a: ["b"], b: [] }), floorOf("a", { a: ["b"], b: ["a"] })], [2, Infinity]);
});

Deno.test("CONTRIBUTING.md has a line for each room of lib/", () => {
  const text = Deno.readTextFileSync(new URL("CONTRIBUTING.md", REPOSITORY));
  const lines = [...text.matchAll(/^ {4}lib\/(\w+)(?:\/|\.ts) /gm)].map(([, room]) => room);
  assertEquals(lines.toSorted(), Object.keys(ROOMS).toSorted());
  assertEquals([...new Set(FILES.filter(isLib).map(({ path }) => roomOf(path)))].toSorted(), lines.toSorted());
});
