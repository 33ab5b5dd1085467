/** Checks dashboard and rules with promtool, and with a real Prometheus after traffic of all APIs. */

import { assertEquals, assertGreater, fail } from "@std/assert";
import { parse } from "@std/yaml/parse";
import denoJson from "../../deno.json" with { type: "json" };
import { OUTCOMES } from "../../lib/observation.ts";
import { runDemoTraffic, startDemoOllama } from "../../tools/demo.ts";
import { declarations } from "../../tools/readme.ts";
import { BOARD, TARGETS, withVariables } from "../support/dashboard.ts";
import { ExporterProcess, ROOT, run, testWith } from "../support/deployment.ts";
import { delay } from "../support/helpers.ts";
import { promqlAnswers } from "../support/pages.ts";
import { Prometheus, RULE_FILES } from "../support/prometheus.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const RULES = `${ROOT}/deploy/prometheus`;

/** Time in which every query gets data, on a busy machine. */
const DATA_MS = 180_000;
const LOOK_MS = 2000;
/** Pause between two events of the demo. */
const EVENT_PAUSE_MS = 50;

/** Rules that have no data here, and why. */
const WITHOUT_DATA: Record<string, string> = {
  "instance:ollama_vram_capacity:bytes": "operators write this rule",
};

/** What the events of the demo cause. */
const MOVES = [
  ...OUTCOMES.map((outcome) => `ollama_request_outcomes_total{outcome="${outcome}"} > 0`),
  ...["stop", "length", "tool_calls", "load", "unload"].map((reason) =>
    `ollama_finish_reasons_total{reason="${reason}"} > 0`
  ),
  "ollama_tool_calls_total > 0",
  "ollama_usage_missing_total > 0",
  'ollama_transfers_total{operation="pull", outcome="ok"} > 0',
  'ollama_exporter_refused_requests_total{reason="host_not_allowed"} > 0',
  ...["truncated", "rejected"].map((kind) => `ollama_prompt_overflows_total{kind="${kind}"} > 0`),
  "ollama_context_used_ratio_count > 0",
  ...["cold", "context_changed", "other"].map((cause) => `ollama_model_loads_total{cause="${cause}"} > 0`),
  "ollama_requests_generating_max > 1",
  "ollama_abandoned_output_messages_total > 0",
  "ollama_abandoned_seconds_total > 0",
  "ollama_requests_slo_eligible_total > ollama_requests_within_slo_total > 0",
  "count(sum by (client) (ollama_client_requests_total) > 0) > 4",
  ...["prompt", "output"].map((direction) => `ollama_client_tokens_total{direction="${direction}"} > 0`),
];

/** Names of metrics that other exporters have. */
const FOREIGN = /^(up|DCGM_\w+|node_\w+)$/;

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly { readonly record?: string; readonly expr: string }[] }[];
}

const RULE_EXPRESSIONS = RULE_FILES.flatMap((name) => {
  const { groups } = parse(Deno.readTextFileSync(`${RULES}/${name}`)) as RuleFile;
  return groups.flatMap(({ rules }) => rules);
});

function asked(expr: string): string {
  return withVariables(expr, { window: "1m", rateInterval: "10s" });
}

/** Returns the counters and parts of histograms in an expression that are in neither `rate()` nor `increase()`. */
function bareCounters(expr: string): string[] {
  const rest = expr.replace(/\b(?:rate|increase)\(\w+(?:\{[^}]*\})?\[/g, "");
  return rest.match(/(?<![:\w])ollama_\w+_(?:total|count|sum|bucket)\b/g) ?? [];
}

Deno.test("Dashboard and rules use counters and histograms in rate() and increase() only", () => {
  assertEquals(bareCounters('sum(a_total + rate(ollama_b_total{c="d"}[5m])) > ollama_e_total'), ["ollama_e_total"]);
  assertGreater(RULE_EXPRESSIONS.length, 60);
  for (const { expr } of [...TARGETS, ...RULE_EXPRESSIONS]) assertEquals(bareCounters(expr), [], expr);
});

testWith(["promtool"], "promtool accepts the rules, and their tests pass", async () => {
  for (
    const args of [
      ["check", "rules", ...RULE_FILES],
      ["check", "config", "prometheus.yml"],
      ["check", "config", "--syntax-only", "../compose/prometheus.yml"],
      ["test", "rules", "rules_test.yml", "energy_test.yml"],
    ]
  ) {
    const { code, stdout, stderr } = await run("promtool", args, { cwd: RULES });
    assertEquals(code, 0, stdout + stderr);
  }
});

const DECLARED = declarations().map(({ name }) => name);

/** Returns the names of metrics and recorded series in an expression. */
function metricsOf(expr: string): Set<string> {
  const bare = expr.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\b(?:by|on|group_left|group_right) \([^)]*\)/g, "");
  return new Set(bare.match(/\b[a-zA-Z_][\w:]*_[\w:]*\b(?!\s*\()|\bup\b/g) ?? []);
}

Deno.test("Dashboard and rules name metrics that exist, and all of them are in a panel or a rule", () => {
  assertEquals(
    metricsOf('sum by (a_b) (rate(x_total{c_d="e_f"}[5m])) / on (g_h) up and i:x_y:z'),
    new Set(["x_total", "c_d", "up", "i:x_y:z"]),
  );
  const recorded = RULE_EXPRESSIONS.flatMap(({ record }) => record ?? []);
  const known = new Set([...DECLARED, ...recorded, ...Object.keys(WITHOUT_DATA), ...LABELS]);
  const named = [...TARGETS, ...RULE_EXPRESSIONS].flatMap(({ expr }) => [...metricsOf(asked(expr))]);
  const families = new Set(named.map((name) => known.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "")));
  assertEquals([...families].filter((name) => !known.has(name) && !FOREIGN.test(name)), []);
  assertEquals(DECLARED.filter((name) => !families.has(name)), [], "shown nowhere");
});

/** Labels whose names look like metrics'. */
const LABELS = ["chip_name"];

/** Power of the machine that runs Ollama, as dcgm_exporter and node_exporter expose it. */
function servePower(): { url: string; stop: () => Promise<void> } {
  const startMs = performance.now();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    const joules = 7000 + 45 * (performance.now() - startMs) / 1000;
    const lines = ['DCGM_FI_DEV_POWER_USAGE{gpu="0"} 250', `node_rapl_package_joules_total{index="0"} ${joules}`];
    return new Response(`${lines.join("\n")}\n`, { headers: { "content-type": "text/plain; version=0.0.4" } });
  });
  return { url: `http://127.0.0.1:${server.addr.port}`, stop: () => server.shutdown() };
}

/** Starts the exporter as `deno task start` does, with the settings of optional metrics. */
function startExporter(upstream: string, webConfig: string): Promise<ExporterProcess> {
  const args = denoJson.tasks.start.command.split(" ").slice(1);
  const env = {
    HOME: Deno.env.get("HOME") ?? "",
    PATH: Deno.env.get("PATH") ?? "",
    OLLAMA_HOST: upstream,
    WEB_CONFIG_FILE: webConfig,
    CLIENT_LABEL: "user-agent",
    SLO_FIRST_TOKEN: "1s",
    SLO_PER_TOKEN: "50ms",
  };
  return ExporterProcess.start(Deno.execPath(), args, { env });
}

testWith(["prometheus"], "Dashboard and rules have data for every query with the traffic of the demo", async () => {
  await using fake = await startDemoOllama();
  using folder = new TemporaryFolder();
  await using exporter = await startExporter(
    fake.url,
    folder.write("web.yml", "rate_limit: {interval: 1ms, burst: 9}\n"),
  );
  const power = servePower();
  await using prometheus = await Prometheus.start({ targets: { ollama: exporter.url, power: power.url } });
  // Initial values must be scraped before they increase.
  await prometheus.waitFor("ollama_up == 1");
  const stop = new AbortController();
  const traffic = runDemoTraffic({ fake, url: exporter.url, signal: stop.signal, eventPauseMs: EVENT_PAUSE_MS });
  try {
    const deadline = performance.now() + DATA_MS;
    for (;;) {
      await delay(LOOK_MS);
      const problems = [
        ...await problemsOfPanels(prometheus),
        ...await problemsOfRules(prometheus),
        ...await problemsOfVariables(prometheus),
        ...await problemsOfMoves(prometheus),
        ...await problemsOfAnswers(prometheus),
      ];
      if (problems.length === 0) break;
      if (performance.now() > deadline) fail(problems.join("\n"));
    }
  } finally {
    stop.abort();
    await traffic;
    await power.stop();
  }
});

/** Returns the queries that fail or have no number. */
async function problemsOfPanels(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  const annotations = BOARD.annotations.list.map(({ expr }) => ({ panel: undefined, expr }));
  for (const { panel, expr } of [...TARGETS, ...annotations]) {
    const query = asked(expr);
    try {
      const samples = await prometheus.query(query);
      const isEmpty = samples.every(({ value }) => Number.isNaN(value));
      if (isEmpty && panel !== undefined) problems.push(`${panel.title}: no data for ${query}`);
    } catch (error) {
      problems.push(`${panel?.title}: ${error} in ${query}`);
    }
  }
  return problems;
}

/** Returns the rules that fail, recording rules without data, and incomplete alerts. */
async function problemsOfRules(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  const rules = await prometheus.rules();
  assertGreater(rules.length, 30);
  for (const { name, type, health, lastError, labels, duration = 0, query } of rules) {
    if (health !== "ok") problems.push(`${name}: ${lastError ?? health}`);
    if (type === "recording") {
      if ((await prometheus.query(name)).length === 0) problems.push(`${name} records nothing`);
      continue;
    }
    if (!["critical", "warning", "info"].includes(labels?.["severity"] ?? "")) problems.push(`${name}: severity`);
    if (duration === 0) problems.push(`${name}: for`);
    // Every metric of an alert has data, whether or not the alert fires.
    for (const metric of metricsOf(query)) {
      if (metric in WITHOUT_DATA) continue;
      if ((await prometheus.query(`count({__name__="${metric}"})`)).length === 0) {
        problems.push(`${name}: no ${metric}`);
      }
    }
  }
  return problems;
}

async function problemsOfMoves(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  for (const move of MOVES) {
    if ((await prometheus.query(move)).length === 0) {
      problems.push(`The demo does not cause ${move}`);
    }
  }
  return problems;
}

/** Returns the README's queries that fail or have no number. */
async function problemsOfAnswers(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  const answers = promqlAnswers();
  assertEquals(answers.length, 10);
  for (const query of answers) {
    try {
      const samples = await prometheus.query(query);
      if (samples.every(({ value }) => Number.isNaN(value))) problems.push(`README.md: no data for ${query}`);
    } catch (error) {
      problems.push(`README.md: ${error} in ${query}`);
    }
  }
  return problems;
}

async function problemsOfVariables(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  for (const { name, definition } of BOARD.templating.list) {
    const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(definition ?? "") ?? [];
    if (selector === undefined || label === undefined) continue;
    const values = await prometheus.labelValues(label, asked(selector));
    if (values.length === 0) problems.push(`The variable ${name} has no values`);
  }
  return problems;
}
