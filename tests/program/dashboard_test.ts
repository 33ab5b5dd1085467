/** The dashboard: its schema, its layout, and a quiet host in a real Prometheus. */

import { assert, assertEquals, assertGreater, assertLess, assertMatch, fail } from "@std/assert";
import { parse } from "@std/yaml/parse";
import { dashboard } from "../../tools/dashboard.ts";
import { BOARD, isRow, PANELS, TARGETS, withVariables } from "../support/dashboard.ts";
import { hasProgram, ROOT, run, testOrSkip, testWith } from "../support/deployment.ts";
import { cacheOf } from "./clients/matrix.ts";
import { Prometheus } from "../support/prometheus.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const JSON_PATH = `${ROOT}/deploy/grafana/ollama.json`;
const BUILD_MS = 300_000;
const MINUTE_SECONDS = 60;

Deno.test("deploy/grafana/ollama.json is the output of tools/dashboard.ts", () => {
  assertEquals(Deno.readTextFileSync(JSON_PATH), `${JSON.stringify(dashboard(), null, 2)}\n`);
});

/** Compiles the schema check. */
async function buildSchemaCheck(): Promise<{ path: string; problem?: string }> {
  const path = `${cacheOf("grafana_schema")}/check`;
  if (!hasProgram("go")) return { path, problem: "no go, Debian package golang-go" };
  const env = { ...Deno.env.toObject(), GOCACHE: cacheOf("go/build"), GOTOOLCHAIN: "local" };
  const cwd = `${ROOT}/tests/program/grafana_schema`;
  const { code, stderr } = await run("go", ["build", "-o", path, "."], { cwd, env, timeoutMs: BUILD_MS });
  return code === 0 ? { path } : { path, problem: stderr.trim() };
}

const check = await buildSchemaCheck();
const isOffline = /^no go|dial tcp|: reading http/.test(check.problem ?? "");

testOrSkip(isOffline ? check.problem : undefined, "The dashboard fits Grafana's schema", async () => {
  assertEquals(check.problem, undefined);
  assertEquals(await run(check.path, [JSON_PATH]), { code: 0, stdout: "", stderr: "" });
  using folder = new TemporaryFolder();
  const text = Deno.readTextFileSync(JSON_PATH);
  const broken: [right: string, wrong: string, problem: RegExp][] = [
    ['"schemaVersion": 42', '"schemaVersion": "42"', /^schemaVersion: /],
    ['"fillOpacity"', '"fillOpacty"', /unexpected field 'fillOpacty'/],
    ['"gridPos"', '"gridPs"', /unexpected field 'gridPs'/],
  ];
  for (const [right, wrong, problem] of broken) {
    const { code, stdout } = await run(check.path, [folder.write("broken.json", text.replace(right, wrong))]);
    assertEquals(code, 1, wrong);
    assertMatch(stdout, problem);
  }
});

Deno.test("All but the first three rows are collapsed, and hold their panels", () => {
  const rows = BOARD.panels.filter(isRow);
  assertGreater(rows.length, 10);
  assertEquals(rows.map(({ collapsed }) => collapsed), rows.map((_, index) => index >= 3));
  for (const { title, collapsed, panels } of rows) assertEquals(panels.length > 0, collapsed, title);
  assertEquals(isRow(BOARD.panels.at(-1) ?? fail()), true, "no panel lies outside of its collapsed row");
});

Deno.test("Every panel has its own title, place and description", () => {
  const titles = PANELS.map(({ title }) => title);
  assertEquals(titles.filter((title, index) => titles.indexOf(title) !== index), [], "each title is given once");
  // The panels of a collapsed row share their places with the rows below it.
  const groups = [BOARD.panels, ...BOARD.panels.filter(isRow).map(({ panels }) => panels)];
  for (const group of groups) {
    const taken = new Set<string>();
    for (const { title, gridPos: { x, y, w, h } } of group) {
      assert(x + w <= 24, title);
      for (let column = x; column < x + w; column++) {
        for (let row = y; row < y + h; row++) {
          assert(!taken.has(`${column},${row}`), `${title} lies on another panel`);
          taken.add(`${column},${row}`);
        }
      }
    }
  }
  for (const { title, description = "" } of PANELS) assertGreater(description.length, 20, title);
});

Deno.test("Rates have the unit of a rate, and graphs show single points", () => {
  for (const { panel: { title, type, fieldConfig }, expr } of TARGETS) {
    const { unit, custom } = fieldConfig?.defaults ?? {};
    const isRate = /\brate\(/.test(expr) && !expr.startsWith("histogram_quantile") && !expr.includes(" / ");
    if (isRate && type !== "table") assertMatch(unit ?? "", /^(reqps|Bps|eps|suffix: (\S*\/\w+|cores))$/, title);
    if (type === "timeseries") assertEquals(custom?.showPoints, "auto", title);
  }
});

Deno.test("Stats and graphs use range queries, so that the last value of a quiet host is shown", () => {
  for (const { type, title, targets = [] } of PANELS) {
    for (const { range } of targets) assertEquals(range, type !== "table", title);
  }
});

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly { readonly alert?: string; readonly expr: string }[] }[];
}

Deno.test("Panels link to the runbooks of alerts that exist, and draw lines at their thresholds", () => {
  const { groups } = parse(Deno.readTextFileSync(`${ROOT}/deploy/prometheus/alerts.rules.yml`)) as RuleFile;
  const alerts = new Map(
    groups.flatMap(({ rules }) => rules).map(({ alert = "", expr }) => [alert.toLowerCase(), expr]),
  );
  const linked = new Set<string>();
  for (const { title, type, links = [], fieldConfig } of PANELS) {
    for (const { url } of links) {
      const [, anchor = ""] = /\/docs\/alerting\.md#(\w+)$/.exec(url) ?? [];
      const expr = alerts.get(anchor);
      assert(expr !== undefined, `${title}: ${url}`);
      linked.add(anchor);
      const { thresholds, custom } = fieldConfig?.defaults ?? {};
      if (type !== "timeseries" || custom?.thresholdsStyle?.mode === "off") continue;
      const steps = (thresholds?.steps ?? []).flatMap(({ value }) => value ?? []);
      if (THRESHOLDS_OF_OTHERS.has(title)) continue;
      for (const step of steps) assertMatch(expr, new RegExp(`[<>]=? ${step}\\b`), `${title}: ${step}`);
    }
  }
  assertGreater(linked.size, 12);
});

/** Panels whose lines are not the thresholds of their alerts: a share of the context, and a setting's default. */
const THRESHOLDS_OF_OTHERS = new Set(["Context used", "Probe duration"]);

/** A host with a request every two minutes, scraped every 15 seconds. */
const QUIET = { requestSeconds: 120, scrapeSeconds: 15, hours: 3 };

/** Steps of the queries: as many as in an hour's graph of 144 seconds each. */
const STEPS = 25;
const STEP_SECONDS = 144;
/** Rates of `$__rate_interval`: four scrapes. */
const RATE_INTERVAL = "1m";

/** Returns the names of the histograms whose quantiles the dashboard shows over the window. */
function histograms(): Set<string> {
  const names = TARGETS.flatMap(({ expr }) => [...expr.matchAll(/\b(\w+)_(?:bucket|sum|count)\{/g)]);
  return new Set(names.map(([, name]) => name ?? ""));
}

/** Returns the scrapes of a quiet host until `end`, in OpenMetrics. */
function quietHost(end: number): string {
  const labels = 'job="ollama",instance="quiet:8000",model="m",api="chat",route="/api/chat"';
  const start = end - QUIET.hours * 60 * MINUTE_SECONDS;
  const lines: string[] = [];
  for (const name of histograms()) {
    lines.push(`# TYPE ${name} histogram`);
    for (const le of ["0.5", "1.0", "+Inf"]) {
      for (let time = start; time <= end; time += QUIET.scrapeSeconds) {
        const requests = Math.floor((time - start) / QUIET.requestSeconds);
        lines.push(`${name}_bucket{${labels},le="${le}"} ${le === "0.5" ? 0 : requests} ${time}`);
      }
    }
    for (const suffix of ["count", "sum"]) {
      for (let time = start; time <= end; time += QUIET.scrapeSeconds) {
        const requests = Math.floor((time - start) / QUIET.requestSeconds);
        lines.push(`${name}_${suffix}{${labels}} ${requests} ${time}`);
      }
    }
  }
  return `${lines.join("\n")}\n# EOF\n`;
}

testWith(["prometheus", "promtool"], "Percentiles of a quiet host have values at 24 of 25 steps at least", async () => {
  const end = Math.floor(Date.now() / 1000) - MINUTE_SECONDS;
  await using prometheus = await Prometheus.start({ targets: {}, backfill: quietHost(end) });
  const range = { start: end - (STEPS - 1) * STEP_SECONDS, end, step: STEP_SECONDS };
  const values = async (expr: string, window: string): Promise<number> => {
    const series = await prometheus.queryRange(withVariables(expr, { window, rateInterval: RATE_INTERVAL }), range);
    return Math.max(0, ...series.map(({ values }) => values.filter((value) => !Number.isNaN(value)).length));
  };
  const percentiles = TARGETS.filter(({ panel, expr }) =>
    expr.startsWith("histogram_quantile") && panel.type !== "table"
  );
  assertGreater(percentiles.length, 30);
  for (const { panel: { title }, expr } of percentiles) {
    assertGreater(await values(expr, "10m"), 23, `${title}: ${expr}`);
    // The host is quiet: the interval of rates leaves gaps.
    assertLess(await values(expr, RATE_INTERVAL), 24, `${title}: ${expr}`);
  }
});
