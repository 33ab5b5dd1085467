/**
 * Statistics and tables of the results.
 *
 * @module
 */

import { type Case, type Figure, FIGURES } from "./cases.ts";
import type { ProxyKind } from "./proxies.ts";

/** Figures of a run. */
export interface RunResult {
  readonly caseName: string;
  readonly proxy: string;
  readonly rep: number;
  readonly figures: Readonly<Partial<Record<Figure, number>>>;
}

/** Median and spread. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Returns a quantile (0 to 1) of values, or `NaN` without any. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** Returns the median and spread of values, or `undefined` without any. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const [min, max] = [sorted.at(0), sorted.at(-1)];
  if (min === undefined || max === undefined) return undefined;
  const half = sorted.length / 2;
  const median = ((sorted[Math.ceil(half) - 1] ?? 0) + (sorted[Math.floor(half)] ?? 0)) / 2;
  return { median, min, max };
}

/** Proxy with whose figure another's is compared, in the same repetition. */
export interface Against {
  readonly base: string;
  readonly by: "ratio" | "difference";
}

/**
 * Returns a figure of a proxy over all repetitions of a case.
 *
 * @param against Default: not compared.
 */
export function figureOf(
  runs: readonly RunResult[],
  [caseName, proxy, figure]: readonly [caseName: string, proxy: string, figure: Figure],
  against?: Against,
): Spread | undefined {
  const ofCase = runs.filter((run) => run.caseName === caseName);
  return spreadOf(
    ofCase.filter((run) => run.proxy === proxy).map(({ rep, figures }) => {
      const value = figures[figure] ?? NaN;
      if (against === undefined) return value;
      const base = ofCase.find((run) => run.proxy === against.base && run.rep === rep)?.figures[figure] ?? NaN;
      return against.by === "ratio" ? value / base : value - base;
    }),
  );
}

/** Returns the table of a case: a row per proxy, then the exporters as multiples of the others. */
export function caseTable(
  { name, what, figures }: Case,
  proxies: ReadonlyMap<string, ProxyKind>,
  runs: readonly RunResult[],
): string {
  const found = [...proxies].filter(([proxy]) => runs.some((run) => run.proxy === proxy));
  const rows = found.map(([proxy]) => [proxy, ...figures.map((figure) => show(figureOf(runs, [name, proxy, figure])))]);
  for (const [proxy, { bases }] of found) {
    for (const base of bases.filter((base) => found.some(([other]) => other === base))) {
      const ratios = figures.map((figure) => figureOf(runs, [name, proxy, figure], { base, by: "ratio" }));
      rows.push([`${proxy} / ${base}`, ...ratios.map((spread) => show(spread, ratio))]);
    }
  }
  return section(`${name}: ${what}`, ["", ...figures.map((figure) => FIGURES[figure])], rows);
}

/**
 * Returns the table of start times, from process start to first response, and memory then, over all runs. Empty if
 * none was measured.
 */
export function startTable(proxies: ReadonlyMap<string, ProxyKind>, runs: readonly RunResult[]): string {
  const figures = ["startMs", "rssIdleMegabytes"] as const;
  const rows = [...proxies.keys()].map((proxy) => {
    const ofProxy = runs.filter((run) => run.proxy === proxy);
    return [proxy, ...figures.map((figure) => show(spreadOf(ofProxy.map((run) => run.figures[figure] ?? NaN))))];
  }).filter(([, start]) => start !== "-");
  if (rows.length === 0) return "";
  const heads = ["", ...figures.map((figure) => FIGURES[figure])];
  return section("Start: from the start of the process to its first response", heads, rows);
}

/** Returns a section of a report: its title, and a table. */
export function section(title: string, heads: readonly string[], rows: readonly (readonly string[])[]): string {
  return `### ${title}\n\n${table(heads, rows)}`;
}

/** Returns a Markdown table with aligned columns. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, column) => Math.max(3, head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(heads), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line)].join("\n");
}

/** Returns date, versions, machine and command of a run, in one line. */
export function runStamp(): string {
  const { os, arch } = Deno.build;
  return [
    `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    `deno ${Deno.version.deno}`,
    `${os}/${arch}`,
    `${navigator.hardwareConcurrency} cores`,
    `\`${["deno task", ...Deno.args].join(" ")}\``,
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

/** Returns median and spread as text, or `-` without any. */
export function show(spread: Spread | undefined, format: (value: number) => string = short): string {
  if (spread === undefined) return "-";
  const { median, min, max } = spread;
  return min === max ? format(median) : `${format(median)} (${format(min)} to ${format(max)})`;
}

/** Returns a ratio as text. */
export function ratio(value: number): string {
  return value.toFixed(2);
}

function short(value: number): string {
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
