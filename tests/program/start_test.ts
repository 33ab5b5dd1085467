/** The program as a process: files that settings name, and what it says of those that it cannot use. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { SETTINGS } from "../../lib/settings/settings.ts";
import { START_FLAGS } from "../../tools/start_flags.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CA } from "../support/certificates.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { CHAT, Scrape, until } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { ask } from "../support/raw_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { TlsUpstream } from "../support/tls_upstream.ts";

/** Settings and files that are wrong in many ways, in this folder. */
function wrong(folder: TemporaryFolder): { args: string[]; variables: Record<string, string> } {
  folder.write(
    "web.yml",
    "tls_server_config: { cert_file: no.crt, key_file: no.key }\nbasic_auth_users: alice:hunter2\n",
  );
  folder.write("headers", "Host: hunter2\n");
  folder.write("keys", "hunter2 alice\n");
  return {
    args: ["--log.level=INFO", "--log.level=DEBUG", "--web.metrics-listen-address=localhost:9000"],
    variables: {
      OLLAMA_HOST: "http://user:hunter2@localhost:11434",
      LISTEN_ADDRESS: "0.0.0.0:9000",
      OLLAMA_CA_FILE: `${folder.path}/no.pem`,
      OLLAMA_HEADERS_FILE: `${folder.path}/headers`,
      CLIENT_LABEL: "header:Authorization",
      CLIENT_KEYS_FILE: `${folder.path}/keys`,
      TRUSTED_PROXIES: "10.0.0.0/33",
      WEB_CONFIG_FILE: `${folder.path}/web.yml`,
      LOG_CONFIG: folder.path,
    },
  };
}

/** The problems, one per line, without the folder. */
const PROBLEMS = [
  "--log.level: given more than once",
  `OLLAMA_HOST: expected ${SETTINGS.ollamaHost.accepts}, got "http://***@localhost:11434"`,
  '--web.metrics-listen-address: expected an address or port that LISTEN_ADDRESS does not use, got "localhost:9000"',
  "LOG_CONFIG: FOLDER: Is a directory",
  "WEB_CONFIG_FILE: FOLDER/web.yml: basic_auth_users: expected a mapping of user names to bcrypt hashes, got a text",
  'WEB_CONFIG_FILE: FOLDER/web.yml: tls_server_config.cert_file: cannot read "FOLDER/no.crt": No such file or directory',
  'WEB_CONFIG_FILE: FOLDER/web.yml: tls_server_config.key_file: cannot read "FOLDER/no.key": No such file or directory',
  "OLLAMA_CA_FILE: FOLDER/no.pem: No such file or directory",
  "OLLAMA_HEADERS_FILE: FOLDER/headers: Line 1: the header Host cannot be set",
  `CLIENT_LABEL: expected ${SETTINGS.clientLabel.accepts}, got "header:Authorization"`,
  "CLIENT_KEYS_FILE: FOLDER/keys: Line 1: expected `SHA-256 name`: 64 hexadecimal digits, a space and a name of up to " +
  "64 printable characters",
  `TRUSTED_PROXIES: expected ${SETTINGS.trustedProxies.accepts}, got "10.0.0.0/33"`,
];

/** Lines of a program that fails to start. */
async function failureOf(options: ConstructorParameters<typeof Program>[0]): Promise<string[]> {
  await using program = new Program(options);
  assertEquals(await program.exitCode(), 1, program.lines.join("\n"));
  assertEquals(program.output, []);
  return program.lines;
}

Deno.test("main names all settings and files that are wrong at once, and no secret in them", async () => {
  using folder = new TemporaryFolder();
  const lines = (await failureOf(wrong(folder))).map((line) => line.replaceAll(folder.path, "FOLDER"));
  assertEquals(lines.toSorted(), PROBLEMS.toSorted());
});

Deno.test({
  name: "main does not listen elsewhere where it cannot use the sockets that systemd passed, or is to use one",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const cases = [
      { variables: { LISTEN_FDS: "2" }, error: 'LISTEN_FDS: expected one socket from systemd, got "2"' },
      {
        variables: { LISTEN_FDS: "1", WEB_SERVER: "deno" },
        error: 'WEB_SERVER: expected `auto` or `node` with a socket from systemd, got "deno"',
      },
      { variables: { SYSTEMD_SOCKET: "true" }, error: "SYSTEMD_SOCKET: expected a socket from systemd, got none" },
    ];
    for (const { variables, error } of cases) {
      const program = [Deno.execPath(), "run", ...START_FLAGS, "main.ts"];
      const { code, stderr } = await new Deno.Command("timeout", {
        args: ["60", "sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', ...program],
        cwd: REPOSITORY,
        env: { ...variables, LISTEN_ADDRESS: "127.0.0.1:0" },
      }).output();
      assertEquals([code, new TextDecoder().decode(stderr)], [1, `${error}\n`]);
    }
  },
});

Deno.test("main reports what is wrong at start as JSON where the log is JSON", async () => {
  using folder = new TemporaryFolder();
  const { args, variables } = wrong(folder);
  const logConfig = folder.write("log.yaml", "format: json\n");
  const own = { args: [], variables: { OLLAMA_HOST: "localhost:99999" } };
  const port = `OLLAMA_HOST: expected ${SETTINGS.ollamaHost.accepts}, got "localhost:99999"`;
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${listener.addr.port}`;
  const cases = [
    { options: { args, variables: { ...variables, LOG_FORMAT: "json" } }, errors: PROBLEMS },
    { options: { ...own, args: ["--log.format=json"] }, errors: [port] },
    { options: { ...own, args: ["--log.config", logConfig] }, errors: [port] },
    { options: { variables: { LOG_FORMAT: "json", LISTEN_ADDRESS: address } }, errors: [/^Cannot listen .* in use/] },
  ];
  for (const { options, errors } of cases) {
    const lines = (await failureOf(options)).map((line) => JSON.parse(line.replaceAll(folder.path, "FOLDER")));
    assertEquals(lines.length, errors.length);
    for (const { time, level, msg, error, ...rest } of lines) {
      assertEquals([level, msg, rest], ["ERROR", "Cannot start", {}]);
      assert(!Number.isNaN(Date.parse(time)), time);
      assert(
        errors.some((expected) => typeof expected === "string" ? expected === error : expected.test(error)),
        error,
      );
    }
  }
  const [line = ""] = await failureOf({ args: ["--log.format=JSON"] });
  assertMatch(line, /^--log.format: expected /);
});

Deno.test("main says which folders may have the log file, and none of Deno's flags", async () => {
  using folder = new TemporaryFolder();
  const config = folder.write("log.yaml", "file: { path: own.log }\n");
  assertEquals(await failureOf({ args: ["--log.config", config] }), [
    `--log.config: Cannot open log file ${folder.path}/own.log: expected a path in the working directory or ` +
    "/var/log/ollama-exporter",
  ]);
  assert(START_FLAGS.includes("--allow-write=.,/var/log/ollama-exporter"));
});

Deno.test("main trusts the CA file for clients' requests and for its own", async () => {
  using folder = new TemporaryFolder();
  await using fake = await startFakeOllama();
  await using upstream = new TlsUpstream(fake);
  const variables = { OLLAMA_HOST: upstream.url, OLLAMA_CA_FILE: folder.write("ca.pem", CA) };
  await using program = new Program({ variables });
  await program.line('msg="Ollama is reachable"');
  const port = await program.port();
  assertEquals((await ask(port, "POST /api/chat", [], JSON.stringify(CHAT))).status, 200);
  assertEquals(new Scrape((await ask(port, "GET /metrics")).body).value("ollama_up"), 1);
});

Deno.test("main sends the headers file with its own requests, follows its changes and never prints its values", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write("headers", "Authorization: Bearer hunter2\n");
  let token = "Bearer hunter3";
  await using fake = await startFakeOllama({
    script: async (request, connection) => {
      if (request.headers("authorization")[0] === token) return;
      await connection.writeLast("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
      return true;
    },
  });
  await using program = new Program({
    variables: { OLLAMA_HOST: fake.url, OLLAMA_HEADERS_FILE: path, LOG_LEVEL: "DEBUG" },
  });
  await program.line('error="/api/version: unauthorized (status 401)"');
  const port = await program.port();
  const ready = await ask(port, "GET /-/ready");
  assertEquals(ready.status, 503);
  assertStringIncludes(ready.body, "/api/version: unauthorized (status 401)");
  const up = async (): Promise<number | undefined> =>
    new Scrape((await ask(port, "GET /metrics")).body).value("ollama_up");
  assertEquals(await up(), 0);
  folder.write("headers", `Authorization: ${token}\n`);
  await until(async () => await up() === 1, "the new token is used");
  await program.line('msg="Reloaded headers for Ollama"');
  folder.write("headers", "hunter4\n");
  await until(async () => {
    assertEquals(await up(), 1);
    return program.lines.some((line) => line.includes("Error reloading headers"));
  }, "the error is logged");
  token = "";
  assertEquals((await ask(port, "POST /api/chat", [], JSON.stringify(CHAT))).status, 401, "clients bring their own");
  assert(!program.lines.some((line) => line.includes("hunter")), program.lines.join("\n"));
});

Deno.test({
  name: "main names clients by the keys file, follows its changes and never prints a key or a hash",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    using folder = new TemporaryFolder();
    // SHA-256 of `hunter2`.
    const hash = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    const path = folder.write("keys", `${hash} alice\n`);
    await using fake = await startFakeOllama();
    await using program = new Program({
      variables: {
        OLLAMA_HOST: fake.url,
        CLIENT_LABEL: "api-key",
        CLIENT_KEYS_FILE: path,
        METRICS_LISTEN_ADDRESS: "127.0.0.1:0",
        LOG_LEVEL: "DEBUG",
      },
    });
    const [port, metricsPort] = [await program.port(), await program.metricsPort()];
    const metrics = async (): Promise<string> => (await ask(metricsPort, "GET /metrics")).body;
    const chat = (header: string): Promise<unknown> => ask(port, "POST /api/chat", [header], JSON.stringify(CHAT));
    const ok = async (client: string): Promise<number | undefined> =>
      new Scrape(await metrics()).value("ollama_client_requests_total", { client, outcome: "ok" });
    await chat("Authorization: Bearer hunter2");
    await chat("Authorization: Bearer hunter3");
    await until(async () => await ok("alice") === 1 && await ok("unknown") === 1, "both were counted");
    folder.write("keys", `${hash} bob\n`);
    program.kill("SIGHUP");
    await program.line('msg="Reloaded client keys"');
    await chat("X-Api-Key: hunter2");
    await until(async () => await ok("bob") === 1, "the new name was counted");
    folder.write("keys", "hunter2 bob\n");
    program.kill("SIGHUP");
    await program.line('msg="Error reloading client keys, keeping the previous ones"');
    await chat("X-Api-Key: hunter2");
    await until(async () => await ok("bob") === 2, "the previous name was counted");
    const text = [...program.lines, await metrics()].join("\n");
    assert(!text.includes("hunter") && !text.includes(hash), text);
    assertStringIncludes(text, "client=bob");
  },
});
