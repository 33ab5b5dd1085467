/**
 * Panel types of the dashboard, in Grafana's schema, and their layout.
 *
 * @module
 */

import { SOURCE_URL } from "../project.ts";

/** PromQL query of a panel. */
export interface Query {
  readonly expr: string;
  /** Name of the series, with `{{label}}` placeholders; in a table, name of the column. */
  readonly legend: string;
  /** Whether to show exemplars. Default: `false`. */
  readonly exemplar?: boolean;
}

/** Options of every panel. */
export interface PanelOptions {
  readonly title: string;
  /** Meaning of the panel, and of a bad value. */
  readonly description: string;
  readonly queries: readonly Query[];
  /** Grafana's unit id: `s`, `bytes`, `percentunit`, `reqps`, `suffix: tok/s`, `short`. */
  readonly unit: string;
  /** Alert that the panel belongs to; the panel links to its section in docs/alerting.md. Default: none. */
  readonly alert?: string;
  /** Columns of 24. Default: 8. */
  readonly width?: number;
  /** Rows of 30 pixels. Default: 8. */
  readonly height?: number;
}

/** Threshold: the colour of values from `from` on. */
export type Step = readonly [color: string, from: number];

/** Options of {@linkcode stat}. */
export interface StatOptions extends PanelOptions {
  /** Colour thresholds, the lowest first. Default: a single colour. */
  readonly steps?: readonly Step[];
  /** Texts shown in place of values. */
  readonly words?: Readonly<Record<string, { text: string; color: string }>>;
}

/** Options of {@linkcode graph}. */
export interface GraphOptions extends PanelOptions {
  /** `normal`: stacked areas. `percent`: stacked areas normalized to 100 %. Default: lines. */
  readonly stacking?: "normal" | "percent";
  /** Colours by series name. */
  readonly colors?: Readonly<Record<string, string>>;
  /** Logarithmic axis, for values from milliseconds to minutes. Default: `false`. */
  readonly logarithmic?: boolean;
  /** Maximum of the axis. Default: chosen by Grafana. */
  readonly max?: number;
  /** Dashed lines at thresholds. Default: none. */
  readonly lines?: readonly Step[];
}

/** Table column. */
export interface Column {
  /** Heading. Filled by the query with this legend, or by `label`. */
  readonly name: string;
  /** Label that fills the column. Default: none, a query does. */
  readonly label?: string;
  readonly unit?: string;
  /** Colour thresholds of the cell. Default: not coloured. */
  readonly steps?: readonly Step[];
  /** URL that a cell links to. Default: no link. */
  readonly link?: string;
}

/** Options of {@linkcode table}. */
export interface TableOptions extends PanelOptions {
  /** Columns from left to right; other labels are hidden. */
  readonly columns: readonly Column[];
}

/** Panel in Grafana's schema, not yet placed. */
export interface Panel {
  readonly title: string;
  readonly type: string;
  readonly description: string;
  readonly targets: readonly Record<string, unknown>[];
  readonly size: { readonly w: number; readonly h: number };
  readonly [field: string]: unknown;
}

/** Collapsible row of the dashboard, with its panels from left to right. */
export interface Section {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const DASHBOARD_COLUMNS = 24;

/** Page with one heading for each alert. */
export const ALERTS_URL = `${SOURCE_URL}/blob/main/docs/alerting.md`;

/** Returns a link of a panel or the dashboard; by default to a URL, which opens in the same tab. */
export function link(fields: Record<string, unknown>): Record<string, unknown> {
  return {
    type: "link",
    icon: "external link",
    tooltip: "",
    tags: [],
    asDropdown: false,
    includeVars: false,
    keepTime: false,
    targetBlank: false,
    ...fields,
  };
}

function panel(type: string, options: PanelOptions, format: "time_series" | "table" | "heatmap"): Panel {
  const { title, description, queries, width = 8, height = 8, alert } = options;
  const instant = type === "table";
  const targets = queries.map(({ expr, legend, exemplar = false }, index) => ({
    refId: String.fromCharCode("A".charCodeAt(0) + index),
    datasource: DATASOURCE,
    expr,
    legendFormat: legend,
    format,
    instant,
    range: !instant,
    editorMode: "code",
    exemplar: exemplar && !instant,
  }));
  const links = alert === undefined ? [] : [
    link({ title: `Runbook of ${alert}`, url: `${ALERTS_URL}#${alert.toLowerCase()}`, targetBlank: true }),
  ];
  return { title, type, description, links, datasource: DATASOURCE, targets, size: { w: width, h: height } };
}

function thresholds(steps: readonly Step[] = [["green", -Infinity]]): Record<string, unknown> {
  return {
    mode: "absolute",
    steps: steps.map(([color, value]) => ({ color, value: value === -Infinity ? null : value })),
  };
}

/** Returns a panel with the last value of the time range, coloured by thresholds. */
export function stat(options: StatOptions): Panel {
  const words = Object.entries(options.words ?? {}).map(([value, { text, color }], index) => ({
    type: "value",
    options: { [value]: { text, color, index } },
  }));
  return {
    ...panel("stat", { width: 3, height: 4, ...options }, "time_series"),
    fieldConfig: {
      defaults: { unit: options.unit, mappings: words, noValue: "–", thresholds: thresholds(options.steps) },
      overrides: [],
    },
    options: {
      colorMode: "background",
      graphMode: "none",
      justifyMode: "center",
      orientation: "auto",
      percentChangeColorMode: "standard",
      showPercentChange: false,
      textMode: "auto",
      wideLayout: true,
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    },
  };
}

/** Returns a time series panel: lines or stacked areas. */
export function graph(options: GraphOptions): Panel {
  const { unit, stacking, colors = {}, logarithmic = false, max, lines } = options;
  const custom = {
    drawStyle: "line",
    lineInterpolation: "linear",
    lineWidth: stacking === undefined ? 2 : 1,
    fillOpacity: stacking === undefined ? 6 : 50,
    showPoints: "auto",
    spanNulls: false,
    stacking: { mode: stacking ?? "none", group: "A" },
    scaleDistribution: logarithmic ? { type: "log", log: 10 } : { type: "linear" },
    thresholdsStyle: { mode: lines === undefined ? "off" : "dashed" },
  };
  return {
    ...panel("timeseries", options, "time_series"),
    fieldConfig: {
      defaults: {
        unit,
        custom,
        color: { mode: "palette-classic-by-name" },
        thresholds: thresholds([["transparent", -Infinity], ...lines ?? []]),
        ...(logarithmic ? {} : { min: 0 }),
        ...(max === undefined ? {} : { max }),
      },
      overrides: Object.entries(colors).map(([name, fixedColor]) => ({
        matcher: { id: "byName", options: name },
        properties: [{ id: "color", value: { mode: "fixed", fixedColor } }],
      })),
    },
    options: {
      legend: { displayMode: "table", placement: "bottom", showLegend: true, calcs: ["mean", "max"] },
      tooltip: { mode: "multi", sort: "desc" },
    },
  };
}

/** Returns a heatmap of histogram buckets over time: the darker, the more requests. */
export function heatmap(options: PanelOptions): Panel {
  return {
    ...panel("heatmap", options, "heatmap"),
    fieldConfig: { defaults: { custom: { hideFrom: { legend: false, tooltip: false, viz: false } } }, overrides: [] },
    options: {
      calculate: false,
      cellGap: 1,
      color: { mode: "scheme", scheme: "Oranges", steps: 64, exponent: 0.5, fill: "dark-orange", reverse: false },
      exemplars: { color: "rgba(31, 96, 196, 0.8)" },
      filterValues: { le: 1e-9 },
      legend: { show: true },
      rowsFrame: { layout: "auto" },
      showValue: "never",
      tooltip: { mode: "single", showColorScale: false, yHistogram: true },
      yAxis: { axisPlacement: "left", reverse: false, unit: options.unit },
    },
  };
}

/** Returns a table of the latest values of all queries, one row per label set. */
export function table(options: TableOptions): Panel {
  const { columns, queries } = options;
  const made = panel("table", { width: DASHBOARD_COLUMNS, ...options }, "table");
  // A query without a column contributes only its labels. With a single query Grafana omits the letter.
  const names = new Map(
    queries.map(({ legend }, index) =>
      [queries.length === 1 ? "Value" : `Value #${made.targets[index]?.refId}`, legend] as const
    )
      .filter(([, legend]) => columns.some(({ name }) => name === legend)),
  );
  const fields = new Map(columns.map((column) => [column.label ?? column.name, column]));
  const sources = [...columns.flatMap(({ label }) => label ?? []), ...names.keys()];
  return {
    ...made,
    transformations: [
      { id: "merge", options: {} },
      { id: "filterFieldsByName", options: { include: { names: sources } } },
      {
        id: "organize",
        options: {
          indexByName: Object.fromEntries(
            sources.map((source) => [source, orderOf(names.get(source) ?? source, fields)]),
          ),
          renameByName: Object.fromEntries(sources.map((source) => {
            const wanted = names.get(source) ?? source;
            return [source, fields.get(wanted)?.name ?? wanted];
          })),
        },
      },
    ],
    fieldConfig: {
      defaults: {
        unit: options.unit,
        noValue: "–",
        custom: { align: "auto", filterable: true, inspect: false },
        thresholds: thresholds(),
      },
      overrides: columns.map(columnOverride),
    },
    options: { showHeader: true, cellHeight: "sm", frameIndex: 0 },
  };
}

function orderOf(source: string, fields: ReadonlyMap<string, Column>): number {
  return [...fields.keys()].indexOf(source);
}

function columnOverride({ name, unit, steps, link }: Column): Record<string, unknown> {
  const properties: Record<string, unknown>[] = [];
  if (unit !== undefined) properties.push({ id: "unit", value: unit });
  if (link !== undefined) properties.push({ id: "links", value: [{ title: "Show only this one", url: link }] });
  if (steps !== undefined) {
    properties.push(
      { id: "thresholds", value: thresholds(steps) },
      { id: "custom.cellOptions", value: { type: "color-background", mode: "basic" } },
    );
  }
  return { matcher: { id: "byName", options: name }, properties };
}

/**
 * Places sections below each other and the panels of each from left to right, wrapping at the full width. Sections
 * after the first `open` ones are collapsed.
 */
export function layOut(sections: readonly Section[], open: number): Record<string, unknown>[] {
  const rows: Record<string, unknown>[] = [];
  let id = 0;
  let y = 0;
  for (const [index, { title, panels }] of sections.entries()) {
    const collapsed = index >= open;
    const row = { id: ++id, type: "row", title, collapsed, gridPos: { x: 0, y, w: DASHBOARD_COLUMNS, h: 1 } };
    const { placed, height } = place(panels, y + 1);
    const numbered = placed.map((panel) => ({ id: ++id, ...panel }));
    // Grafana keeps the panels of a collapsed row inside it, and gives it the height of its title.
    if (collapsed) rows.push({ ...row, panels: numbered });
    else rows.push({ ...row, panels: [] }, ...numbered);
    y += collapsed ? 1 : 1 + height;
  }
  return rows;
}

function place(panels: readonly Panel[], top: number): { placed: Record<string, unknown>[]; height: number } {
  const placed: Record<string, unknown>[] = [];
  let x = 0;
  let y = top;
  let height = 0;
  for (const { size: { w, h }, ...rest } of panels) {
    if (x + w > DASHBOARD_COLUMNS) {
      x = 0;
      y += height;
      height = 0;
    }
    placed.push({ ...rest, gridPos: { x, y, w, h } });
    x += w;
    height = Math.max(height, h);
  }
  return { placed, height: y + height - top };
}
