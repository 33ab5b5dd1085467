/**
 * The dashboard as its tests see it.
 *
 * @module
 */

import { fail } from "@std/assert";
import { dashboard } from "../../tools/dashboard.ts";

/** A panel, as far as tests read it. */
export interface PanelJson {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly links?: readonly { readonly url: string }[];
  readonly targets?: readonly { readonly expr: string; readonly range: boolean }[];
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string;
      readonly custom?: { readonly showPoints?: string; readonly thresholdsStyle?: { readonly mode: string } };
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null }[] };
    };
  };
}

/** A row. The panels of one that is open follow it, those of one that is collapsed are in it. */
export interface RowJson extends PanelJson {
  readonly collapsed: boolean;
  readonly panels: readonly PanelJson[];
}

/** The dashboard, as far as tests read it. */
export interface DashboardJson {
  readonly panels: readonly (PanelJson | RowJson)[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

/** The dashboard that `tools/dashboard.ts` makes. */
export const BOARD = dashboard() as unknown as DashboardJson;

/** Returns whether a panel is a row. */
export function isRow(panel: PanelJson | RowJson): panel is RowJson {
  return panel.type === "row";
}

/** Its panels without rows, those of collapsed rows included. */
export const PANELS: readonly PanelJson[] = BOARD.panels.flatMap((panel) => isRow(panel) ? panel.panels : [panel]);

/** Query of a panel. */
export interface Target {
  readonly panel: PanelJson;
  readonly expr: string;
}

/** The queries of its panels. */
export const TARGETS: readonly Target[] = PANELS.flatMap((panel) =>
  (panel.targets ?? []).map(({ expr }) => ({ panel, expr }))
);

/** Returns a query as Grafana sends it, with everything selected. */
export function withVariables(expr: string, durations: { window: string; rateInterval: string }): string {
  const values: Record<string, string> = {
    __rate_interval: durations.rateInterval,
    __range: "1h",
    window: durations.window,
    job: ".*",
    instance: ".*",
    model: ".*",
    api: ".*",
  };
  return expr.replace(/\$\{?([a-z_]\w*)\}?/g, (_, name) => values[name] ?? fail(`unknown variable ${name} in ${expr}`));
}
