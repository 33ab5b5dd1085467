/** Tables of the results.
 *
 * @module
 */

import type { Case } from "./cases.ts";
import { type Figure, FIGURES, type RunResult } from "./run.ts";
import { figureOf, ratioOf, type Spread } from "./spread.ts";
import { TARGETS, verdict } from "./targets.ts";

/** Figures that depend on the proxy, not on the case, and are shown once. */
const START_FIGURES: readonly Figure[] = ["startMs", "rssIdleMegabytes"];

/**
 * Returns the table of a case: a row per proxy, then the exporters as multiples of the others.
 *
 * @param exporters Names of the proxies that are exporters.
 */
export function caseTable(benchCase: Case, runs: readonly RunResult[], exporters: readonly string[]): string {
  const proxies = [...new Set(runs.map((run) => run.proxy))];
  const figures = figuresIn(runs).filter((figure) => !START_FIGURES.includes(figure));
  const rows = proxies.map((proxy) => [proxy, ...figures.map((figure) => show(figureOf(runs, proxy, figure)))]);
  for (const exporter of exporters.filter((name) => proxies.includes(name))) {
    for (
      const base of [benchCase.bare, "pass_tapped", "nginx", "us"].filter((name) =>
        proxies.includes(name) && name !== exporter
      )
    ) {
      const ratios = figures.map((figure) => show(ratioOf(runs, [exporter, base], figure), ratio));
      rows.push([`${exporter} / ${base}`, ...ratios]);
    }
  }
  const headroom = headroomOf(runs);
  return [
    `### ${benchCase.name}: ${benchCase.what}`,
    "",
    table(["", ...figures.map((figure) => FIGURES[figure])], rows),
    ...headroom === undefined ? [] : ["", headroom],
  ].join("\n");
}

/** Returns the table of start times, from process start to first response, and memory then, over all runs. */
export function startTable(runs: readonly RunResult[]): string {
  const proxies = [...new Set(runs.map((run) => run.proxy))].filter((proxy) => proxy !== "direct");
  const rows = proxies.map((
    proxy,
  ) => [proxy, ...START_FIGURES.map((figure) => show(figureOf(runs, proxy, figure)))]);
  const heads = ["", ...START_FIGURES.map((figure) => FIGURES[figure])];
  return ["### Start: from the start of the process to its first answer", "", table(heads, rows)].join("\n");
}

/** Returns the table of targets: measured value, and whether it is met. */
export function targetTable(cases: readonly Case[], runs: readonly RunResult[]): string {
  const rows = TARGETS.flatMap((target) => {
    const benchCase = cases.find(({ name }) => name === target.caseName);
    const ofCase = runs.filter(({ caseName }) => caseName === target.caseName);
    if (benchCase === undefined) return [];
    const found = verdict(target, benchCase, ofCase);
    if (found === undefined) return [];
    return [[target.caseName, target.text, show(found.measured, ratio), found.isReached ? "yes" : "no"]];
  });
  if (rows.length === 0) return "";
  return ["### Targets", "", table(["case", "target", "measured", "reached"], rows)].join("\n");
}

/** Returns whether upstream and load clients are fast enough for the measurement. */
function headroomOf(runs: readonly RunResult[]): string | undefined {
  for (const figure of ["linesPerSecond", "requestsPerSecond", "mebibytesPerSecond"] as const) {
    const headroom = ratioOf(runs, ["direct", "us"], figure);
    if (headroom === undefined) continue;
    const comment = headroom.median >= 2 ? "" : "; the load is too light to tell what the exporter can do";
    return `Direct, the same load yields ${ratio(headroom.median)} times as much as through the exporter${comment}.`;
  }
  return undefined;
}

function figuresIn(runs: readonly RunResult[]): Figure[] {
  return (Object.keys(FIGURES) as Figure[]).filter((figure) => runs.some((run) => figure in run.figures));
}

/** Returns a Markdown table with aligned columns. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, column) => Math.max(3, head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(heads), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line)].join("\n");
}

/** Returns date, versions, machine and command of a run, in one line. */
export function runStamp(task: string): string {
  const { os, arch } = Deno.build;
  return [
    `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    `deno ${Deno.version.deno}`,
    `${os}/${arch}`,
    `${navigator.hardwareConcurrency} cores`,
    `\`${["deno task", task, ...Deno.args].join(" ")}\``,
  ].join(", ");
}

/**
 * Writes a task's report between its two marker lines in a file.
 *
 * @throws {Error} If the file lacks these lines.
 */
export async function writeBetween(file: URL, task: string, report: string): Promise<void> {
  const text = await Deno.readTextFile(file);
  const begin = `<!-- Written by \`deno task ${task} --write\` from here -->`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf("<!-- to here -->", from);
  if (from < begin.length || to < 0) throw new Error(`${file.pathname} lacks the marker lines of ${task}`);
  await Deno.writeTextFile(file, `${text.slice(0, from)}\n\n${report}\n\n${text.slice(to)}`);
}

function show(spread: Spread | undefined, format: (value: number) => string = short): string {
  if (spread === undefined) return "-";
  const { median, min, max } = spread;
  return min === max ? format(median) : `${format(median)} (${format(min)} to ${format(max)})`;
}

function ratio(value: number): string {
  return value.toFixed(2);
}

function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
