/**
 * Writes `deploy/grafana/ollama.json`, the dashboard:
 *
 *     deno run --allow-write=deploy/grafana tools/dashboard.ts
 *
 * @module
 */

import { layOut } from "./dashboard/panels.ts";
import { BY_INSTANCE, BY_MODEL, TRAFFIC_SECTIONS } from "./dashboard/sections.ts";
import { STATE_SECTIONS } from "./dashboard/state_sections.ts";

/** The schema of Grafana 12 and 13; older ones can be imported by newer Grafanas, not the other way round. */
const SCHEMA_VERSION = 42;

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

/** A variable that offers the values of a label. */
function labelVariable(name: string, label: string, metric: string, description: string): Record<string, unknown> {
  const query = `label_values(${metric}, ${name})`;
  return {
    name,
    label,
    description,
    type: "query",
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: "variable", qryType: 1 },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    // Series that lack the label are selected, too.
    allValue: ".*",
    current: { selected: true, text: ["All"], value: ["$__all"] },
  };
}

const DATASOURCE_VARIABLE = {
  name: "datasource",
  label: "Prometheus",
  type: "datasource",
  query: "prometheus",
  refresh: 1,
};

const ALERT_ANNOTATION = {
  name: "Alerts",
  datasource: DATASOURCE,
  enable: true,
  iconColor: "red",
  expr: `ALERTS{alertname=~"Ollama.*", alertstate="firing", severity!="info", ${BY_INSTANCE}}`,
  step: "60s",
  titleFormat: "{{alertname}}",
  textFormat: "{{instance}} {{model}}",
};

function dashboardLink(fields: Record<string, unknown>): Record<string, unknown> {
  const none = { asDropdown: false, icon: "external link", includeVars: false, keepTime: true, tags: [], tooltip: "" };
  return { ...none, targetBlank: false, ...fields };
}

/** The dashboard, in Grafana's schema. */
export function dashboard(): Record<string, unknown> {
  return {
    uid: "ollama-exporter",
    title: "Ollama",
    description:
      "Traffic, latency, models and health of Ollama, measured by ollama-exporter. Made by tools/dashboard.ts.",
    tags: ["ollama", "llm"],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: true,
    graphTooltip: 1,
    fiscalYearStartMonth: 0,
    refresh: "30s",
    time: { from: "now-3h", to: "now" },
    timezone: "browser",
    timepicker: {},
    annotations: { list: [ALERT_ANNOTATION] },
    links: [
      dashboardLink({ title: "Firing alerts", type: "link", url: "/alerting/list?search=Ollama", icon: "bolt" }),
      dashboardLink({ title: "Related", type: "dashboards", tags: ["ollama"], asDropdown: true, includeVars: true }),
    ],
    templating: {
      list: [
        DATASOURCE_VARIABLE,
        labelVariable("instance", "Instance", "ollama_exporter_build_info", "The exporter, so the Ollama behind it."),
        labelVariable(
          "model",
          "Model",
          `{__name__=~"ollama_requests_total|ollama_loaded_model_info", ${BY_INSTANCE}}`,
          "Panels by model.",
        ),
        labelVariable("api", "API", `ollama_request_outcomes_total{${BY_MODEL}}`, "Panels by API."),
      ],
    },
    panels: layOut([...TRAFFIC_SECTIONS, ...STATE_SECTIONS]),
  };
}

if (import.meta.main) {
  await Deno.writeTextFile(
    new URL("../deploy/grafana/ollama.json", import.meta.url),
    `${JSON.stringify(dashboard(), null, 2)}\n`,
  );
}
