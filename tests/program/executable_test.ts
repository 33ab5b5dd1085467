/**
 * The executable that `deno task compile` builds. Its runtime may be an older one, which delays short streams and
 * compresses text: no test depends on either.
 */

import { assert, assertEquals, assertLess, assertMatch, assertRejects, assertStringIncludes, fail } from "@std/assert";
import denoJson from "../../deno.json" with { type: "json" };
import { commitOf, compileArguments } from "../../tools/compile.ts";
import { smoke } from "../../tools/release/smoke.ts";
import { formatOf, HOST, TARGETS } from "../../tools/release/targets.ts";
import { START_FLAGS } from "../../tools/start_flags.ts";
import { ExporterProcess, isCi, ROOT, run, toolchain } from "../support/deployment.ts";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CERTIFICATES } from "../support/certificates.ts";
import { CHAT, GENERATE, Scrape, until } from "../support/helpers.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const COMPILE_MS = 300_000;
/** 94 MB when this was written: the runtime, and 2 MB of modules. */
const SIZE_LIMIT_BYTES = 120_000_000;
const COMMIT = "1a2b3c4d5e6f";

/** A user without files, if the tests run as root. */
const NOBODY = 65_532;

const found = await toolchain();
const skipped = typeof found === "string" ? ` (skipped: ${found})` : "";
let executable: Promise<string> | undefined;

/** Defines a test of the executable, which the first test compiles. */
function testExecutable(name: string, test: (executable: string) => Promise<void>): void {
  Deno.test({
    name: `The executable ${name}${skipped}`,
    ignore: skipped !== "" && !isCi(),
    fn: async () => await test(await (executable ??= compile())),
  });
}

async function compile(): Promise<string> {
  if (typeof found === "string") fail(found);
  const folder = await Deno.makeTempDir({ prefix: "executable_test_" });
  // NOBODY must be able to run it.
  await Deno.chmod(folder, 0o755);
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const path = `${folder}/ollama-exporter`;
  const args = ["task", "--quiet", "compile", `--output=${path}`, `--commit=${COMMIT}`];
  const env = { ...Deno.env.toObject(), ...found.env, NO_COLOR: "1" };
  const { code, stderr } = await run(found.deno, args, { env, timeoutMs: COMPILE_MS });
  assertEquals(code, 0, stderr);
  return path;
}

Deno.test("compileArguments() passes on the flags of the program and its arguments, and adds the output", () => {
  const options = { root: ROOT, variablesFile: "build.env" };
  const args = compileArguments(["--target=x", "--commit=abc"], options);
  assertEquals(args.slice(0, START_FLAGS.length + 2), ["compile", ...START_FLAGS, "--target=x"]);
  assertEquals(args.slice(-3), ["--env-file=build.env", "--output=ollama-exporter", "main.ts"]);
  assert(args.includes("--exclude=node_modules/.cache"), "what tests download");
  assert(args.some((arg) => /^--exclude=node_modules\/\.deno\/bintrees@[\d.]+\/.*\/test$/.test(arg)), args.join(" "));
  assertEquals(compileArguments(["--output=here"], options).includes("--output=ollama-exporter"), false);
  assertEquals(commitOf(["--commit=abc"], ROOT), "abc");
  assertEquals(commitOf(["--commit="], "/"), "unknown");
});

testExecutable("prints its version, its commit and its runtime", async (executable) => {
  const { code, stdout, stderr } = await run(executable, ["--version"], { cwd: "/", env: { NO_COLOR: "1" } });
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertStringIncludes(stdout, `ollama-exporter ${denoJson.version} `);
  assertStringIncludes(stdout, COMMIT);
  assertMatch(stdout, /deno \d+\.\d+\.\d+/);
});

testExecutable("is for this platform, and passes what a release requires", async (executable) => {
  assertEquals(await formatOf(executable), TARGETS[HOST]?.format);
  await smoke(executable, denoJson.version);
  await assertRejects(() => smoke(executable, "9.9.9"), Error, "--version prints");
});

testExecutable("contains no more than it needs", async (executable) => {
  assertLess((await Deno.stat(executable)).size, SIZE_LIMIT_BYTES);
});

testExecutable("reports all invalid settings and does not start", async (executable) => {
  const env = { LISTEN_ADDRESS: "nowhere", MODEL_LABEL_LIMIT: "-1", NO_COLOR: "1" };
  const { code, stderr } = await run(executable, [], { env });
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'LISTEN_ADDRESS: expected `host:port`, `:port` or `[::]:port`, got "nowhere"');
  assertStringIncludes(stderr, 'MODEL_LABEL_LIMIT: expected an integer from 1 to 10000, got "-1"');
});

testExecutable("prints the settings", async (executable) => {
  const { code, stdout } = await run(executable, ["--help"], { cwd: "/", env: { NO_COLOR: "1" } });
  assertEquals(code, 0);
  for (const { flag, variable } of Object.values(SETTINGS)) {
    assertStringIncludes(stdout, `--${flag}`);
    assertStringIncludes(stdout, variable);
  }
});

testExecutable("checks Deno.serve at its start, and logs which server it uses", async (executable) => {
  await using exporter = await ExporterProcess.start(executable, [], { env: { OLLAMA_HOST: nowhere() } });
  const [, server] = await exporter.waitFor(/"HTTP server is ([^"]+)".*"reason":"[^"]+"/);
  assert(server === "Deno.serve" || server === "node:http", exporter.output);
});

/** Returns a URL where nothing listens. */
function nowhere(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `http://127.0.0.1:${listener.addr.port}`;
}

/** A streamed request of each dialect. */
const STREAMS: [path: string, body: Record<string, unknown>][] = [
  ["/api/chat", CHAT],
  ["/api/generate", GENERATE],
  ["/v1/chat/completions", { ...CHAT, stream: true }],
  ["/v1/messages", { ...CHAT, stream: true, max_tokens: 100 }],
  ["/v1/responses", { model: CHAT.model, input: "Hello", stream: true }],
];

function post(url: string, body: unknown): Promise<Response> {
  // Otherwise an old runtime compresses some responses.
  const headers = { "accept-encoding": "identity" };
  return fetch(url, { method: "POST", body: JSON.stringify(body), headers });
}

async function scrape(url: string): Promise<Scrape> {
  const response = await fetch(`${url}/metrics`, { headers: { "accept-encoding": "identity" } });
  return new Scrape(await response.text());
}

testExecutable("forwards streams of all dialects unchanged and counts them", async (executable) => {
  await using fake = await startFakeOllama();
  await using exporter = await ExporterProcess.start(executable, [], { env: { OLLAMA_HOST: fake.url } });
  for (const [path, body] of STREAMS) {
    const [direct, through] = await Promise.all([fake.url, exporter.url].map(async (url) => {
      const response = await post(url + path, body);
      return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
    }));
    assertEquals(through, direct, path);
  }
  const metrics = await scrape(exporter.url);
  assertEquals(metrics.value("ollama_requests_total", { model: "llama3.2:latest" }), STREAMS.length);
  assertEquals(metrics.value("ollama_request_outcomes_total", { outcome: "ok" }), STREAMS.length);
  assertEquals(metrics.value("ollama_tokens_processed_total"), STREAMS.length * 26);
  assertEquals(metrics.value("ollama_usage_missing_total") ?? 0, 0);
  assertEquals(metrics.value("ollama_up"), 1);
  assertEquals(metrics.value("ollama_exporter_internal_errors_total"), 0);
});

testExecutable("counts a server error of Ollama, and continues to serve", async (executable) => {
  await using fake = await startFakeOllama({ status: 503 });
  await using exporter = await ExporterProcess.start(executable, [], { env: { OLLAMA_HOST: fake.url } });
  const response = await post(`${exporter.url}/api/chat`, CHAT);
  assertEquals(response.status, 503);
  await response.body?.cancel();
  const metrics = await scrape(exporter.url);
  assertEquals(metrics.value("ollama_request_outcomes_total", { outcome: "server_error" }), 1);
});

testExecutable("has a health command, which fails if nothing serves", async (executable) => {
  await using exporter = await ExporterProcess.start(executable, [], { env: { OLLAMA_HOST: nowhere() } });
  const env = { LISTEN_ADDRESS: new URL(exporter.url).host, NO_COLOR: "1" };
  const { code, stdout, stderr } = await run(executable, ["health"], { env });
  assertEquals(code, 0, stdout + stderr);
  await exporter.stop();
  assertEquals((await run(executable, ["health"], { env })).code, 1);
});

for (const server of ["deno", "node"]) {
  for (const [name, { cert, key }] of Object.entries(CERTIFICATES)) {
    testExecutable(`is healthy with ${name} (${server})`, async (executable) => {
      using folder = new TemporaryFolder();
      folder.write("cert.pem", cert);
      folder.write("key.pem", key);
      const file = folder.write("web.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n");
      const variables = { WEB_CONFIG_FILE: file, WEB_SERVER: server, NODE_EXTRA_CA_CERTS: `${folder.path}/cert.pem` };
      // An old runtime does not end with node:http over TLS until the timeout.
      const options = { env: { OLLAMA_HOST: nowhere(), SHUTDOWN_TIMEOUT: "0", ...variables } };
      await using exporter = await ExporterProcess.start(executable, [], options);
      const env = { LISTEN_ADDRESS: new URL(exporter.url).host, NO_COLOR: "1", ...variables };
      assertEquals(await run(executable, ["health"], { env }), { code: 0, stdout: "HTTP/1.1 200 OK\n", stderr: "" });
    });
  }
}

testExecutable("completes open responses on SIGTERM, and exits with 0", async (executable) => {
  await using fake = await startFakeOllama({ tokens: 10, tokenDelayMs: 50 });
  await using exporter = await ExporterProcess.start(executable, [], { env: { OLLAMA_HOST: fake.url } });
  const answer = post(`${exporter.url}/api/chat`, CHAT).then((response) => response.text());
  await fake.waitForRequest((request) => request.path === "/api/chat");
  const status = await exporter.stop();
  assertStringIncludes(await answer, '"done":true');
  assertEquals(status.code, 0);
  assertStringIncludes(exporter.output, "Stopped");
});

testExecutable("reloads its web config on SIGHUP", async (executable) => {
  using folder = new TemporaryFolder();
  const file = folder.write("web.yaml", "rate_limit: { interval: 1s, burst: 1000 }\n");
  const env = { OLLAMA_HOST: nowhere(), WEB_CONFIG_FILE: file };
  await using exporter = await ExporterProcess.start(executable, [], { env });
  folder.write("web.yaml", "rate_limit: nonsense\n");
  exporter.signal("SIGHUP");
  await exporter.waitFor(/Error reloading web config/);
  assertEquals((await exporter.stop()).code, 0, exporter.output);
});

testExecutable("requires a password, and compares it in a worker", async (executable) => {
  using folder = new TemporaryFolder();
  const hash = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
  const file = folder.write("web.yaml", `basic_auth_users: { alice: "${hash}" }\n`);
  const env = { OLLAMA_HOST: nowhere(), WEB_CONFIG_FILE: file };
  await using exporter = await ExporterProcess.start(executable, [], { env });
  for (const [password, status] of [["secret", 200], ["wrong", 401]] as const) {
    const headers = { authorization: `Basic ${btoa(`alice:${password}`)}` };
    const response = await fetch(`${exporter.url}/metrics`, { headers });
    await response.body?.cancel();
    assertEquals(response.status, status, exporter.output);
  }
});

testExecutable("needs no writable folder, and writes to none", async (executable) => {
  using folder = new TemporaryFolder();
  Deno.chmodSync(folder.path, 0o777);
  const env = { OLLAMA_HOST: nowhere(), TMPDIR: folder.path };
  await using exporter = await ExporterProcess.start(executable, [], { env, cwd: folder.path, uid: NOBODY });
  await until(async () => (await scrape(exporter.url)).value("ollama_up") === 0, "it is scraped");
  await exporter.stop();
  await run(executable, ["--version"], { env: { TMPDIR: folder.path } });
  assertEquals([...Deno.readDirSync(folder.path)], []);
  const homeless = { OLLAMA_HOST: nowhere(), TMPDIR: "/nowhere", HOME: "/nowhere" };
  await using second = await ExporterProcess.start(executable, [], { env: homeless, cwd: "/", uid: NOBODY });
  assertEquals((await scrape(second.url)).value("ollama_up"), 0);
});

/**
 * Runs a program as the image does: by an ordinary user without capabilities, in a root of a read-only file system that
 * has nothing but the program and its libraries. The capabilities to change root and user end with the change.
 */
const IN_IMAGE = `set -e
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount -o remount,bind,ro "$0"
! touch "$0/app/x" 2>/dev/null
exec setpriv --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid --no-new-privs \\
  chroot --userspec=${NOBODY}:${NOBODY} --groups= "$0" "$@"`;

testExecutable("runs without capabilities or a writable file system, with glibc alone", async (executable) => {
  using folder = new TemporaryFolder();
  const { stdout } = await run("ldd", [executable]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
  for (const path of [executable, ...libraries]) {
    const target = `${folder.path}${path === executable ? "/usr/local/bin/ollama-exporter" : path}`;
    Deno.mkdirSync(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    Deno.copyFileSync(path, target);
  }
  for (const name of ["app", "proc"]) Deno.mkdirSync(`${folder.path}/${name}`);
  Deno.chmodSync(folder.path, 0o755);
  const args = ["--mount", "sh", "-c", IN_IMAGE, folder.path];
  const env = { OLLAMA_HOST: nowhere(), PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  await using exporter = await ExporterProcess.start("unshare", [...args, "/usr/local/bin/ollama-exporter"], { env });
  assertEquals((await scrape(exporter.url)).value("ollama_up"), 0);
});
