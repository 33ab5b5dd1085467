/** Alerts: each has a section in docs/alerting.md, a link to the dashboard, and tests for quiet and busy hosts. */

import { assert, assertEquals, assertGreater, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "@std/yaml/parse";
import { ALERTS_URL } from "../../tools/dashboard/panels.ts";
import { dashboard } from "../../tools/dashboard.ts";
import { REPOSITORY } from "../support/fixtures.ts";

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, REPOSITORY));
}

interface Alert {
  readonly alert: string;
  readonly for: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

const { groups } = parse(read("deploy/prometheus/alerts.rules.yml")) as { groups: { rules: Alert[] }[] };
const ALERTS = groups.flatMap(({ rules }) => rules);

const DOCUMENT = read("docs/alerting.md");
/** Sections of docs/alerting.md by heading. */
const SECTIONS = new Map(
  DOCUMENT.split(/^## /m).slice(1).map((section) => {
    const [heading = "", ...text] = section.split("\n");
    return [heading, text.join("\n").trim()];
  }),
);

Deno.test("docs/alerting.md has a section for each alert, in the order of the rules, with its severity", () => {
  assertGreater(ALERTS.length, 15);
  assertEquals([...SECTIONS.keys()], ALERTS.map(({ alert }) => alert));
  for (const { alert, labels: { severity } } of ALERTS) {
    const section = SECTIONS.get(alert) ?? "";
    assert(section.startsWith(`\`${severity}\`: `), alert);
    assertMatch(section, /^- /m, `${alert}: what to do`);
  }
  const anchors = [...SECTIONS.keys()].map((heading) => heading.toLowerCase());
  for (const [, anchor = ""] of DOCUMENT.matchAll(/\]\(#([^)]*)\)/g)) assert(anchors.includes(anchor), anchor);
});

Deno.test("Each alert has texts, and links to its section and to the dashboard", () => {
  for (const { alert, annotations } of ALERTS) {
    assertEquals(Object.keys(annotations).sort(), ["dashboard", "description", "runbook_url", "summary"], alert);
    assertEquals(annotations["runbook_url"], `${ALERTS_URL}#${alert.toLowerCase()}`);
    assertStringIncludes(annotations["dashboard"] ?? "", `/d/${dashboard()["uid"]}?var-job={{ $labels.job }}`);
  }
});

/** Alerts on state, which traffic does not change. */
const NOT_ON_TRAFFIC = [
  "OllamaExporterDown",
  "OllamaExporterMissing",
  "OllamaDown",
  "OllamaExporterProbeFailing",
  "OllamaExporterRestarting",
  "OllamaExporterConfigReloadFailed",
  "OllamaRequestsWaiting",
  "OllamaModelPartlyOnCpu",
  "OllamaModelFellBackToCpu",
  "OllamaVramNearlyFull",
];

Deno.test("rules_test.yml expects each alert to fire, those on traffic for a quiet and a busy host", () => {
  const expected = [...read("deploy/prometheus/rules_test.yml").matchAll(/labels: [^{]*ALERTS\{([^}]*)\}/g)]
    .map(([, labels = ""]) => labels);
  for (const { alert, labels: { severity } } of ALERTS) {
    const fired = expected.filter((labels) => labels.includes(`alertname="${alert}"`));
    assertGreater(fired.length, 0, alert);
    for (const labels of fired) assertStringIncludes(labels, `severity="${severity}"`, alert);
    if (NOT_ON_TRAFFIC.includes(alert)) continue;
    for (const host of ["quiet", "busy"]) {
      assert(fired.some((labels) => labels.includes(`instance="${host}"`)), `${alert} of a ${host} host`);
    }
  }
});
