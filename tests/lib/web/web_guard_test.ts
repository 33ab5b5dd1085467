import { assert, assertEquals, assertRejects, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import type { TlsConfig } from "../../../lib/http.ts";
import { decoyHash } from "../../../lib/web/bcrypt.ts";
import { createLog } from "../../../lib/log/log.ts";
import { WebGuard, type WebGuardOptions } from "../../../lib/web/web_guard.ts";
import { FIRST, SECOND } from "../../support/certificates.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";

/** Made by libxcrypt. */
const SECRET_HASH = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const SECRET = `basic_auth_users: {alice: ${SECRET_HASH}}\n`;
/** With {@linkcode FAKE}, the password is `e`. */
const USERS = `basic_auth_users: {alice: ${decoyHash()}}\n`;
const TLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n";

/** Options that reload the file for every request and accept the end of the hash as the password. */
const FAKE: Partial<WebGuardOptions> = {
  reloadIntervalMs: 0,
  compare: (password, hash) => Promise.resolve(password !== "" && hash.endsWith(password)),
};

/** A guard whose file the test writes. */
class TestGuard implements AsyncDisposable {
  readonly logLines: string[] = [];
  readonly #folder = new TemporaryFolder();
  #guard: WebGuard | undefined;

  async open(text: string, options = FAKE): Promise<WebGuard> {
    return this.#guard = await WebGuard.open({
      path: this.write(text),
      server: "deno",
      log: createLog({ level: "INFO", format: "text", write: (line) => this.logLines.push(line) }),
      ...options,
    });
  }

  write(text: string, name = "web.yml"): string {
    return this.#folder.write(name, text);
  }

  writePair({ cert, key }: { cert: string; key: string }): void {
    this.write(cert, "cert.pem");
    this.write(key, "key.pem");
  }

  /** Status of the response to a request with these credentials; 200 if it is admitted. */
  async status(credentials?: string): Promise<number> {
    const headers: HeadersInit = credentials === undefined ? {} : { authorization: `Basic ${btoa(credentials)}` };
    const response = await this.#guard?.check(new Request("http://localhost/metrics", { headers }));
    return response?.status ?? 200;
  }

  /** Logged levels and messages. */
  get log(): string[] {
    return this.logLines.map((line) => /level=(\w+ msg="[^"]*")/.exec(line)?.[1] ?? line);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#guard?.close();
    this.#folder[Symbol.dispose]();
    return Promise.resolve();
  }
}

Deno.test("WebGuard admits the users of the file, compared with bcrypt", async () => {
  await using test = new TestGuard();
  const guard = await test.open(SECRET, { reloadIntervalMs: 0 });
  assertEquals(guard.tls, undefined);
  assertEquals(await test.status("alice:secret"), 200);
  assertEquals(await test.status("alice:wrong"), 401);
  assertEquals(await test.status("mallory:secret"), 401);
  assertEquals(await test.status(), 401);
  assertEquals(test.logLines, []);
});

Deno.test("WebGuard sends WWW-Authenticate and Retry-After", async () => {
  await using test = new TestGuard();
  const guard = await test.open(`${USERS}rate_limit: {interval: 90s, burst: 1}\n`);
  const rejected = await guard.check(new Request("http://localhost/metrics"));
  assertEquals(rejected?.headers.get("www-authenticate"), 'Basic realm="ollama-exporter", charset="UTF-8"');
  assertEquals(await rejected?.text(), "Unauthorized\n");
  const limited = await guard.check(new Request("http://localhost/metrics"));
  assertEquals([limited?.status, limited?.headers.get("retry-after")], [429, "90"]);
});

Deno.test("WebGuard admits everyone if the file has no users", async () => {
  await using test = new TestGuard();
  await test.open("");
  assertEquals([await test.status(), await test.status("a:b")], [200, 200]);
});

Deno.test("WebGuard responds with 429 if passwords come faster than they can be compared", async () => {
  await using test = new TestGuard();
  const { promise, resolve } = Promise.withResolvers<void>();
  let isOpen = false;
  await test.open(USERS, { ...FAKE, compare: async () => (isOpen && await promise, false) });
  isOpen = true;
  const statuses: number[] = [];
  const flood = Array.from({ length: 50 }, async (_, n) => {
    statuses.push(await test.status(`alice:${n}`));
    if (statuses.length === 42) resolve();
  });
  await Promise.all(flood);
  assertEquals(statuses, [...Array(42).fill(429), ...Array(8).fill(401)]);
});

Deno.test("WebGuard reloads changed users and limits for the next request", async () => {
  await using test = new TestGuard();
  await test.open(USERS);
  assertEquals(await test.status("alice:e"), 200);
  test.write(USERS.replace("alice", "bob"));
  assertEquals([await test.status("alice:e"), await test.status("bob:e")], [401, 200]);
  test.write("rate_limit: {interval: 1h, burst: 1}\n");
  assertEquals([await test.status(), await test.status()], [200, 429]);
  test.write(`${USERS}rate_limit: {interval: 1h, burst: 1}\n`);
  assertEquals(await test.status("alice:e"), 429, "an unchanged limit keeps its tokens");
  test.write(USERS);
  assertEquals([await test.status("alice:e"), await test.status()], [200, 401]);
  assertEquals(test.log, Array(4).fill('INFO msg="Reloaded web config"'));
});

Deno.test("WebGuard caches comparisons while other parts of the file change", async () => {
  await using test = new TestGuard();
  let comparisons = 0;
  await test.open(USERS, { ...FAKE, compare: () => Promise.resolve(++comparisons > 0) });
  comparisons = 0;
  await test.status("alice:e");
  test.write(`${USERS}rate_limit: {interval: 1ms, burst: 100}\n`);
  await test.status("alice:e");
  test.write(`# The same users\n${USERS}`);
  await test.status("alice:e");
  assertEquals(comparisons, 1);
});

Deno.test("WebGuard keeps the previous config while the file is invalid, and logs each error once", async () => {
  await using test = new TestGuard();
  await test.open(USERS);
  const path = test.write("basic_auth_users: {alice: *");
  for (let n = 0; n < 3; n++) assertEquals([await test.status("alice:e"), await test.status()], [200, 401]);
  assertEquals(test.log, ['ERROR msg="Error reloading web config, keeping the previous one"']);
  assertStringIncludes(test.logLines[0] ?? "", `${path}: Line 1, column 28: `);
  test.write("basic_auth_users: {alice: password}\n");
  assertEquals(await test.status(), 401);
  Deno.removeSync(path);
  assertEquals(await test.status(), 401);
  assertEquals(test.log.map((line) => line.split(" ")[0]), ["ERROR", "ERROR", "ERROR"], "each has another error");
  test.write(USERS);
  assertEquals(await test.status("alice:e"), 200);
  assertEquals(test.log.slice(3), ['INFO msg="Reloaded web config"']);
});

Deno.test("WebGuard keeps authentication while the file is empty", async () => {
  await using test = new TestGuard();
  await test.open(`${USERS}rate_limit: {interval: 1ms, burst: 100}\n`);
  for (const text of ["", "# users:\n", "basic_auth_users:\n", "basic_auth_users: {}\n"]) {
    test.write(text);
    assertEquals(await test.status(), 401, text);
  }
});

Deno.test("WebGuard rejects adding TLS without a restart", async () => {
  await using test = new TestGuard();
  test.writePair(FIRST);
  await test.open(USERS);
  test.write(TLS);
  assertEquals(await test.status(), 401);
  assertStringIncludes(test.logLines[0] ?? "", "adding or removing tls_server_config requires a restart");
});

Deno.test("WebGuard passes on a changed certificate once it matches its key", async () => {
  await using test = new TestGuard();
  test.writePair(FIRST);
  const changes: TlsConfig[] = [];
  const guard = await test.open(TLS, { ...FAKE, onTlsChange: (tls) => changes.push(tls) });
  assertEquals(guard.tls, { ...FIRST, minVersion: "TLS12" });
  await test.status();
  test.write(SECOND.cert, "cert.pem");
  await test.status();
  assertEquals([guard.tls?.cert, changes], [FIRST.cert, []]);
  test.write(SECOND.key, "key.pem");
  await test.status();
  await test.status();
  test.write(`${TLS}rate_limit: {interval: 1ms, burst: 100}\n`);
  await test.status();
  assertEquals(changes, [{ ...SECOND, minVersion: "TLS12" }]);
  assertEquals(guard.tls, changes[0]);
});

Deno.test("WebGuard logs that a changed certificate requires a restart without onTlsChange", async () => {
  await using test = new TestGuard();
  test.writePair(FIRST);
  await test.open(TLS);
  test.writePair(SECOND);
  await test.status();
  await test.status();
  assertEquals(test.log.filter((line) => line.startsWith("WARN")), [
    'WARN msg="TLS certificate has changed, restart required to use it"',
  ]);
});

/** Options of a guard that reloads only on request. */
const ON_REQUEST = { ...FAKE, reloadIntervalMs: 3_600_000 };

Deno.test("WebGuard.reload() reloads the file before the interval has passed", async () => {
  await using test = new TestGuard();
  const guard = await test.open(USERS, ON_REQUEST);
  test.write(USERS.replace("alice", "bob"));
  assertEquals(await test.status("alice:e"), 200);
  await guard.reload();
  assertEquals(await test.status("alice:e"), 401);
});

Deno.test("WebGuard.reload() logs each result, also if nothing has changed", async () => {
  await using test = new TestGuard();
  const guard = await test.open(USERS, ON_REQUEST);
  await guard.reload();
  await guard.reload();
  test.write("basic_auth_users: {alice: *");
  await guard.reload();
  await guard.reload();
  assertEquals([await test.status("alice:e"), await test.status()], [200, 401]);
  const error = 'ERROR msg="Error reloading web config, keeping the previous one"';
  assertEquals(test.log, [...Array(2).fill('INFO msg="Reloaded web config"'), error, error]);
});

Deno.test("WebGuard.reload() reads the file again for a request during a reload, once for all of them", async () => {
  await using test = new TestGuard();
  const guard = await test.open(USERS, ON_REQUEST);
  const reload = guard.reload();
  // The reload may have read the file by now, or not.
  test.write(USERS.replace("alice", "bob"));
  assertStrictEquals(guard.reload(), reload);
  assertStrictEquals(guard.reload(), reload);
  await reload;
  assertEquals([await test.status("bob:e"), test.logLines.length], [200, 2]);
});

Deno.test("WebGuard says whether the file in use is that on disk, and since when", async () => {
  const now = (): number => Date.now() / 1000;
  await using test = new TestGuard();
  const openedAfter = now();
  const guard = await test.open(USERS);
  const openedAt = guard.loadedAtSeconds;
  assert(guard.isCurrent && openedAt >= openedAfter && openedAt <= now());
  await test.status();
  assertEquals([guard.isCurrent, guard.loadedAtSeconds], [true, openedAt], "nothing has changed");
  test.write("basic_auth_users: {alice: *");
  await test.status();
  await guard.reload();
  assertEquals([guard.isCurrent, guard.loadedAtSeconds], [false, openedAt]);
  for (
    const reload of [
      () => (test.write(USERS), test.status()),
      () => (test.write(USERS.replace("alice", "bob")), test.status()),
      () => guard.reload(),
    ]
  ) {
    const reloadedAfter = now();
    await reload();
    assert(guard.isCurrent && guard.loadedAtSeconds >= reloadedAfter && guard.loadedAtSeconds <= now());
  }
});

Deno.test("WebGuard.open() throws if the file is invalid or passwords cannot be compared", async () => {
  await using test = new TestGuard();
  await assertRejects(() => test.open("basic_auth: {}\n"), UserError, "unknown key basic_auth");
  const compare = (): Promise<boolean> => Promise.reject(new Error("No thread"));
  await assertRejects(
    () => test.open(USERS, { ...FAKE, compare }),
    UserError,
    "cannot check passwords of basic_auth_users: No thread",
  );
});

Deno.test("WebGuard.check() throws if a password cannot be compared", async () => {
  await using test = new TestGuard();
  let isBroken = false;
  const compare = (): Promise<boolean> => isBroken ? Promise.reject(new Error("No thread")) : Promise.resolve(true);
  await test.open(USERS, { ...FAKE, compare });
  isBroken = true;
  await assertRejects(() => test.status("alice:e"), Error, "No thread");
});
