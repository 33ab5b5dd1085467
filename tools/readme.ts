/**
 * `deno task readme`: regenerates the tables of README.md and docs/ from the code that they describe. Each stands
 * between two comments, `<!-- settings:begin -->` and `<!-- settings:end -->`; the rest of a page is left unchanged.
 *
 * @module
 */

import { SETTINGS } from "../lib/settings/settings.ts";
import { createExporter } from "../lib/exporter.ts";
import { createLog } from "../lib/log/log.ts";
import type { Declaration } from "../lib/metrics/registry.ts";
import { Metrics } from "../lib/metrics/request_metrics.ts";
import { APIS } from "../lib/observation.ts";
import { parseInstalled, parseLoaded, serverState } from "../lib/ollama/state.ts";
import { type Endpoint, ENDPOINTS } from "../lib/reading/endpoints.ts";
import { ALL_LIMITS } from "./limits.ts";

/** Settings that most users need to know, in the README. */
const COMMON_SETTINGS = [
  "ollamaHost",
  "listenAddress",
  "metricsListenAddress",
  "webConfigFile",
  "allowedHosts",
  "clientLabel",
  "slowRequestMs",
  "logLevel",
] as const satisfies readonly (keyof typeof SETTINGS)[];

/** Returns the tables by page and name of their section. */
export async function tables(): Promise<Record<string, Record<string, string>>> {
  return {
    "README.md": { "common-settings": commonSettingsTable() },
    "docs/configuration.md": { settings: settingsTable() },
    "docs/limits.md": { limits: limitsTable() },
    "docs/metrics.md": { metrics: metricsTable(), endpoints: endpointsTable(), series: await seriesTable() },
  };
}

/** Returns a table of {@linkcode COMMON_SETTINGS}. */
function commonSettingsTable(): string {
  return table(
    ["variable", "default", "description"],
    COMMON_SETTINGS.map((name) => SETTINGS[name]).map((setting) => [
      code(setting.variable),
      defaultOf(setting),
      setting.help,
    ]),
  );
}

/** Returns a table of {@linkcode SETTINGS}. */
export function settingsTable(): string {
  return table(
    ["variable", "flag", "default", "description", "accepted"],
    Object.values(SETTINGS).map((setting) => [
      code(setting.variable),
      code(`--${setting.flag}`),
      defaultOf(setting),
      setting.help,
      setting.accepts,
    ]),
  );
}

function defaultOf(setting: { readonly default: string }): string {
  return setting.default === "" ? "none" : code(setting.default);
}

/** Returns a table of {@linkcode ENDPOINTS}. */
export function endpointsTable(): string {
  return table(
    ["endpoint", "label", "counted"],
    ENDPOINTS.map((endpoint) => [code(`POST ${endpoint.route}`), code(labelOf(endpoint)), countedOf(endpoint)]),
  );
}

function labelOf({ api, operation }: Endpoint): string {
  return api === undefined ? `operation="${operation}"` : `api="${api}"`;
}

function countedOf({ operation, hasUsage, asksForUsage }: Endpoint): string {
  if (operation !== undefined) return "bytes transferred";
  if (asksForUsage) return "tokens, requested on streams";
  return hasUsage ? "tokens" : "requests only: Ollama reports no tokens";
}

/** Returns a table of all metrics that the exporter declares. */
export function metricsTable(): string {
  return table(
    ["name", "type", "labels", "help"],
    declarations().map((
      { name, type, labels, help },
    ) => [code(name), type, labels.map(code).join(", ") || "none", help]),
  );
}

/** A server with two models. */
const [USED, LOADED] = ["used:latest", "loaded:latest"];
const PROBED = { error: undefined, durationSeconds: 0 };
const STATE = serverState({
  version: { ...PROBED, answer: "" },
  ps: { ...PROBED, answer: parseLoaded({ models: [{ name: LOADED }] }) },
  tags: { ...PROBED, answer: parseInstalled({ models: [{ name: USED }] }) },
}, 0);

/** Returns a table of the number of series that models have once an API is used. */
export async function seriesTable(): Promise<string> {
  const rows: string[][] = [];
  for (const apis of [...APIS.map((api) => [api]), APIS]) {
    const openRequests = new Set(apis.map((api) => ({ api, model: USED, client: undefined, waiting: true })));
    const metrics = new Metrics({ modelLimit: 2, openRequests });
    const text = await metrics.expose("text", STATE);
    const count = (...parts: string[]): string =>
      String(text.split("\n").filter((line) => parts.every((part) => line.includes(part))).length);
    rows.push([
      apis === APIS ? "all" : apis.map(code).join(),
      count(`model="${USED}"`),
      count(`model="${USED}"`, "api="),
      count(`model="${LOADED}"`, "api="),
    ]);
  }
  return table(
    ["API", "series of a model used by it", "of these with `api`", "of another model in memory or used"],
    rows,
  );
}

/** Returns a table of {@linkcode ALL_LIMITS}. */
export function limitsTable(): string {
  return table(
    ["limit", "constant", "value", "when exceeded"],
    ALL_LIMITS.map(({ what, name, value, beyond }) => [what, code(name), value, beyond]),
  );
}

/** Returns the metrics that an exporter declares, in exposition order. */
export function declarations(): Declaration[] {
  const exporter = createExporter({
    upstream: new URL("http://localhost:11434"),
    version: "",
    homepage: "",
    log: createLog({ level: "ERROR", format: "text", write: () => {} }),
    metricsPath: SETTINGS.metricsPath.default,
    modelLimit: 1,
    clients: { clientOf: () => "", limit: 1 },
    probeTimeoutMs: 1,
    openaiStreamUsage: true,
    allowedHosts: [],
    fetch,
  });
  try {
    return exporter.metrics.registry.declarations;
  } finally {
    exporter.close();
  }
}

function code(text: string): string {
  return `\`${text}\``;
}

/** Returns a Markdown table, aligned as `deno fmt` does. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((text) => text.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], fill: string): string =>
    `| ${widths.map((width, column) => (row[column] ?? "").padEnd(width, fill)).join(" | ")} |`;
  const [first = [], ...others] = cells.map((row) => line(row, " "));
  return [first, line([], "-"), ...others].join("\n");
}

/**
 * Replaces the contents of a text's sections.
 *
 * @throws {Error} If a section is missing, or there twice.
 */
export function withSections(text: string, sections: Readonly<Record<string, string>>): string {
  for (const [name, content] of Object.entries(sections)) {
    const [begin, end] = [`<!-- ${name}:begin -->\n`, `<!-- ${name}:end -->\n`];
    const [before = "", inside, ...more] = text.split(begin);
    const [, after, ...rest] = inside?.split(end) ?? [];
    if (after === undefined || more.length > 0 || rest.length > 0) {
      throw new Error(`expected exactly one section "${name}", with begin and end comments`);
    }
    text = `${before}${begin}\n${content}\n\n${end}${after}`;
  }
  return text;
}

if (import.meta.main) {
  for (const [page, sections] of Object.entries(await tables())) {
    const file = new URL(`../${page}`, import.meta.url);
    await Deno.writeTextFile(file, withSections(await Deno.readTextFile(file), sections));
  }
}
