/**
 * Popular clients from npm get the same through the exporter as from Ollama directly.
 *
 * They run in a process with dependencies of its own (`tests/program/sdk/deno.json`), which the exporter and its
 * executable do not load. To update their lock file, run in that folder:
 * `deno check --config deno.json --frozen=false main.ts`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type FakeOllama, type RecordedRequest, startFakeOllama } from "../fake_ollama/mod.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { startExporter } from "../support/helpers.ts";

const FOLDER = new URL("tests/program/sdk/", REPOSITORY);
const TOOL_CALLS = [{ name: "get_time", arguments: { tz: "Europe/Oslo" } }];
const CLIENTS = ["ollama", "openai", "@anthropic-ai/sdk", "ai"] as const;

/** Headers that may differ: those of the connection, and the length, which changes with the body. */
const OWN_HEADERS = ["host", "connection", "content-length", "x-forwarded-for", "accept-encoding", "accept-language"];

/** Starts a fake that calls tools if a header asks for it: always, or in every other response to an agent. */
async function startFake(): Promise<FakeOllama> {
  let agentRequests = 0;
  return await startFakeOllama({
    startMs: Date.parse("2026-08-21T10:00:00.123Z"),
    choose: (request) => {
      const wanted = request.header("x-fake-ollama");
      const isCalling = wanted === "tools" || wanted === "agent" && agentRequests++ % 2 === 0;
      return isCalling ? { toolCalls: TOOL_CALLS, tokens: 0 } : undefined;
    },
  });
}

/** Results, by client and story. */
type Results = Map<string, unknown>;

/** Runs the stories of all clients against a server. */
async function runStories(url: string): Promise<Results> {
  const config = new URL("deno.json", FOLDER).pathname;
  const main = new URL("main.ts", FOLDER).pathname;
  const flags = ["--check", "--no-prompt", "--allow-net", "--allow-env", "--allow-read", "--allow-sys"];
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "--config", config, ...flags, main, url] });
  const { success, stdout, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
  const lines = new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
  return new Map(lines.map(({ client, story, result }) => [`${client}: ${story}`, result]));
}

/** Returns the part of a request that is the same directly and through the exporter. */
function summaryOf({ method, target, rawHeaders, text }: RecordedRequest): unknown {
  const headers = rawHeaders
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !OWN_HEADERS.includes(name))
    // Form boundaries are random.
    .map(([name, value]) => [name, value.replace(/boundary=.*/, "")]);
  const isForm = rawHeaders.some(([, value]) => value.startsWith("multipart/"));
  const body = isForm || text === "" ? undefined : withoutAsking(JSON.parse(text));
  return { method, target, headers: Object.fromEntries(headers.sort()), body };
}

function withoutAsking({ stream_options: _, ...body }: Record<string, unknown>): unknown {
  return body;
}

Deno.test("createProxy() gives npm clients the same as Ollama", async (t) => {
  await using direct = await startFake();
  await using behind = await startFake();
  await using exporter = startExporter(behind, { openaiStreamUsage: true });
  const [expected, results] = await Promise.all([runStories(direct.url), runStories(exporter.url)]);

  for (const client of CLIENTS) {
    await t.step(`${client} sees no difference`, () => {
      const names = [...expected.keys()].filter((name) => name.startsWith(`${client}: `));
      assert(names.length > 0);
      for (const name of names) assertEquals(results.get(name), expected.get(name), name);
    });
  }

  await t.step("Ollama gets the same requests", () => {
    assertEquals(behind.requests.map(summaryOf), direct.requests.map(summaryOf));
  });

  await t.step("all tokens are counted", async () => {
    const scrape = await exporter.scrape();
    assertEquals(scrape.value("ollama_usage_missing_total"), 0);
    assertEquals(scrape.value("ollama_exporter_parse_errors_total"), 0);
    assertEquals(scrape.value("ollama_request_outcomes_total", { outcome: "incomplete" }), 0);
    assertEquals(scrape.value("ollama_http_requests_total", { route: "other" }), undefined);
    for (const api of ["chat", "openai_chat", "openai_responses", "anthropic_messages"]) {
      const toolCalls = scrape.value("ollama_tool_calls_total", { model: "llama3.2:latest", api }) ?? 0;
      assert(toolCalls >= 1, api);
    }
  });
});

Deno.test("deno.lock has none of the npm clients", async () => {
  const read = async (url: URL) => JSON.parse(await Deno.readTextFile(url));
  const { imports } = await read(new URL("deno.json", FOLDER));
  const { npm } = await read(new URL("deno.lock", REPOSITORY));
  const own = Object.keys(npm).map((name) => name.slice(0, name.indexOf("@", 1)));
  assertEquals(own.filter((name) => Object.hasOwn(imports, name)), []);
  assert(own.includes("prom-client"));
});
