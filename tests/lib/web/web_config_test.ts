import { assertEquals } from "@std/assert";
import { decoyHash } from "../../../lib/web/bcrypt.ts";
import type { WebServer } from "../../../lib/settings/settings.ts";
import { loadWebConfig, type WebConfig } from "../../../lib/web/web_config.ts";
import { FIRST, SECOND } from "../../support/certificates.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

const HASH = decoyHash(10);
const NOTHING: WebConfig = { tls: undefined, users: undefined, rateLimit: undefined };

/** What a file says, beside which the first certificate and its key lie. */
async function configOf(text: string, server: WebServer = "deno"): Promise<WebConfig> {
  using folder = new TemporaryFolder();
  folder.write("cert.pem", FIRST.cert);
  folder.write("key.pem", FIRST.key);
  return await loadWebConfig(folder.write("web.yml", text), server);
}

/** What is wrong with a file, beside which the first certificate, its key and another key lie. */
async function problems(text: string, server: WebServer = "deno"): Promise<string[]> {
  using folder = new TemporaryFolder();
  folder.write("cert.pem", FIRST.cert);
  folder.write("key.pem", FIRST.key);
  folder.write("other.pem", SECOND.key);
  const lines = await problemsOf(folder.write("web.yml", text), (path) => loadWebConfig(path, server));
  return lines.map((line) => line.replaceAll(`${folder.path}/`, ""));
}

Deno.test("loadWebConfig() reads certificate and key beside the file, users and a rate limit", async () => {
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

Deno.test("loadWebConfig() leaves out what the file does not say", async () => {
  assertEquals(await configOf(""), NOTHING);
  assertEquals(await configOf("basic_auth_users: {}\n"), NOTHING);
  assertEquals(await configOf("rate_limit: {interval: 0}\n"), NOTHING);
  assertEquals(await configOf("rate_limit: {interval: 0s, burst: 5}\n"), NOTHING);
});

Deno.test("loadWebConfig() gives what a server can use", async () => {
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

Deno.test("loadWebConfig() takes paths from the file's folder, unless they are absolute", async () => {
  using folder = new TemporaryFolder();
  const cert = folder.write("cert.pem", FIRST.cert);
  Deno.mkdirSync(`${folder.path}/sub`);
  folder.write("key.pem", FIRST.key);
  const path = folder.write("sub/web.yml", `tls_server_config: {cert_file: ${cert}, key_file: ../key.pem}\n`);
  assertEquals((await loadWebConfig(path, "deno")).tls?.key, FIRST.key);
});

Deno.test("loadWebConfig() takes chains, and certificate and key in one file", async () => {
  using folder = new TemporaryFolder();
  const both = folder.write("both.pem", `Subject: first\n${FIRST.key}${FIRST.cert}${SECOND.cert}`);
  const path = folder.write("web.yml", `tls_server_config: {cert_file: ${both}, key_file: ${both}}\n`);
  assertEquals((await loadWebConfig(path, "deno")).tls?.minVersion, "TLS12");
});

Deno.test("loadWebConfig() asks for TLS 1.3 only where the server can", async () => {
  const text = "tls_server_config: {cert_file: cert.pem, key_file: key.pem, min_version: TLS13}\n";
  assertEquals((await configOf(text, "node")).tls?.minVersion, "TLS13");
  assertEquals(await problems(text, "deno"), [
    'tls_server_config.min_version is "TLS13"; accepted: `TLS12`; the server `deno` cannot refuse TLS 1.2, the ' +
    "server `node` can",
  ]);
  assertEquals(await problems(text.replace("TLS13", "TLS11"), "node"), [
    'tls_server_config.min_version is "TLS11"; accepted: `TLS12`, `TLS13`',
  ]);
});

Deno.test("loadWebConfig() names every key that it does not support, and all else that is wrong", async () => {
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
  const hashWanted = 'is something else than a bcrypt hash such as `htpasswd -nBC 10 ""` prints, of cost 4 to 16';
  assertEquals(await problems(text), [
    "tls_server_config.client_ca_file is not supported; supported: cert_file, key_file, min_version",
    "tls_server_config.client_auth_type is not supported; supported: cert_file, key_file, min_version",
    "tls_server_config.cert_file is missing",
    "http_server_config is not supported; supported: tls_server_config, basic_auth_users, rate_limit",
    `basic_auth_users.alice ${hashWanted}`,
    `basic_auth_users.bob ${hashWanted}`,
    `basic_auth_users.carol ${hashWanted}`,
    `basic_auth_users.dave ${hashWanted}`,
    "basic_auth_users.a:b has a colon, which a name cannot have",
    'rate_limit.interval is "5"; accepted: a duration such as `1s`, `250ms`, up to `24h`; `0` for no limit',
    "rate_limit.brust is not supported; supported: interval, burst",
    'tls_server_config.key_file "none.pem" cannot be read: No such file or directory (os error 2): stat ' +
    "'none.pem'",
  ]);
});

Deno.test("loadWebConfig() refuses sections that say nothing, since they may be half written", async () => {
  assertEquals(await problems("tls_server_config:\nbasic_auth_users:\nrate_limit:\n"), [
    "tls_server_config.cert_file is missing",
    "tls_server_config.key_file is missing",
    "basic_auth_users is empty; accepted: user names, each with its hash",
    "rate_limit.interval is missing",
  ]);
  assertEquals(await problems("rate_limit: {interval: 1s}\n"), ["rate_limit.burst is missing"]);
  assertEquals(await problems("rate_limit: {interval: 1s, burst: 0}\n"), [
    'rate_limit.burst is "0"; accepted: a whole number from 1 to 1000000',
  ]);
  assertEquals(await problems("basic_auth_users: [alice]\n"), ["basic_auth_users is a list; accepted: a mapping"]);
});

Deno.test("loadWebConfig() sees to it that certificate and key can be used together", async () => {
  const tls = (cert: string, key: string): string => `tls_server_config: {cert_file: ${cert}, key_file: ${key}}\n`;
  assertEquals(await problems(tls("cert.pem", "other.pem")), [
    "tls_server_config.key_file is not the key of the certificate in tls_server_config.cert_file",
  ]);
  assertEquals(await problems(tls("key.pem", "cert.pem")), [
    "tls_server_config.cert_file has no certificate in PEM",
    "tls_server_config.key_file has no private key in PEM without a passphrase",
  ]);
});

Deno.test("loadWebConfig() says where the file is broken, and that it is not there", async () => {
  assertEquals(await problems("basic_auth_users:\n  alice: *secret\n"), [
    "Line 2, column 17: Cannot read alias: unidentified alias …",
  ]);
  using folder = new TemporaryFolder();
  const [problem] = await problemsOf(`${folder.path}/none.yml`, (path) => loadWebConfig(path, "deno"));
  assertEquals(problem?.split(":")[0], "No such file or directory (os error 2)");
});
