/** The @std modules from npm, where JSR is blocked. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { deps, installDenoStd, rewriteImports, vendorFolder } from "../../tools/deps.ts";
import { ROOT } from "../support/deployment.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Nothing listens there: the same as a blocked JSR. */
const NO_JSR = "http://127.0.0.1:9/";
const VENDOR = "vendor/http_127.0.0.1_9";

const LOCK = {
  version: "5",
  specifiers: {
    "jsr:@std/assert@^1.0.0": "1.0.19",
    "jsr:@std/internal@^1.0.12": "1.0.14",
    "jsr:@std/media-types@^1.1.0": "1.1.0",
    "jsr:@std/log@0.224.14": "0.224.14",
  },
  jsr: {
    "@std/assert@1.0.19": { dependencies: ["jsr:@std/internal", "jsr:@std/media-types@^1.1.0"] },
    "@std/internal@1.0.14": {},
    "@std/media-types@1.1.0": {},
    "@std/log@0.224.14": {},
  },
  workspace: {
    dependencies: ["jsr:@std/assert@^1.0.0", "jsr:@std/log@0.224.14", "npm:prom-client@^15.1.3"],
  },
};

/** Files of an npm package. */
const DENO_STD = {
  "assert/mod.js": `export { equals } from "./equals.js";\n`,
  "assert/equals.js": `import { diff } from "../internal/diff.js";\nexport const equals = diff;\n`,
  "assert/_private.js": "export const secret = 1;\n",
  "internal/diff.js": "export const diff = (a, b) => a === b;\n",
  "media_types/content_type.js": "export const contentType = 1;\n",
};

const STAND_INS = {
  "assert/mod.d.ts": "export declare function equals(a: unknown, b: unknown): boolean;\n",
  "log/mod.ts": "export const stand: string = 'in';\n",
};

/** A project of its own, with an npm package that needs no network. */
class Project implements Disposable {
  readonly #folder = new TemporaryFolder();
  /** How often the npm package has been installed. */
  installs = 0;

  constructor() {
    this.write("deno.lock", JSON.stringify(LOCK));
    for (const [path, text] of Object.entries(STAND_INS)) this.write(`tools/stand_in/${path}`, text);
  }

  get root(): string {
    return this.#folder.path;
  }

  deps(jsrUrl = NO_JSR): Promise<string | undefined> {
    const install = (folder: string): Promise<string> => {
      this.installs++;
      for (const [path, text] of Object.entries(DENO_STD)) write(`${folder}/${path}`, text);
      return Promise.resolve(folder);
    };
    return deps(this.root, { jsrUrl, install });
  }

  read(path: string): string {
    return Deno.readTextFileSync(`${this.root}/${path}`);
  }

  write(path: string, text: string): void {
    write(`${this.root}/${path}`, text);
  }

  names(path: string): string[] {
    return [...Deno.readDirSync(`${this.root}/${path}`)].map(({ name }) => name).sort();
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

function write(path: string, text: string): void {
  Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  Deno.writeTextFileSync(path, text);
}

/** A JSR that gives the same answer to everything. */
function serveJsr(answer: () => Response | Promise<Response>): { url: string } & AsyncDisposable {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  return { url: `http://127.0.0.1:${server.addr.port}/`, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("deps() writes packages from npm under the versions of deno.lock", async () => {
  using project = new Project();
  assertMatch(await project.deps() ?? "", /^127\.0\.0\.1:9: /);

  assertEquals(project.names("vendor"), ["http_127.0.0.1_9"]);
  assertEquals(project.names(`${VENDOR}/@std`), ["assert", "internal", "log", "media-types"]);
  const home = `${VENDOR}/@std/assert`;
  assertEquals(project.names(home), ["1.0.19", "1.0.19_meta.json", "meta.json"]);
  const { exports } = JSON.parse(project.read(`${home}/1.0.19_meta.json`));
  assertEquals([exports["."], exports["./equals"]], ["./mod.js", "./equals.js"]);
  assertStringIncludes(project.read(`${home}/1.0.19/equals.js`), `from "jsr:@std/internal@^1.0.12/diff"`);
});

Deno.test("deps() adds the declarations and packages of tools/stand_in/", async () => {
  using project = new Project();
  await project.deps();

  const home = `${VENDOR}/@std/assert/1.0.19`;
  assertMatch(project.read(`${home}/mod.js`), /^\/\/ @ts-self-types="\.\/mod\.d\.ts"\n/);
  assertEquals(project.read(`${home}/mod.d.ts`), STAND_INS["assert/mod.d.ts"]);
  assert(!project.read(`${home}/equals.js`).includes("@ts-self-types"));
  assertEquals(project.read(`${VENDOR}/@std/log/0.224.14/mod.ts`), STAND_INS["log/mod.ts"]);
});

const NEWER_LOCK = JSON.stringify(LOCK).replaceAll("1.0.14", "1.0.15");
const OUTDATED: [what: string, change: (project: Project) => void][] = [
  ["vendor/ is gone", ({ root }) => Deno.removeSync(`${root}/vendor`, { recursive: true })],
  ["deno.lock has other versions", (project) => project.write("deno.lock", NEWER_LOCK)],
  ["a stand-in has changed", (project) => project.write("tools/stand_in/log/mod.ts", "export {};")],
];

for (const [what, change] of OUTDATED) {
  Deno.test(`deps() replaces the modules once if ${what}`, async () => {
    using project = new Project();
    await project.deps();
    await project.deps();
    assertEquals(project.installs, 1);
    project.write(`${VENDOR}/@std/old`, "");
    change(project);
    await project.deps();
    await project.deps();
    assertEquals(project.installs, 2);
    assertEquals(project.names(`${VENDOR}/@std`), ["assert", "internal", "log", "media-types"]);
  });
}

Deno.test("deps() ignores what an interrupted run has written", async () => {
  using project = new Project();
  project.write("vendor/.deps-1/new/@std/assert/meta.json", "{");
  await project.deps();
  assertEquals(project.installs, 1);
});

Deno.test("deps() leaves everything to Deno if JSR answers, also when modules from npm are outdated", async () => {
  using project = new Project();
  let isBlocked = true;
  let requests = 0;
  await using jsr = serveJsr(() => {
    requests++;
    return isBlocked ? new Response(null, { status: 403 }) : Response.json({ scope: "std", name: "assert" });
  });
  assertMatch(await project.deps(jsr.url) ?? "", /status 403/);
  isBlocked = false;
  project.write("deno.lock", NEWER_LOCK);
  assertEquals(await project.deps(jsr.url), undefined);
  assertEquals(project.names(`vendor/${vendorFolder(jsr.url)}`), [".ollama-exporter-deps"]);
  assertEquals(await project.deps(jsr.url), undefined);
  assertEquals([requests, project.installs], [2, 1]);
});

const NOT_JSR: [what: string, answer: () => Response | Promise<Response>, reason: RegExp][] = [
  ["status 451", () => new Response("no", { status: 451 }), /status 451/],
  ["a gateway's own page", () => new Response("<html>Log in"), /not an answer of JSR/],
  ["no answer", () => new Promise((resolve) => setTimeout(resolve, 3_500, new Response())), /timeout/],
];

for (const [what, answer, reason] of NOT_JSR) {
  Deno.test(`deps() takes the modules from npm if JSR gives ${what}`, async () => {
    using project = new Project();
    await using jsr = serveJsr(answer);
    assertMatch(await project.deps(jsr.url) ?? "", reason);
    assertEquals(project.installs, 1);
  });
}

Deno.test("deps() reports why both sources failed, and keeps vendor/ as it was", async () => {
  using project = new Project();
  await project.deps();
  project.write("deno.lock", NEWER_LOCK);
  const install = (folder: string): Promise<string> => {
    write(`${folder}/half`, "");
    return Promise.reject(new Error("the registry answers 403"));
  };
  const error = await assertRejects(() => deps(project.root, { jsrUrl: NO_JSR, install }), Error);
  assertMatch(error.message, /^cannot get .*\n {2}JSR: 127\.0\.0\.1:9: .*\n {2}npm: the registry answers 403\n/);
  assertEquals(project.names("vendor"), ["http_127.0.0.1_9"]);
  assertEquals(project.names(`${VENDOR}/@std`), ["assert", "internal", "log", "media-types"]);
});

Deno.test("deps() names a package that neither deno-std nor tools/stand_in/ has", async () => {
  using project = new Project();
  Deno.removeSync(`${project.root}/tools/stand_in/log`, { recursive: true });
  await assertRejects(() => project.deps(), Error, `no modules for "@std/log@0.224.14"`);
});

const SPECIFIERS = Object.keys(LOCK.specifiers);
const IMPORTS: [path: string, before: string, after: string][] = [
  ["mod.js", `export * from "./equals.js";`, `export * from "./equals.js";`],
  ["a/b.js", `import "../c.js";`, `import "../c.js";`],
  ["a/b.js", `import "../c/d.js";`, `import "../c/d.js";`],
  ["mod.js", `import "../internal/diff.js";`, `import "jsr:@std/internal@^1.0.12/diff";`],
  ["a/b.js", `} from "../../internal/a_b.js";`, `} from "jsr:@std/internal@^1.0.12/a-b";`],
  ["mod.js", `import("../internal/mod.js")`, `import("jsr:@std/internal@^1.0.12")`],
  ["mod.js", `from "../media_types/x/y.js"`, `from "jsr:@std/media-types@^1.1.0/x/y"`],
  ["mod.js", `import "node:util";`, `import "node:util";`],
  ["mod.js", ` * import "../other/mod.js";`, ` * import "../other/mod.js";`],
  ["mod.js", `// import "../other/mod.js";`, `// import "../other/mod.js";`],
];

for (const [path, before, after] of IMPORTS) {
  Deno.test(`rewriteImports() turns ${before.trim()} in ${path} into ${after.trim()}`, () => {
    assertEquals(rewriteImports(before, path, SPECIFIERS), after);
  });
}

Deno.test("rewriteImports() refuses a package that deno.lock does not list", () => {
  assertThrows(
    () => rewriteImports(`import "../fs/mod.js";`, "mod.js", SPECIFIERS),
    Error,
    `"mod.js" imports "jsr:@std/fs"`,
  );
});

Deno.test("vendorFolder() returns the folder that Deno uses", () => {
  assertEquals(vendorFolder("https://jsr.io/"), "jsr.io");
  assertEquals(vendorFolder("https://jsr.example:8443/mirror/"), "jsr.example_8443");
  assertEquals(vendorFolder("http://localhost:4545/"), "http_localhost_4545");
});

Deno.test("installDenoStd() refuses a package with another integrity", async () => {
  using project = new Project();
  const integrity = `sha512-${"A".repeat(86)}==`;
  await assertRejects(
    () => installDenoStd(`${project.root}/npm`, project.root, { version: "1.4.0", integrity }),
    Error,
    "checksum did not match",
  );
});

Deno.test("deps() writes from the real npm package what a program runs and type-checks with", async () => {
  using project = new Project();
  for (const path of ["deno.lock", "deno.json", ...STAND_IN_FILES]) {
    project.write(path, Deno.readTextFileSync(`${ROOT}/${path}`));
  }
  project.write("main.ts", REAL_PROGRAM);
  assertMatch(await deps(project.root, { jsrUrl: NO_JSR }) ?? "", /127/);

  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--no-prompt", "main.ts"],
    cwd: project.root,
    env: { JSR_URL: NO_JSR, NO_COLOR: "1" },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  assertEquals(new TextDecoder().decode(stdout), `INFO a line,text/plain,data:x\n\n,1\n`);
  assertEquals(project.read("deno.lock"), Deno.readTextFileSync(`${ROOT}/deno.lock`));
});

/** The files of tools/stand_in/. */
const STAND_IN_FILES = ["assert", "http", "log", "streams", "yaml"].flatMap((name) =>
  [...Deno.readDirSync(`${ROOT}/tools/stand_in/${name}`)].map((file) => `tools/stand_in/${name}/${file.name}`)
);

/** Uses every module that this project imports, and so every declaration. */
const REAL_PROGRAM = `
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { accepts } from "@std/http/negotiation";
import { ServerSentEventStream } from "@std/http/server-sent-event-stream";
import { BaseHandler, Logger } from "@std/log";
import { TextLineStream } from "@std/streams/text-line-stream";
import { parse } from "@std/yaml/parse";

const out: string[] = [];
class Handler extends BaseHandler {
  override log(line: string): void {
    out.push(line);
  }
}
const lines = ReadableStream.from(["a ", "line\\n"]).pipeThrough(new TextLineStream());
for await (const line of lines) new Logger("x", "INFO", { handlers: [new Handler("DEBUG")] }).info(line);
const accepted: string | undefined = accepts(new Request("http://x/"), "text/plain");
out.push(accepted ?? "");
const events = ReadableStream.from([{ data: "x" }]).pipeThrough(new ServerSentEventStream());
out.push(await new Response(events).text());
assertEquals(parse("a: [1]"), { a: [1] });
const error: TypeError = assertThrows(() => { throw new TypeError("1"); }, TypeError);
const rejected: TypeError = await assertRejects(() => Promise.reject(error), TypeError, "1");
out.push(rejected.message);
console.log(out.join());
`;

Deno.test("deno.json runs the task deps before every other task", () => {
  const { deps: _deps, ...others } = denoJson.tasks;
  for (const [name, { dependencies }] of Object.entries(others)) assertEquals(dependencies, ["deps"], name);
});
