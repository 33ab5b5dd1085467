/** The `health` command of the program, under its own permissions, beside an exporter that is a process too. */

import { assertEquals, assertMatch } from "@std/assert";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CERTIFICATES, type Pair } from "../support/certificates.ts";
import { answering } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Runs `ollama-exporter health`. */
async function health(variables: Record<string, string>): Promise<[code: number, output: string, errors: string]> {
  await using program = new Program({ args: ["health"], variables });
  return [await program.exitCode(), program.output.join("\n"), program.lines.join("\n")];
}

/** Writes a web config file with this certificate, and returns its path. */
function writeTls(folder: TemporaryFolder, { cert, key }: Pair): string {
  folder.write("cert.pem", cert);
  folder.write("key.pem", key);
  return folder.write("web.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n");
}

const HEALTHY = [0, "HTTP/1.1 200 OK", ""];

for (const server of ["deno", "node"]) {
  for (const [name, pair] of Object.entries(CERTIFICATES)) {
    Deno.test(`main exits with 0 for health with ${name} (${server})`, async () => {
      using folder = new TemporaryFolder();
      const variables = { WEB_SERVER: server, WEB_CONFIG_FILE: writeTls(folder, pair) };
      await using program = new Program({ variables });
      const address = { LISTEN_ADDRESS: `127.0.0.1:${await program.port()}` };
      // With this variable, node:https reads all certificates of the system, which the program must not.
      const extra = { NODE_EXTRA_CA_CERTS: `${folder.path}/cert.pem` };
      assertEquals(await health({ ...variables, ...address, ...extra }), HEALTHY);
    });
  }
}

Deno.test("main exits with 0 for health while the web config file on disk is not the one in use", async () => {
  using folder = new TemporaryFolder();
  const [first, second] = Object.values(CERTIFICATES);
  if (first === undefined || second === undefined) throw new Error("two certificates are needed");
  const variables = { WEB_CONFIG_FILE: writeTls(folder, first) };
  await using program = new Program({ variables });
  const address = { LISTEN_ADDRESS: `127.0.0.1:${await program.port()}` };
  folder.write("cert.pem", second.cert);
  assertEquals(await health({ ...variables, ...address }), HEALTHY);
  folder.write("web.yml", "basic_auth_users: {alice: *\n");
  assertEquals(await health({ ...variables, ...address }), HEALTHY);
});

Deno.test("main exits with 0 for health on a listen address of the admin endpoints", async () => {
  await using program = new Program({ variables: { METRICS_LISTEN_ADDRESS: "127.0.0.1:0" } });
  const port = await program.metricsPort();
  assertEquals(await health({ LISTEN_ADDRESS: ":1", METRICS_LISTEN_ADDRESS: `:${port}` }), HEALTHY);
});

Deno.test("main exits with 1 for health if nothing or something else listens", async () => {
  await using other = await startFakeOllama({
    script: answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
  });
  const address = new URL(other.url).host;
  assertEquals(await health({ LISTEN_ADDRESS: address }), [1, "HTTP/1.1 404 Not Found", ""]);
  await other.close();
  const [code, output, errors] = await health({ LISTEN_ADDRESS: address });
  assertEquals([code, output], [1, ""]);
  assertMatch(errors, /^Cannot reach the exporter at 127\.0\.0\.1:\d+: connect ECONNREFUSED/);
});

Deno.test("main exits with 1 for health with an invalid setting", async () => {
  const [code, output, errors] = await health({ LISTEN_ADDRESS: "nowhere" });
  assertEquals([code, output], [1, ""]);
  assertMatch(errors, /^LISTEN_ADDRESS: expected .*, got "nowhere"$/);
});
