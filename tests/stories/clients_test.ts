/** Who uses Ollama: the metrics of clients for each way to tell them apart, over real sockets and both listeners. */

import { assert, assertEquals } from "@std/assert";
import { clientIdentity } from "../../lib/clients/client_identity.ts";
import { ClientKeys } from "../../lib/clients/client_keys.ts";
import type { ClientLabel } from "../../lib/settings/client_label.ts";
import { parseSubnets } from "../../lib/settings/parse.ts";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import {
  answering,
  Gate,
  type Scrape,
  startExporter,
  startExporterOn,
  type TestExporterOptions,
  until,
} from "../support/helpers.ts";
import { ask } from "../support/raw_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const LIMIT = 50;

/** A chat of 26 prompt tokens and 5 generated ones. */
const TOKENS = JSON.stringify({ model: "m", done: true, done_reason: "stop", prompt_eval_count: 26, eval_count: 5 });
const OK = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${TOKENS.length}\r\n\r\n${TOKENS}`;
const UNAUTHORIZED = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const BODY = JSON.stringify({ model: "m", stream: false, messages: [] });

/** Options of an exporter that tells clients apart by this label. */
function by(
  label: ClientLabel,
  { trusted = "", keys }: { trusted?: string; keys?: ClientKeys } = {},
): TestExporterOptions {
  const clientOf = clientIdentity({ label, trustedProxies: parseSubnets(trusted) ?? [], keys });
  return { clients: { clientOf, limit: LIMIT } };
}

/** By client, its requests that ended ok and its others, its prompt tokens and its output tokens; without zeros. */
function totals(scrape: Scrape): Record<string, number[]> {
  const rows = scrape.labelValues("client").map((client): [string, number[]] => {
    const ok = scrape.value("ollama_client_requests_total", { client, outcome: "ok" }) ?? NaN;
    const all = scrape.value("ollama_client_requests_total", { client }) ?? NaN;
    const tokens = ["prompt", "output"].map((direction) =>
      scrape.value("ollama_client_tokens_total", { client, direction }) ?? NaN
    );
    return [client, [ok, all - ok, ...tokens]];
  });
  return Object.fromEntries(rows.filter(([, counts]) => counts.some((count) => count !== 0)));
}

/** Sends a chat with each of the lists of headers, one after the other, and returns the totals. */
async function chats(
  server: "deno" | "node",
  options: TestExporterOptions,
  ...lists: string[][]
): Promise<Record<string, number[]>> {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = await startExporterOn(server, fake, options);
  for (const headers of lists) assertEquals((await ask(exporter.port, "POST /api/chat", headers, BODY)).status, 200);
  await exporter.observation(lists.length);
  return totals(await exporter.scrape());
}

for (const server of WEB_SERVERS) {
  Deno.test(`createExporter() over ${server} counts requests and tokens by the program that sends them`, async () => {
    const agents = ["ollama-python/0.4.5 (x86_64 linux) Python/3.12", "curl/8.5.0", "ollama-python/0.5.0"];
    assertEquals(await chats(server, by("user-agent"), ...agents.map((agent) => [`User-Agent: ${agent}`]), []), {
      "ollama-python": [2, 0, 52, 10],
      "curl": [1, 0, 26, 5],
      "unknown": [1, 0, 26, 5],
    });
  });

  Deno.test(`createExporter() over ${server} counts requests and tokens by a header`, async () => {
    const values = ["alice", "Jürgen", "alice", "x".repeat(65), ""];
    assertEquals(await chats(server, by("header:remote-user"), ...values.map((value) => [`Remote-User: ${value}`])), {
      alice: [2, 0, 52, 10],
      Jürgen: [1, 0, 26, 5],
      unknown: [2, 0, 52, 10],
    });
  });

  Deno.test(`createExporter() over ${server} counts requests and tokens by address, and no spoofed one`, async () => {
    const lists = [[], ["X-Forwarded-For: 198.51.100.7"], ["X-Forwarded-For: 203.0.113.9, [2001:db8::7]:80"]];
    assertEquals(await chats(server, by("address"), ...lists), { "127.0.0.1": [3, 0, 78, 15] });
    assertEquals(await chats(server, by("address", { trusted: "10.0.0.1" }), ...lists), {
      "127.0.0.1": [3, 0, 78, 15],
    });
    assertEquals(await chats(server, by("address", { trusted: "127.0.0.0/8" }), ...lists), {
      "127.0.0.1": [1, 0, 26, 5],
      "198.51.100.7": [1, 0, 26, 5],
      "2001:db8::7": [1, 0, 26, 5],
    });
  });

  Deno.test(`createExporter() over ${server} counts requests and tokens by API key, and shows no key`, async () => {
    using folder = new TemporaryFolder();
    // SHA-256 of `sk-alice` and `sk-bob`.
    const alice = "099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c";
    const bob = "36c76b48bb2ee1d9d37140550e9d7ed7d395cf56f41050dc2a72e5291c0011f0";
    const path = folder.write("keys", `${alice} Alice\n${bob} Bob\n`);
    const keys = await ClientKeys.open({ path, onReload: () => {} });
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake, by("api-key", { keys }));
    const sent = [
      "Authorization: Bearer sk-alice",
      "X-Api-Key: sk-bob",
      "Authorization: Bearer sk-mallory",
      "X-Api-Key: sk-bob",
    ];
    for (const header of sent) await ask(exporter.port, "POST /api/chat", [header], BODY);
    await exporter.observation(sent.length);
    const scrape = await exporter.scrape();
    assertEquals(totals(scrape), { Alice: [1, 0, 26, 5], Bob: [2, 0, 52, 10], unknown: [1, 0, 26, 5] });
    const shown = [scrape.text, ...exporter.logLines, JSON.stringify(exporter.observations)].join("\n");
    for (const secret of ["sk-", alice, bob]) assert(!shown.includes(secret), secret);
    assertEquals(
      exporter.logLines.map((line) => / client=(\S+)/.exec(line)?.[1]).filter((name) => name !== undefined),
      [
        ...["Alice", "Bob", "unknown", "Bob"],
      ],
    );
  });
}

Deno.test("createExporter() has no metrics of clients by default", async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake);
  const response = await ask(
    exporter.port,
    "POST /api/chat",
    ["User-Agent: curl/8", "X-Forwarded-For: 10.0.0.1"],
    BODY,
  );
  assertEquals([response.status, (await exporter.observation()).client], [200, undefined]);
  const { text } = await exporter.scrape();
  assert(!text.includes("ollama_client_"), text);
  assert(!exporter.logLines.some((line) => line.includes("client=")));
});

Deno.test("createExporter() counts failed requests as those of an unknown client until one succeeds", async () => {
  await using fake = await startFakeOllama({ script: answering(UNAUTHORIZED) });
  await using exporter = startExporter(fake, by("header:remote-user"));
  const chat = async (name: string, n: number): Promise<void> => {
    await ask(exporter.port, "POST /api/chat", [`Remote-User: ${name}`], BODY);
    await exporter.observation(n);
  };
  for (let n = 1; n <= 60; n++) await chat(`name-${n}`, n);
  assertEquals(totals(await exporter.scrape()), { unknown: [0, 60, 0, 0] });
  fake.behaviour.script = answering(OK);
  await chat("name-1", 61);
  fake.behaviour.script = answering(UNAUTHORIZED);
  await chat("name-1", 62);
  assertEquals(totals(await exporter.scrape()), { "unknown": [0, 60, 0, 0], "name-1": [1, 1, 26, 5] });
  // What is not inference names nobody.
  await ask(exporter.port, "GET /api/tags", ["Remote-User: name-2"]);
  await exporter.observation(63);
  assertEquals((await exporter.scrape()).labelValues("client"), ["name-1", "other", "unknown"]);
});

Deno.test(`createExporter() counts the clients beyond ${LIMIT} as \`other\``, async () => {
  await using fake = await startFakeOllama({ script: answering(OK) });
  await using exporter = startExporter(fake, by("header:remote-user"));
  for (let n = 1; n <= LIMIT + 1; n++) {
    await ask(exporter.port, "POST /api/chat", [`Remote-User: name-${n}`], BODY);
    await exporter.observation(n);
  }
  const scrape = await exporter.scrape();
  const { other, "name-50": last, "name-51": beyond } = totals(scrape);
  assertEquals([other, last, beyond], [[1, 0, 26, 5], [1, 0, 26, 5], undefined]);
  assertEquals(scrape.labelValues("client").length, LIMIT + 2);
  const sum = (name: string): number | undefined => scrape.value(name);
  assertEquals([sum("ollama_client_requests_total"), sum("ollama_requests_total")], [51, 51]);
  assertEquals(
    scrape.value("ollama_client_tokens_total", { direction: "output" }),
    sum("ollama_tokens_generated_total"),
  );
});

Deno.test("createExporter() shows 0 for a client whose first request is open, and nothing if that fails", async () => {
  let answer = UNAUTHORIZED;
  let gate = new Gate();
  await using fake = await startFakeOllama({
    script: async (request, connection) => {
      if (request.method === "POST") await gate.opened;
      return await answering(answer)(request, connection);
    },
  });
  await using exporter = startExporter(fake, by("header:remote-user"));
  const totalsDuring = async (name: string): Promise<number | undefined> => {
    gate = new Gate();
    const chat = ask(exporter.port, "POST /api/chat", [`Remote-User: ${name}`], BODY);
    await until(() => exporter.openRequests.size === 1, "the request is open");
    const count = (await exporter.scrape()).value("ollama_client_requests_total", { client: name });
    gate.open();
    await chat;
    await until(() => exporter.openRequests.size === 0, "the request has ended");
    return count;
  };
  assertEquals(await totalsDuring("mallory"), 0);
  assertEquals((await exporter.scrape()).labelValues("client"), ["other", "unknown"]);
  answer = OK;
  // What `increase()` sees between these scrapes is what was sent.
  assertEquals(await totalsDuring("alice"), 0);
  assertEquals(totals(await exporter.scrape()), { unknown: [0, 1, 0, 0], alice: [1, 0, 26, 5] });
});
