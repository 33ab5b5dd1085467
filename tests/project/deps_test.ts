import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { deps, type DepsOptions, fetchWithDeno, rewriteImports, vendorFolder } from "../../tools/deps.ts";

const REPOSITORY = `${import.meta.dirname}/../..`;

/** Where nothing listens: as good as blocked. */
const NO_JSR = "http://127.0.0.1:9/";
const VENDOR = "vendor/http_127.0.0.1_9/@std";

const LOCK = {
  version: "5",
  specifiers: {
    "jsr:@std/assert@^1.0.0": "1.0.19",
    "jsr:@std/internal@^1.0.12": "1.0.14",
    "jsr:@std/media-types@^1.1.0": "1.1.0",
    "jsr:@std/media-types@^1.0.0": "1.1.0",
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

/** What stands for the npm package. */
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

/** A project of its own, whose npm package is the one above; `fetches` counts how often it came. */
class Project implements AsyncDisposable {
  fetches = 0;
  readonly logged: string[] = [];

  private constructor(readonly root: string) {}

  static async create(): Promise<Project> {
    const project = new Project(await Deno.makeTempDir({ prefix: "deps_test_" }));
    await project.write("deno.lock", JSON.stringify(LOCK));
    for (const [path, text] of Object.entries(STAND_INS)) {
      await project.write(`tools/stand_in/${path}`, text);
    }
    return project;
  }

  deps(options: Partial<DepsOptions> = {}): ReturnType<typeof deps> {
    return deps({
      root: this.root,
      jsrUrl: NO_JSR,
      log: (line) => this.logged.push(line),
      fetchDenoStd: async (folder) => {
        this.fetches++;
        for (const [path, text] of Object.entries(DENO_STD)) {
          await writeFile(`${folder}/deno-std/${path}`, text);
        }
        return `${folder}/deno-std`;
      },
      ...options,
    });
  }

  read(path: string): Promise<string> {
    return Deno.readTextFile(`${this.root}/${path}`);
  }

  write(path: string, text: string): Promise<void> {
    return writeFile(`${this.root}/${path}`, text);
  }

  remove(path: string): Promise<void> {
    return Deno.remove(`${this.root}/${path}`, { recursive: true });
  }

  names(path: string): string[] {
    return [...Deno.readDirSync(`${this.root}/${path}`)].map(({ name }) => name).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.root, { recursive: true });
  }
}

async function writeFile(path: string, text: string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, text);
}

/** A JSR of our own that gives `answer` to everything. */
function serveJsr(answer: () => Response | Promise<Response>): { url: string } & AsyncDisposable {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("deps() lays packages as Deno reads them, under the versions of the lock", async () => {
  await using project = await Project.create();
  assertEquals(await project.deps(), "laid");

  assertEquals(project.names(VENDOR), ["assert", "internal", "log", "media-types"]);
  assertEquals(
    project.names(`${VENDOR}/assert`),
    ["1.0.19", "1.0.19_meta.json", "meta.json"],
  );
  assertEquals(JSON.parse(await project.read(`${VENDOR}/assert/meta.json`)), {
    scope: "std",
    name: "assert",
    latest: "1.0.19",
    versions: { "1.0.19": {} },
  });
  const { exports, manifest } = JSON.parse(await project.read(`${VENDOR}/assert/1.0.19_meta.json`));
  assertEquals(exports, { ".": "./mod.js", "./equals": "./equals.js" });
  assertEquals(
    Object.keys(manifest),
    ["/_private.js", "/equals.js", "/mod.js", "/mod.d.ts"],
  );
  const equals = await project.read(`${VENDOR}/assert/1.0.19/equals.js`);
  assertStringIncludes(equals, `from "jsr:@std/internal@^1.0.12/diff"`);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(equals));
  assertEquals(manifest["/equals.js"], {
    size: equals.length,
    checksum: `sha256-${new Uint8Array(digest).toHex()}`,
  });
});

Deno.test("deps() gives declarations to the modules that have some, and lays our own log", async () => {
  await using project = await Project.create();
  await project.deps();

  const home = `${VENDOR}/assert/1.0.19`;
  assertMatch(await project.read(`${home}/mod.js`), /^\/\/ @ts-self-types="\.\/mod\.d\.ts"\n/);
  assertEquals(await project.read(`${home}/mod.d.ts`), STAND_INS["assert/mod.d.ts"]);
  assert(!(await project.read(`${home}/equals.js`)).includes("@ts-self-types"));
  assertEquals(await project.read(`${VENDOR}/log/0.224.14/mod.ts`), STAND_INS["log/mod.ts"]);
  assertEquals(project.logged.length, 1);
  assertMatch(project.logged[0] ?? "", /^deps: JSR cannot be reached \(127\.0\.0\.1:9: .+\): .*@std\/log/);
  assertEquals(project.names("vendor"), [".lock", "http_127.0.0.1_9"]);
});

Deno.test("deps() does nothing where the modules lie", async () => {
  await using project = await Project.create();
  await project.deps();
  assertEquals(await project.deps(), "already there");
  assertEquals([project.fetches, project.logged.length], [1, 1]);
});

Deno.test("deps() does nothing where Deno has fetched the modules by itself", async () => {
  await using project = await Project.create();
  await project.write(`${VENDOR}/assert/1.0.19_meta.json`, "{}");
  await project.write(`${VENDOR}/log/0.224.14_meta.json`, "{}");
  assertEquals(await project.deps(), "already there");
  assertEquals(project.fetches, 0);
});

const NEWER = JSON.stringify(LOCK).replaceAll("1.0.14", "1.0.15");
const DAMAGES: [what: string, damage: (project: Project) => Promise<void>][] = [
  ["all of vendor/ is gone", (project) => project.remove("vendor")],
  ["a package is gone", (project) => project.remove(`${VENDOR}/internal`)],
  ["a file is gone", (project) => project.remove(`${VENDOR}/internal/1.0.14/diff.js`)],
  ["a file is cut short", (project) => project.write(`${VENDOR}/assert/1.0.19/equals.js`, "imp")],
  ["the lock has other versions", (project) => project.write("deno.lock", NEWER)],
  ["a stand-in is another", (project) => project.write("tools/stand_in/log/mod.ts", "export {};")],
];

for (const [what, damage] of DAMAGES) {
  Deno.test(`deps() lays the modules again where ${what}`, async () => {
    await using project = await Project.create();
    await project.deps();
    await damage(project);
    assertEquals(await project.deps(), "laid");
    assertEquals(project.fetches, 2);
    assertEquals(await project.deps(), "already there");
  });
}

Deno.test("deps() lays the modules once when it runs several times at once", async () => {
  await using project = await Project.create();
  const done = await Promise.all(Array.from({ length: 8 }, () => project.deps()));
  assertEquals(done.toSorted(), [...Array(7).fill("already there"), "laid"]);
  assertEquals(project.fetches, 1);
});

Deno.test("deps() removes what a run left that was ended half-way", async () => {
  await using project = await Project.create();
  await project.write("vendor/.laying-1/new/x", "");
  await project.deps();
  assertEquals(project.names("vendor"), [".lock", "http_127.0.0.1_9"]);
});

Deno.test("deps() leaves all to Deno where JSR answers", async () => {
  await using project = await Project.create();
  let asked = 0;
  await using jsr = serveJsr(() => {
    asked++;
    return Response.json({ scope: "std", name: "assert", versions: { "1.0.19": {} } });
  });
  assertEquals(await project.deps({ jsrUrl: jsr.url }), "jsr");
  assertEquals(await project.deps({ jsrUrl: jsr.url }), "already there");
  assertEquals([asked, project.fetches], [1, 0]);
});

Deno.test("deps() with askJsr replaces modules from npm where JSR answers, and keeps them where not", async () => {
  await using project = await Project.create();
  let isBlocked = true;
  await using jsr = serveJsr(() =>
    isBlocked ? new Response(null, { status: 403 }) : Response.json({ versions: { "1.0.19": {} } })
  );
  const options = { jsrUrl: jsr.url, askJsr: true };
  assertEquals(await project.deps(options), "laid");
  assertEquals(await project.deps(options), "already there");
  isBlocked = false;
  assertEquals(await project.deps({ ...options, askJsr: false }), "already there");
  assertEquals(await project.deps(options), "jsr");
  assertEquals(project.names(`vendor/${vendorFolder(jsr.url)}`), [".ollama-exporter-deps.json"]);
});

const NOT_JSR: [what: string, answer: () => Response | Promise<Response>, reason: RegExp][] = [
  ["refuses", () => new Response("no", { status: 451 }), /status 451/],
  ["is a gateway with a page of its own", () => new Response("<html>Log in"), /not JSR's/],
  ["is silent", () => new Promise((done) => setTimeout(done, 100, new Response())), /no answer in/],
];

for (const [what, answer, reason] of NOT_JSR) {
  Deno.test(`deps() takes the modules from npm where what answers for JSR ${what}`, async () => {
    await using project = await Project.create();
    await using jsr = serveJsr(answer);
    assertEquals(await project.deps({ jsrUrl: jsr.url, jsrTimeoutMs: 50 }), "laid");
    assertMatch(project.logged[0] ?? "", reason);
  });
}

Deno.test("deps() says of both ways why they failed, and what is in vendor/ stays", async () => {
  await using project = await Project.create();
  await project.deps();
  await project.write("deno.lock", NEWER);
  const fetchDenoStd = () => Promise.reject(new Error("the registry answers 403"));
  const error = await assertRejects(() => project.deps({ fetchDenoStd }), Error, "neither from JSR");
  assertMatch(error.message, /JSR: 127\.0\.0\.1:9: .*\n {2}npm: the registry answers 403\n/);
  assertEquals(project.names("vendor"), [".lock", "http_127.0.0.1_9"]);
  assertGreater(project.names(VENDOR).length, 0);
});

Deno.test("deps() names a package for which there are no modules", async () => {
  await using project = await Project.create();
  await project.remove("tools/stand_in/log");
  await assertRejects(() => project.deps(), Error, `No modules for "@std/log@0.224.14"`);
});

Deno.test("deps() refuses a lock file that it does not know", async () => {
  await using project = await Project.create();
  await project.write("deno.lock", `{ "version": "6" }`);
  await assertRejects(() => project.deps(), Error, "expected a lock file of version 5");
});

const FROM = { name: "assert", version: "1.0.19" };
const IMPORTS: [path: string, before: string, after: string][] = [
  ["mod.js", `export * from "./equals.js";`, `export * from "./equals.js";`],
  ["a/b.js", `import "../c.js";`, `import "../c.js";`],
  ["mod.js", `import "../internal/diff.js";`, `import "jsr:@std/internal@^1.0.12/diff";`],
  ["a/b.js", `} from "../../internal/a_b.js";`, `} from "jsr:@std/internal@^1.0.12/a-b";`],
  ["mod.js", `import("../internal/mod.js")`, `import("jsr:@std/internal@^1.0.12")`],
  ["mod.js", `from "../media_types/x/y.js"`, `from "jsr:@std/media-types@^1.1.0/x/y"`],
  ["mod.js", `from "../media-types/x.js"`, `from "jsr:@std/media-types@^1.1.0/x"`],
  ["mod.js", `import "node:util";`, `import "node:util";`],
  ["mod.js", ` * import "../other/mod.js";`, ` * import "../other/mod.js";`],
  ["mod.js", `// import "../other/mod.js";`, `// import "../other/mod.js";`],
];

for (const [path, before, after] of IMPORTS) {
  Deno.test(`rewriteImports() makes of ${before.trim()} in ${path} ${after.trim()}`, () => {
    assertEquals(rewriteImports(before, { path, from: FROM, lock: LOCK }), after);
  });
}

Deno.test("rewriteImports() refuses a package that the lock does not list", () => {
  const at = { path: "mod.js", from: FROM, lock: LOCK };
  assertThrows(
    () => rewriteImports(`import "../fs/mod.js";`, at),
    Error,
    `"@std/assert@1.0.19" of npm imports "@std/fs"`,
  );
});

Deno.test("vendorFolder() is the folder that Deno takes", () => {
  assertEquals(vendorFolder("https://jsr.io/"), "jsr.io");
  assertEquals(vendorFolder("https://jsr.example:8443/mirror/"), "jsr.example_8443");
  assertEquals(vendorFolder("http://localhost:4545/"), "http_localhost_4545");
});

Deno.test("fetchWithDeno() refuses a package that is not the one that was checked", async () => {
  await using project = await Project.create();
  const integrity = `sha512-${"A".repeat(86)}==`;
  await assertRejects(
    () => fetchWithDeno(`${project.root}/npm`, project.root, { version: "1.4.0", integrity }),
    Error,
    "checksum did not match",
  );
});

Deno.test("deps() lays from the real package what a program runs and checks with", async () => {
  await using project = await Project.create();
  await project.write("deno.lock", await Deno.readTextFile(`${REPOSITORY}/deno.lock`));
  await project.write("deno.json", await Deno.readTextFile(`${REPOSITORY}/deno.json`));
  for (const name of ["assert", "http", "log", "streams", "yaml"]) {
    for (const { name: file } of Deno.readDirSync(`${REPOSITORY}/tools/stand_in/${name}`)) {
      const path = `tools/stand_in/${name}/${file}`;
      await project.write(path, await Deno.readTextFile(`${REPOSITORY}/${path}`));
    }
  }
  await project.write("main.ts", REAL_PROGRAM);
  assertEquals(await project.deps({ fetchDenoStd: fetchWithDeno }), "laid");

  const lock = await project.read("deno.lock");
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--no-prompt", "main.ts"],
    cwd: project.root,
    env: { JSR_URL: NO_JSR, NO_COLOR: "1" },
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  assertEquals(new TextDecoder().decode(stdout), `INFO a line,text/plain,data:x\n\n,1\n`);
  assertEquals(await project.read("deno.lock"), lock);
});

/** Uses each module that we use, so that the checker sees the declarations. */
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

Deno.test("deno.json gives the program the same permissions in every task, and never all", () => {
  const { start, dev, compile } = denoJson.tasks;
  // The tool that compiles has permissions of its own; those behind its name are the program's.
  const commands = [start, dev, compile].map(({ command }) => command.split("tools/compile.ts").at(-1));
  const permissions = commands.map((command) => command?.match(/--allow-\S+/g));
  assertEquals(permissions[1], permissions[0]);
  assertEquals(permissions[2], permissions[0]);
  assert(!/ (-A|--allow-all|--allow-(run|ffi|env|write|sys))\b(?!=)/.test(start.command));
});

Deno.test("deno.json has the modules looked after before every task that needs them", () => {
  const { start, dev, test, ok, bench, compile } = denoJson.tasks;
  for (const task of [start, dev, test, ok, bench]) assertEquals(task.dependencies, ["deps"]);
  assertEquals(compile.dependencies, ["deps:release"]);
});
