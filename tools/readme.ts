/**
 * `deno task readme`: writes the README's tables anew from the code that they describe. They stand between comments,
 * `<!-- settings:begin -->` and `<!-- settings:end -->`; the rest of the README is left as it is.
 *
 * @module
 */

import { SETTINGS } from "../lib/settings/settings.ts";
import { createExporter } from "../lib/exporter.ts";
import { createLog } from "../lib/log/log.ts";
import type { Declaration } from "../lib/metrics/registry.ts";
import { type Endpoint, ENDPOINTS } from "../lib/reading/endpoints.ts";
import { ALL_LIMITS } from "./limits.ts";

/** The tables by the names of their sections. */
export function tables(): Record<string, string> {
  return {
    endpoints: endpointsTable(),
    settings: settingsTable(),
    metrics: metricsTable(),
    limits: limitsTable(),
  };
}

/** Every setting: {@linkcode SETTINGS}. */
export function settingsTable(): string {
  return table(
    ["variable", "flag", "default", "what it sets", "accepted"],
    Object.values(SETTINGS).map((setting) => [
      code(setting.variable),
      code(`--${setting.flag}`),
      setting.default === "" ? "none" : code(setting.default),
      setting.help,
      setting.accepts,
    ]),
  );
}

/** Every measured endpoint: {@linkcode ENDPOINTS}. */
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
  if (operation !== undefined) return "bytes moved";
  if (asksForUsage) return "tokens; a stream is asked for them";
  return hasUsage ? "tokens" : "no tokens: Ollama reports none";
}

/** Every metric that the exporter declares. */
export function metricsTable(): string {
  return table(
    ["name", "type", "labels", "meaning"],
    declarations().map((
      { name, type, labels, help },
    ) => [code(name), type, labels.map(code).join(", ") || "none", help]),
  );
}

/** Every limit: {@linkcode ALL_LIMITS}. */
export function limitsTable(): string {
  return table(
    ["limit", "named", "value", "beyond it"],
    ALL_LIMITS.map(({ what, name, value, beyond }) => [what, code(name), value, beyond]),
  );
}

/** What an exporter declares, in the order in which it is exposed. */
export function declarations(): Declaration[] {
  const exporter = createExporter({
    upstream: new URL("http://localhost:11434"),
    version: "",
    log: createLog({ level: "ERROR", format: "text", write: () => {} }),
    metricsPath: SETTINGS.metricsPath.default,
    modelLimit: 1,
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

/** A Markdown table, its columns aligned as `deno fmt` aligns them. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((text) => text.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[], fill: string): string =>
    `| ${widths.map((width, column) => (row[column] ?? "").padEnd(width, fill)).join(" | ")} |`;
  const [first = [], ...others] = cells.map((row) => line(row, " "));
  return [first, line([], "-"), ...others].join("\n");
}

/**
 * The text with these contents of its sections.
 *
 * @throws {Error} Where it lacks a section, or has one twice.
 */
export function withSections(text: string, sections: Readonly<Record<string, string>>): string {
  for (const [name, content] of Object.entries(sections)) {
    const [begin, end] = [`<!-- ${name}:begin -->\n`, `<!-- ${name}:end -->\n`];
    const [before = "", inside, ...more] = text.split(begin);
    const [, after, ...rest] = inside?.split(end) ?? [];
    if (after === undefined || more.length > 0 || rest.length > 0) {
      throw new Error(`The README must have one section "${name}", between its begin and its end`);
    }
    text = `${before}${begin}\n${content}\n\n${end}${after}`;
  }
  return text;
}

if (import.meta.main) {
  const file = new URL("../README.md", import.meta.url);
  await Deno.writeTextFile(file, withSections(await Deno.readTextFile(file), tables()));
}
