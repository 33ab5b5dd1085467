/** What signals do to the program: in a terminal, and without one. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { FIRST, SECOND } from "../support/certificates.ts";
import { ROOT, testWith } from "../support/deployment.ts";
import { holdStreams, isRefused } from "../support/held_streams.ts";
import { CHAT, delay, Gate, Scrape, until } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { ask, RawClient } from "../support/raw_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";

/** The command of the README's quick start. */
const COMMAND = /^ {4}(npx .* task start)$/m.exec(Deno.readTextFileSync(`${ROOT}/README.md`))?.[1] ?? "";
/** Time after which a second signal counts, in milliseconds, and some more. */
const SECOND_SIGNAL_MS = 1100;

/** The README's command in a terminal, with open streams. */
async function inTerminal(
  story: (
    stage: { terminal: Terminal; clients: readonly RawClient[]; gate: Gate; fake: FakeOllama; port: number },
  ) => Promise<void>,
): Promise<void> {
  await using fake = await startFakeOllama();
  using gate = new Gate();
  holdStreams(fake, gate);
  await using terminal = new Terminal(COMMAND, { OLLAMA_HOST: fake.url, LISTEN_ADDRESS: "127.0.0.1:0" });
  const port = Number((await terminal.shows(/msg=Listening .* address=\S+:(\d+) /))[1]);
  const clients: RawClient[] = [];
  try {
    for (let n = 0; n < 3; n++) {
      const client = await RawClient.connect(port);
      clients.push(client);
      await client.request("POST /api/chat", [], JSON.stringify(CHAT));
      await client.sees("begin");
    }
    await story({ terminal, clients, gate, fake, port });
  } finally {
    for (const client of clients) client.close();
  }
}

/** The bodies that clients have received, and how they ended. */
async function bodies(clients: readonly RawClient[]): Promise<string[]> {
  const responses = await Promise.all(clients.map((client) => client.response()));
  return responses.map(({ body, end }) => `${body.replaceAll("\n", " ")}${end}`);
}

const WHOLE = Array(3).fill("begin end complete");
const BROKEN = Array(3).fill("begin broken");

testWith(["npx", "script"], "Ctrl-C lets open streams finish", async () => {
  await inTerminal(async ({ terminal, clients, gate, port }) => {
    await terminal.pressCtrlC();
    await terminal.shows(/msg=Stopping open_requests=3 /);
    await until(() => isRefused(port), "nothing more is accepted");
    // The task runner passes the signal on, so that it arrives twice.
    await delay(100);
    gate.open();
    assertEquals(await bodies(clients), WHOLE);
    await terminal.shows(/msg=Stopped open_requests=0/);
    await terminal.end();
  });
});

testWith(["npx", "script"], "A second Ctrl-C, a second later, breaks open streams off", async () => {
  await inTerminal(async ({ terminal, clients }) => {
    await terminal.pressCtrlC();
    await terminal.shows(/msg=Stopping open_requests=3 /);
    await delay(SECOND_SIGNAL_MS);
    await terminal.pressCtrlC();
    assertEquals(await bodies(clients), BROKEN);
    await terminal.shows(/msg=Stopped open_requests=3/);
    await terminal.end();
  });
});

testWith(
  ["npx", "script"],
  "A terminal that is closed lets open streams finish, and nothing more is accepted",
  async () => {
    await inTerminal(async ({ terminal, clients, gate, port }) => {
      await terminal.close();
      await until(() => isRefused(port), "nothing more is accepted");
      gate.open();
      assertEquals(await bodies(clients), WHOLE);
    });
  },
);

for (const signals of [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"], ["SIGINT", "SIGHUP"]] as const) {
  Deno.test(`main stops once for ${signals.join(" and ")} at once`, async () => {
    await using fake = await startFakeOllama();
    using gate = new Gate();
    holdStreams(fake, gate);
    await using program = new Program({ variables: { OLLAMA_HOST: fake.url } });
    using client = await RawClient.connect(await program.port());
    await client.request("POST /api/chat", [], JSON.stringify(CHAT));
    await client.sees("begin");
    for (const signal of signals) program.kill(signal);
    await program.line("msg=Stopping");
    await delay(100);
    gate.open();
    assertEquals(await bodies([client]), WHOLE.slice(0, 1));
    assertEquals(await program.exitCode(), 0);
    assertEquals(program.lines.filter((line) => /msg=Stop/.test(line)).length, 2, program.lines.join("\n"));
  });
}

Deno.test("main logs that there is nothing to reload on SIGHUP, and continues", async () => {
  await using program = new Program();
  const port = await program.port();
  program.kill("SIGHUP");
  assertMatch(
    await program.line("to reload"),
    /level=INFO msg="No configuration file to reload" settings="WEB_CONFIG_FILE,OLLAMA_HEADERS_FILE,CLIENT_KEYS_FILE"$/,
  );
  assertEquals((await ask(port, "GET /-/healthy")).status, 200);
  const scrape = new Scrape((await ask(port, "GET /metrics")).body);
  assertEquals(scrape.value("ollama_exporter_config_last_reload_successful"), undefined);
});

/** Whether the last reload succeeded, and when one did, as exposed. */
async function reloads(port: number): Promise<[successful: number | undefined, timestamp: number]> {
  const scrape = new Scrape((await ask(port, "GET /metrics")).body);
  const timestamp = scrape.value("ollama_exporter_config_last_reload_success_timestamp_seconds");
  return [scrape.value("ollama_exporter_config_last_reload_successful"), timestamp ?? NaN];
}

Deno.test("main reloads the web config file on SIGHUP, and keeps the previous one if it is invalid", async () => {
  using folder = new TemporaryFolder();
  const file = folder.write("web.yml", "rate_limit: {interval: 1ms, burst: 1000}\n");
  await using program = new Program({ variables: { WEB_CONFIG_FILE: file } });
  const port = await program.port();
  const [isLoaded, loadedAt] = await reloads(port);
  assert(isLoaded === 1 && loadedAt <= Date.now() / 1000, `${isLoaded} at ${loadedAt}`);
  folder.write("web.yml", "rate_limit: {interval: soon}\n");
  program.kill("SIGHUP");
  const error = await program.line("level=ERROR");
  assertMatch(
    error,
    /msg="Error reloading web config, keeping the previous one" error=.*rate_limit\.interval: expected/,
  );
  assertEquals(await reloads(port), [0, loadedAt]);
  const repairedAt = Date.now() / 1000;
  folder.write("web.yml", "rate_limit: {interval: 1ms, burst: 999}\n");
  program.kill("SIGHUP");
  await program.line('level=INFO msg="Reloaded web config"');
  const [isReloaded, reloadedAt] = await reloads(port);
  assert(isReloaded === 1 && reloadedAt >= repairedAt, `${isReloaded} at ${reloadedAt}`);
});

Deno.test("main serves a new certificate after SIGHUP, without a request for it (node)", async () => {
  using folder = new TemporaryFolder();
  const write = ({ cert, key }: typeof FIRST): void => {
    folder.write("cert.pem", cert);
    folder.write("key.pem", key);
  };
  write(FIRST);
  const file = folder.write("web.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n");
  await using program = new Program({ variables: { WEB_CONFIG_FILE: file, WEB_SERVER: "node" } });
  const port = await program.port();
  const statusWith = async ({ cert }: typeof FIRST): Promise<number> => {
    using client = Deno.createHttpClient({ caCerts: [cert] });
    const response = await fetch(`https://localhost:${port}/-/healthy`, { client });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await statusWith(FIRST), 200);
  write(SECOND);
  program.kill("SIGHUP");
  await program.line('msg="Reloaded web config"');
  assertEquals(await statusWith(SECOND), 200);
});
