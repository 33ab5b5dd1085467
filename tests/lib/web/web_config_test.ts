import { assertEquals } from "@std/assert";
import { decoyHash } from "../../../lib/web/bcrypt.ts";
import type { WebServer } from "../../../lib/settings/settings.ts";
import { loadWebConfig, type WebConfig } from "../../../lib/web/web_config.ts";
import { FIRST, SECOND } from "../../support/certificates.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

const HASH = decoyHash(10);
const NOTHING: WebConfig = { tls: undefined, users: undefined, rateLimit: undefined };

/** Parsed contents of a file, next to the first certificate and its key. */
async function configOf(text: string, server: WebServer = "deno"): Promise<WebConfig> {
  using folder = new TemporaryFolder();
  folder.write("cert.pem", FIRST.cert);
  folder.write("key.pem", FIRST.key);
  return await loadWebConfig(folder.write("web.yml", text), server);
}

/** Problems of a file, next to the first certificate, its key and another key. */
async function problems(text: string, server: WebServer = "deno"): Promise<string[]> {
  using folder = new TemporaryFolder();
  folder.write("cert.pem", FIRST.cert);
  folder.write("key.pem", FIRST.key);
  folder.write("other.pem", SECOND.key);
  const lines = await problemsOf(folder.write("web.yml", text), (path) => loadWebConfig(path, server));
  return lines.map((line) => line.replaceAll(`${folder.path}/`, ""));
}

Deno.test("loadWebConfig() reads certificate and key, users and rate limit", async () => {
  const text = `tls_server_config:
  cert_file: cert.pem
  key_file: ./key.pem
basic_auth_users:
  alice: ${HASH}
  zoë: ${HASH.replace("2b", "2y")}
  null: '${HASH.replace("2b", "2a")}'
rate_limit:
  interval: 1m0.5s
  burst: 20
`;
  assertEquals(await configOf(text), {
    tls: { cert: FIRST.cert, key: FIRST.key, minVersion: "TLS12" },
    users: new Map([["alice", HASH], ["zoë", HASH.replace("2b", "2y")], ["null", HASH.replace("2b", "2a")]]),
    rateLimit: { intervalMs: 60_500, burst: 20 },
  });
});

Deno.test("loadWebConfig() returns undefined for absent and disabled sections", async () => {
  assertEquals(await configOf(""), NOTHING);
  assertEquals(await configOf("basic_auth_users: {}\n"), NOTHING);
  assertEquals(await configOf("rate_limit: {interval: 0}\n"), NOTHING);
  assertEquals(await configOf("rate_limit: {interval: 0s, burst: 5}\n"), NOTHING);
});

Deno.test("loadWebConfig() returns a certificate and key that a server accepts", async () => {
  const { tls } = await configOf("tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS12}\n");
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {}, cert: tls?.cert ?? "", key: tls?.key ?? "" },
    () => new Response("Hello"),
  );
  using client = Deno.createHttpClient({ caCerts: [FIRST.cert], http2: false });
  const response = await fetch(`https://127.0.0.1:${server.addr.port}/`, { client });
  assertEquals(await response.text(), "Hello");
  await server.shutdown();
});

Deno.test("loadWebConfig() resolves relative paths against the folder of the file", async () => {
  using folder = new TemporaryFolder();
  const cert = folder.write("cert.pem", FIRST.cert);
  Deno.mkdirSync(`${folder.path}/sub`);
  folder.write("key.pem", FIRST.key);
  const path = folder.write("sub/web.yml", `tls_server_config: {cert_file: ${cert}, key_file: ../key.pem}\n`);
  assertEquals((await loadWebConfig(path, "deno")).tls?.key, FIRST.key);
});

Deno.test("loadWebConfig() accepts chains, and certificate and key in one file", async () => {
  using folder = new TemporaryFolder();
  const both = folder.write("both.pem", `Subject: first\n${FIRST.key}${FIRST.cert}${SECOND.cert}`);
  const path = folder.write("web.yml", `tls_server_config: {cert_file: ${both}, key_file: ${both}}\n`);
  assertEquals((await loadWebConfig(path, "deno")).tls?.minVersion, "TLS12");
});

Deno.test("loadWebConfig() accepts TLS13 only for servers that support it", async () => {
  const text = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS13}\n";
  assertEquals((await configOf(text, "node")).tls?.minVersion, "TLS13");
  assertEquals(await problems(text, "deno"), [
    'tls_server_config.min_version: expected `TLS12` (`TLS13` requires the server `node`), got "TLS13"',
  ]);
  assertEquals(await problems(text.replace("TLS13", "TLS11"), "node"), [
    'tls_server_config.min_version: expected `TLS12` or `TLS13`, got "TLS11"',
  ]);
});

Deno.test("loadWebConfig() reports all problems at once", async () => {
  const text = `tls_server_config:
  key_file: none.pem
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
http_server_config: {http2: false}
basic_auth_users:
  alice: secret
  bob: [x]
  carol: ${HASH}secret
  dave: ${HASH.replace("$10$", "$31$")}
  "a:b": ${HASH}
rate_limit:
  interval: 5
  brust: 2
`;
  const expected = 'expected a bcrypt hash with a cost of 4 to 16, such as `htpasswd -nBC 10 ""` prints';
  assertEquals(await problems(text), [
    "unknown key tls_server_config.client_ca_file: expected one of cert_file, key_file, min_version",
    "unknown key tls_server_config.client_auth_type: expected one of cert_file, key_file, min_version",
    "missing key tls_server_config.cert_file",
    "unknown key http_server_config: expected one of tls_server_config, basic_auth_users, rate_limit",
    `basic_auth_users.alice: ${expected}`,
    `basic_auth_users.bob: ${expected}`,
    `basic_auth_users.carol: ${expected}`,
    `basic_auth_users.dave: ${expected}`,
    "basic_auth_users.a:b: a user name must not contain a colon",
    'rate_limit.interval: expected a duration up to `24h`, such as `250ms` or `1s`, or `0` for no limit, got "5"',
    "unknown key rate_limit.brust: expected one of interval, burst",
    `tls_server_config.key_file: cannot read "none.pem": No such file or directory`,
  ]);
});

Deno.test("loadWebConfig() accepts intervals of a rate limit up to 24 hours", async () => {
  const text = (interval: string): string => `rate_limit: {interval: ${interval}, burst: 1}\n`;
  assertEquals((await configOf(text("24h"))).rateLimit, { intervalMs: 86_400_000, burst: 1 });
  assertEquals((await problems(text("24h1ns"))).length, 1);
});

Deno.test("loadWebConfig() rejects empty sections, which may be half written", async () => {
  assertEquals(await problems("tls_server_config:\nbasic_auth_users:\nrate_limit:\n"), [
    "missing key tls_server_config.cert_file",
    "missing key tls_server_config.key_file",
    "basic_auth_users: expected a mapping of user names to bcrypt hashes, got nothing",
    "missing key rate_limit.interval",
  ]);
  assertEquals(await problems("rate_limit: {interval: 1s}\n"), ["missing key rate_limit.burst"]);
  assertEquals(await problems("rate_limit: {interval: 1s, burst: 0}\n"), [
    'rate_limit.burst: expected an integer from 1 to 1000000, got "0"',
  ]);
  assertEquals(await problems("basic_auth_users: [alice]\n"), ["basic_auth_users: expected a mapping, got a list"]);
  assertEquals(await problems("basic_auth_users:\n  alice:hunter2\n"), [
    "basic_auth_users: expected a mapping of user names to bcrypt hashes, got a text",
  ]);
});

Deno.test("loadWebConfig() checks that certificate and key match", async () => {
  const tls = (cert: string, key: string): string => `tls_server_config: {cert_file: ${cert}, key_file: ${key}}\n`;
  assertEquals(await problems(tls("cert.pem", "other.pem")), [
    "tls_server_config.key_file: private key does not match the certificate in tls_server_config.cert_file",
  ]);
  assertEquals(await problems(tls("key.pem", "cert.pem")), [
    "tls_server_config.cert_file: no PEM certificate found",
    "tls_server_config.key_file: no unencrypted PEM private key found",
  ]);
});

Deno.test("loadWebConfig() reports syntax errors and a missing file", async () => {
  assertEquals(await problems("basic_auth_users:\n  alice: *secret\n"), [
    "Line 2, column 17: Cannot read alias: unidentified alias …",
  ]);
  using folder = new TemporaryFolder();
  const [problem] = await problemsOf(`${folder.path}/none.yml`, (path) => loadWebConfig(path, "deno"));
  assertEquals(problem?.split(":")[0], "No such file or directory");
});
