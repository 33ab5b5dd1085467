/**
 * Panel types of the dashboard, in Grafana's schema, and their layout.
 *
 * @module
 */

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
  /** Grafana's unit id: `s`, `bytes`, `percentunit`, `reqps`, `short`. */
  readonly unit: string;
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

function panel(type: string, options: PanelOptions, format: "time_series" | "table" | "heatmap"): Panel {
  const { title, description, queries, width = 8, height = 8 } = options;
  const instant = type === "stat" || type === "table";
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
  return { title, type, description, datasource: DATASOURCE, targets, size: { w: width, h: height } };
}

function thresholds(steps: readonly Step[] = [["green", -Infinity]]): Record<string, unknown> {
  return {
    mode: "absolute",
    steps: steps.map(([color, value]) => ({ color, value: value === -Infinity ? null : value })),
  };
}

/** Returns a panel with a single value, coloured by thresholds. */
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
      textMode: "auto",
      wideLayout: true,
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    },
  };
}

/** Returns a time series panel: lines or stacked areas. */
export function graph(options: GraphOptions): Panel {
  const { unit, stacking, colors = {}, logarithmic = false, max } = options;
  const custom = {
    drawStyle: "line",
    lineInterpolation: "linear",
    lineWidth: stacking === undefined ? 2 : 1,
    fillOpacity: stacking === undefined ? 6 : 50,
    showPoints: "never",
    spanNulls: false,
    stacking: { mode: stacking ?? "none", group: "A" },
    scaleDistribution: logarithmic ? { type: "log", log: 10 } : { type: "linear" },
  };
  return {
    ...panel("timeseries", options, "time_series"),
    fieldConfig: {
      defaults: {
        unit,
        custom,
        color: { mode: "palette-classic-by-name" },
        thresholds: thresholds(),
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
        custom: { align: "auto", filterable: true },
        thresholds: thresholds(),
      },
      overrides: columns.map(columnOverride),
    },
    options: { showHeader: true, cellHeight: "sm" },
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

/** Places sections below each other and the panels of each from left to right, wrapping at the full width. */
export function layOut(sections: readonly Section[]): Record<string, unknown>[] {
  const panels: Record<string, unknown>[] = [];
  let y = 0;
  for (const { title, panels: content } of sections) {
    panels.push({
      id: panels.length + 1,
      type: "row",
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: 24, h: 1 },
      panels: [],
    });
    y += 1;
    let x = 0;
    let height = 0;
    for (const { size, ...rest } of content) {
      if (x + size.w > DASHBOARD_COLUMNS) {
        y += height;
        x = 0;
        height = 0;
      }
      panels.push({ id: panels.length + 1, ...rest, gridPos: { x, y, w: size.w, h: size.h } });
      x += size.w;
      height = Math.max(height, size.h);
    }
    y += height;
  }
  return panels;
}
