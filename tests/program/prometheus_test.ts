/** Checks dashboard and rules with promtool, and with a real Prometheus after traffic of all APIs. */

import { assert, assertEquals, assertGreater, fail } from "@std/assert";
import { parse } from "@std/yaml/parse";
import denoJson from "../../deno.json" with { type: "json" };
import { dashboard } from "../../tools/dashboard.ts";
import { apiRequests } from "../support/api_requests.ts";
import { ExporterProcess, ROOT, run, testWith } from "../support/deployment.ts";
import { type FakeBehaviour, type FakeOllama, startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, delay } from "../support/helpers.ts";
import { Prometheus } from "../support/prometheus.ts";

const RULES = `${ROOT}/deploy/prometheus`;

/** Number of repetitions, one per interval: rates need several scrapes. */
const ROUNDS = 7;
const ROUND_MS = 1000;

/** Panels and rules that have no data here, and why. */
const WITHOUT_DATA: Record<string, string> = {
  "instance:ollama_vram_capacity:bytes": "operators write this rule",
  "ollama_exporter_config_last_reload_successful": "needs a web config file",
};

/** Metrics that neither dashboard nor rules use, and why. */
const NOT_SHOWN: Record<string, string> = {
  "ollama_exporter_config_last_reload_success_timestamp_seconds": "says since when, once the alert has fired",
};

interface Target {
  readonly panel: string;
  readonly expr: string;
}

interface PanelJson {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { x: number; y: number; w: number; h: number };
  readonly targets?: { expr: string }[];
}

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly { readonly expr: string }[] }[];
}

interface DashboardJson {
  readonly panels: PanelJson[];
  readonly templating: { list: { name: string; type: string; definition?: string }[] };
  readonly annotations: { list: { expr: string }[] };
}

const BOARD = dashboard() as unknown as DashboardJson;
const PANELS = BOARD.panels.filter(({ type }) => type !== "row");
const TARGETS: Target[] = PANELS.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ panel: title, expr }))
);

/** A query as Grafana sends it, with everything selected. */
function withVariables(expr: string): string {
  const values: Record<string, string> = {
    __rate_interval: "10s",
    __range: "1m",
    instance: ".*",
    model: ".*",
    api: ".*",
  };
  return expr.replace(/\$\{?(__rate_interval|__range|instance|model|api)\}?/g, (_, name) => values[name] ?? fail(name));
}

Deno.test("deploy/grafana/ollama.json is the output of tools/dashboard.ts", () => {
  const made = `${JSON.stringify(dashboard(), null, 2)}\n`;
  assertEquals(Deno.readTextFileSync(`${ROOT}/deploy/grafana/ollama.json`), made);
});

Deno.test("Every panel of the dashboard has its own place and a description", () => {
  const titles = PANELS.map(({ title }) => title);
  assertEquals(titles.filter((title, index) => titles.indexOf(title) !== index), [], "each title is given once");
  const taken = new Set<string>();
  for (const { title, description = "", gridPos: { x, y, w, h } } of PANELS) {
    assertGreater(description.length, 20, title);
    assert(x + w <= 24, title);
    for (let column = x; column < x + w; column++) {
      for (let row = y; row < y + h; row++) {
        assert(!taken.has(`${column},${row}`), `${title} lies on another panel`);
        taken.add(`${column},${row}`);
      }
    }
  }
});

/** Returns the counters and parts of histograms in an expression that are in neither `rate()` nor `increase()`. */
function bareCounters(expr: string): string[] {
  const rest = expr.replace(/\b(?:rate|increase)\(\w+(?:\{[^}]*\})?\[/g, "");
  return rest.match(/(?<![:\w])ollama_\w+_(?:total|count|sum|bucket)\b/g) ?? [];
}

Deno.test("Dashboard and rules use counters and histograms in rate() and increase() only", () => {
  assertEquals(bareCounters('sum(a_total + rate(ollama_b_total{c="d"}[5m])) > ollama_e_total'), ["ollama_e_total"]);
  const rules = ["recording", "alerts"].flatMap((name) => {
    const file = parse(Deno.readTextFileSync(`${RULES}/${name}.rules.yml`)) as RuleFile;
    return file.groups.flatMap(({ rules }) => rules);
  });
  assertGreater(rules.length, 30);
  for (const { expr } of [...TARGETS, ...rules]) assertEquals(bareCounters(expr), [], expr);
});

testWith(["promtool"], "promtool accepts the rules, and their tests pass", async () => {
  for (
    const args of [
      ["check", "rules", "recording.rules.yml", "alerts.rules.yml"],
      ["check", "config", "prometheus.yml"],
      ["check", "config", "--syntax-only", "../compose/prometheus.yml"],
      ["test", "rules", "rules_test.yml"],
    ]
  ) {
    const { code, stdout, stderr } = await run("promtool", args, { cwd: RULES });
    assertEquals(code, 0, stdout + stderr);
  }
});

/** Behaviour of the fake for successive requests, with every outcome and every value. */
const KINDS: Partial<FakeBehaviour>[] = [
  { cachedTokens: 10, toolCalls: [{ name: "get_time", arguments: { tz: "UTC" } }] },
  { cachedTokens: 0, finishReason: "length", loadNs: 2_500_000_000 },
  { omitUsage: true },
  { status: 503 },
  { fault: { kind: "reset" } },
  { fault: { kind: "error" } },
  { fault: { kind: "silent_eof" } },
  { fault: { kind: "malformed" } },
];

/** Sends each request of each API with each behaviour, over some seconds. */
async function drive(fake: FakeOllama, url: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const end = delay(ROUND_MS);
    for (const [index, kind] of [{}, ...KINDS].entries()) {
      Object.assign(fake.behaviour, kind);
      const requests = apiRequests().filter((_, at) => index === 0 || (at + round) % KINDS.length === index - 1);
      await Promise.all(requests.map(({ endpoint, init }) => send(url + endpoint.route, init)));
      fake.reset();
    }
    await send(`${url}/api/chat`, { method: "POST", body: JSON.stringify({ ...CHAT, model: "not-there" }) });
    await send(`${url}/api/tags`, {});
    await end;
  }
}

async function send(url: string, init: RequestInit): Promise<void> {
  try {
    const response = await fetch(url, init);
    await response.arrayBuffer();
  } catch {
    // Aborted on purpose.
  }
}

/** Sends a request that is in flight during the queries. */
function hold(url: string, signal: AbortSignal): Promise<void> {
  return send(`${url}/api/chat`, { method: "POST", body: JSON.stringify(CHAT), signal });
}

/** Starts the exporter as `deno task start` does. */
function startExporter(upstream: string): Promise<ExporterProcess> {
  const args = denoJson.tasks.start.command.split(" ").slice(1);
  const home = { HOME: Deno.env.get("HOME") ?? "", PATH: Deno.env.get("PATH") ?? "" };
  return ExporterProcess.start(Deno.execPath(), args, { env: { ...home, OLLAMA_HOST: upstream } });
}

testWith(["prometheus"], "Dashboard and rules have data for every query after traffic of all APIs", async () => {
  await using fake = await startFakeOllama({ release: "0.40" });
  await using exporter = await startExporter(fake.url);
  await using prometheus = await Prometheus.start(exporter.url);
  // Initial values must be scraped before they increase.
  await prometheus.waitFor("ollama_up == 1");
  await drive(fake, exporter.url);
  fake.behaviour.hang = true;
  const held = new AbortController();
  const open = hold(exporter.url, held.signal);
  try {
    await prometheus.waitFor("instance:ollama_requests_waiting:sum > 0");
    assertEquals([
      ...await problemsOfPanels(prometheus),
      ...await problemsOfRules(prometheus),
      ...await problemsOfVariables(prometheus),
      ...await problemsOfCoverage(exporter.url, await prometheus.rules()),
    ], []);
  } finally {
    held.abort();
    await open;
  }
});

/** Returns the queries that fail or have no number. */
async function problemsOfPanels(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  const annotations = BOARD.annotations.list.map(({ expr }) => ({ panel: "", expr }));
  for (const { panel, expr } of [...TARGETS, ...annotations]) {
    try {
      const samples = await prometheus.query(withVariables(expr));
      const isEmpty = samples.every(({ value }) => Number.isNaN(value));
      if (isEmpty && panel !== "" && !(panel in WITHOUT_DATA)) problems.push(`${panel}: no data for ${expr}`);
    } catch (error) {
      problems.push(`${panel}: ${error} in ${expr}`);
    }
  }
  return problems;
}

/** Returns the rules that fail, recording rules without data, and incomplete alerts. */
async function problemsOfRules(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  const rules = await prometheus.rules();
  assertGreater(rules.length, 30);
  for (const { name, type, health, lastError, labels, annotations, duration = 0, query } of rules) {
    if (health !== "ok") problems.push(`${name}: ${lastError ?? health}`);
    if (type === "recording") {
      if ((await prometheus.query(name)).length === 0) problems.push(`${name} records nothing`);
      continue;
    }
    if (!["critical", "warning", "info"].includes(labels?.["severity"] ?? "")) problems.push(`${name}: severity`);
    if (duration === 0) problems.push(`${name}: for`);
    for (const part of ["summary", "description", "runbook"]) {
      if (!annotations?.[part]) problems.push(`${name}: ${part}`);
    }
    // Every metric of an alert has data, whether or not the alert fires.
    for (const [metric] of query.matchAll(/\b(instance|instance_model|model|job):[\w:]+|\bollama_\w+/g)) {
      if (metric in WITHOUT_DATA) continue;
      if ((await prometheus.query(`count({__name__="${metric}"})`)).length === 0) {
        problems.push(`${name}: no ${metric}`);
      }
    }
  }
  return problems;
}

async function problemsOfVariables(prometheus: Prometheus): Promise<string[]> {
  const problems: string[] = [];
  for (const { name, definition } of BOARD.templating.list) {
    const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(definition ?? "") ?? [];
    if (selector === undefined || label === undefined) continue;
    const values = await prometheus.labelValues(label, withVariables(selector));
    if (values.length === 0) problems.push(`The variable ${name} has no values`);
  }
  return problems;
}

/** Returns the metrics that neither dashboard nor rules use. */
async function problemsOfCoverage(url: string, rules: readonly { query: string }[]): Promise<string[]> {
  const exposition = await (await fetch(`${url}/metrics`)).text();
  const shown = [...TARGETS.map(({ expr }) => expr), ...rules.map(({ query }) => query)].join("\n");
  return [...exposition.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name ?? "")
    .filter((name) => !(name in NOT_SHOWN) && !new RegExp(`\\b${name}(_bucket|_sum|_count)?\\b`).test(shown))
    .map((name) => `Nothing shows ${name}`);
}
