/** The complete exposition. `UPDATE_GOLDEN=1 deno task test` rewrites the golden file, whose diff is then reviewed. */

import { assert, assertEquals } from "@std/assert";
import { createExporter, type Exporter } from "../../../lib/exporter.ts";
import { createLog } from "../../../lib/log/log.ts";
import type { Observation, OpenRequest } from "../../../lib/observation.ts";
import { observationOf, REPOSITORY } from "../../support/fixtures.ts";

const GOLDEN = new URL("tests/golden/metrics.txt", REPOSITORY);
const FIXTURES = new URL("tests/fixtures/", REPOSITORY);

/** Creates an exporter whose Ollama responds with the fixtures, by path. */
function exporterOf(fixtures: Record<string, string>): Exporter {
  return createExporter({
    upstream: new URL("http://ollama.test:11434"),
    version: "0.0.0-test",
    homepage: "https://example.com/exporter",
    log: createLog({ level: "ERROR", format: "text", write: (line) => assert(false, line) }),
    metricsPath: "/metrics",
    modelLimit: 4,
    clients: { clientOf: () => "unknown", limit: 2 },
    probeTimeoutMs: 1000,
    openaiStreamUsage: true,
    slo: { firstTokenMs: 200, perTokenMs: undefined },
    allowedHosts: [],
    fetch: (url) => {
      const fixture = fixtures[new URL(url).pathname];
      if (fixture === undefined) return Promise.reject(new TypeError("client error (Connect)"));
      return Promise.resolve(new Response(Deno.readTextFileSync(new URL(fixture, FIXTURES))));
    },
  });
}

const CHAT = {
  model: "llama3.2",
  finishReason: "stop",
  promptTokens: 26,
  cachedTokens: 20,
  outputTokens: 5,
  totalSeconds: 0.25,
  loadSeconds: 0.052,
  promptEvalSeconds: 0.13,
  evalSeconds: 0.041,
} as const;
const TIMES = { isStream: true, durationSeconds: 0.3, firstOutputSeconds: 0.2, lastOutputSeconds: 0.25 };
const UNMEASURED = { api: undefined } as const;

/** Observations of each kind, so that every metric has a series. */
const OBSERVATIONS: Observation[] = [
  observationOf({
    ...TIMES,
    client: 'Jürgen "J"',
    requestBytes: 70,
    responseBytes: 948,
    usageExpected: true,
    report: CHAT,
  }),
  observationOf({ ...TIMES, client: "bob", report: { ...CHAT, finishReason: "tool_calls", toolCalls: 2 } }),
  observationOf({ outcome: "incomplete", report: { model: "llama3.2" }, parseErrors: { invalid_json: 1 } }),
  observationOf({ status: 404, outcome: "client_error", requestedModel: "missing", durationSeconds: 0.002 }),
  observationOf({ status: 502, outcome: "upstream_unreachable", upstreamError: "connect", durationSeconds: 0.001 }),
  observationOf({
    ...TIMES,
    client: "carol",
    route: "/v1/chat/completions",
    api: "openai_chat",
    report: { model: "llama3.2", finishReason: "length", promptTokens: 26, outputTokens: 5 },
  }),
  observationOf({
    route: "/v1/messages",
    api: "anthropic_messages",
    usageExpected: true,
    report: { model: "qwen3:30b" },
  }),
  observationOf({ ...TIMES, outcome: "client_closed", outputMessages: 3, report: { model: "llama3.2" } }),
  observationOf({ ...UNMEASURED, route: "/api/pull", operation: "pull", report: { transferBytes: 1321090399 } }),
  observationOf({ ...UNMEASURED, route: "/api/tags", method: "GET", responseBytes: 1270, durationSeconds: 0.004 }),
  observationOf({ ...UNMEASURED, route: "other", method: "PROPFIND", status: 405, outcome: "client_error" }),
];

async function expose(exporter: Exporter): Promise<string> {
  const state = await exporter.ollama.fetchState();
  const openRequests = exporter.openRequests as Set<OpenRequest>;
  openRequests.add({ api: "chat", model: "llama3.2", client: undefined, waiting: true });
  openRequests.add({ api: "chat", model: "missing", client: undefined, waiting: false });
  for (const observation of OBSERVATIONS) exporter.metrics.observe(observation);
  exporter.metrics.internalError();
  return await exporter.metrics.expose("text", state);
}

/** The text with varying values masked. */
function masked(text: string): string {
  return text
    .replace(/^(process_\w+|ollama_exporter_heap_used_bytes|ollama_exporter_probe_duration_seconds{.*}) .*$/gm, "$1 0")
    .replace(/^(ollama_exporter_event_loop_lag_seconds\w+(?:{.*})?) .*$/gm, "$1 0")
    .replace(/^(ollama_exporter_build_info){.*}/gm, (info) => info.replaceAll(/="[^"]*"/g, '="-"'));
}

const ALL = { "/api/version": "version.json", "/api/ps": "ps.json", "/api/tags": "tags.json" };

/** Returns the exposition of an exporter whose Ollama responds with the fixtures. */
async function textOf(fixtures: Record<string, string>): Promise<string> {
  const exporter = exporterOf(fixtures);
  try {
    return await expose(exporter);
  } finally {
    exporter.close();
  }
}

Deno.test("createExporter() exposes the golden file", async () => {
  const text = masked(await textOf(ALL));
  if (Deno.env.get("UPDATE_GOLDEN") === "1") Deno.writeTextFileSync(GOLDEN, text);
  assertEquals(text, Deno.readTextFileSync(GOLDEN));
});

Deno.test("createExporter() exposes each series once, and every metric with its help and type", async () => {
  for (const fixtures of [ALL, { ...ALL, "/api/ps": "ps_duplicate.json", "/api/tags": "tags_0_40.json" }, {}]) {
    const text = await textOf(fixtures);
    const series = text.split("\n").filter((line) => /^\w/.test(line)).map((line) =>
      line.slice(0, line.lastIndexOf(" "))
    );
    assertEquals(series.filter((name, index) => series.indexOf(name) !== index), []);
    for (const name of series.map((name) => name.replace(/{.*/, ""))) {
      const metric = [name, name.replace(/_(bucket|sum|count)$/, "")].find((metric) =>
        text.includes(`# TYPE ${metric} `)
      );
      assert(metric !== undefined && text.includes(`# HELP ${metric} `), name);
    }
  }
});

Deno.test("createExporter() exposes nothing about an unreachable server except that it is down", async () => {
  const exporter = exporterOf({});
  try {
    const text = await exporter.metrics.expose("text", await exporter.ollama.fetchState());
    const samples = text.split("\n").filter((line) => /^ollama_(up|version|loaded|installed)/.test(line));
    assertEquals(samples, ["ollama_up 0"]);
  } finally {
    exporter.close();
  }
});

/** Checks metrics on standard input. `promtool` is part of Debian's package `prometheus`. */
const PROMTOOL = ["promtool", "check", "metrics"] as const;

/** Returns why promtool is not available, if so. In CI it must be. */
function promtoolProblem(): string | undefined {
  try {
    new Deno.Command(PROMTOOL[0], { args: ["--version"], stdout: "null", stderr: "null" }).outputSync();
    return undefined;
  } catch (error) {
    if (Deno.env.get("CI") === "true") throw error;
    return `promtool is not installed (Debian: apt-get install prometheus)`;
  }
}

async function promtool(text: string): Promise<{ code: number; findings: string }> {
  const [command, ...args] = PROMTOOL;
  const child = new Deno.Command(command, { args, stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, findings: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("createExporter() exposes metrics that pass `promtool check metrics`", async () => {
  const reason = promtoolProblem();
  if (reason !== undefined) {
    Deno.stderr.writeSync(new TextEncoder().encode(`Skipped: ${reason}\n`));
    return;
  }
  const faulty = await promtool("# TYPE wrong_name_count counter\nwrong_name_count 1\n");
  assert(faulty.code !== 0 && faulty.findings !== "", "promtool reports problems");
  for (const fixtures of [ALL, {}]) {
    assertEquals(await promtool(await textOf(fixtures)), { code: 0, findings: "" });
  }
});
