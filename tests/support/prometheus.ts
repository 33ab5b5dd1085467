/**
 * A real Prometheus for tests, with the rules of this project, and a client of its HTTP API.
 *
 * @module
 */

import { fail } from "@std/assert";
import { Process, ROOT, run } from "./deployment.ts";
import { delay, PATIENCE_MS } from "./helpers.ts";
import { TemporaryFolder } from "./temporary_folder.ts";

/** The rules of this project. */
export const RULE_FILES = ["recording.rules.yml", "energy.rules.yml", "alerts.rules.yml"];

/** A sample of an instant query. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A rule with the result of its last evaluation. */
export interface Rule {
  readonly name: string;
  readonly type: "recording" | "alerting";
  readonly query: string;
  readonly health: string;
  readonly lastError?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The `for` clause of an alert, in seconds. */
  readonly duration?: number;
}

/** Series of a range query; its values are in the order of time, and steps without one are left out. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly number[];
}

/** Options of {@linkcode Prometheus.start}. */
export interface PrometheusOptions {
  /** URLs to scrape every second, by job. */
  readonly targets: Readonly<Record<string, string>>;
  /** Samples of the past, in OpenMetrics with times. Default: none. */
  readonly backfill?: string;
}

/** A running Prometheus. */
export class Prometheus implements AsyncDisposable {
  readonly url: string;
  readonly #process: Process;
  readonly #folder: TemporaryFolder;

  private constructor(url: string, process: Process, folder: TemporaryFolder) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  /** Starts one. */
  static async start({ targets, backfill }: PrometheusOptions): Promise<Prometheus> {
    const folder = new TemporaryFolder();
    if (backfill !== undefined) {
      const samples = folder.write("samples.txt", backfill);
      const args = ["tsdb", "create-blocks-from", "openmetrics", samples, `${folder.path}/data`];
      const { code, stderr } = await run("promtool", args);
      if (code !== 0) fail(stderr);
    }
    const config = folder.write("prometheus.yml", configFor(targets));
    const address = `127.0.0.1:${freePort()}`;
    const process = new Process("prometheus", [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder.path}/data`,
      `--web.listen-address=${address}`,
      "--enable-feature=exemplar-storage",
    ], { env: { PATH: Deno.env.get("PATH") ?? "" } });
    const prometheus = new Prometheus(`http://${address}`, process, folder);
    try {
      await process.waitFor(/Server is ready to receive web requests/);
      return prometheus;
    } catch (error) {
      await prometheus[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Returns the result of an instant query.
   *
   * @param at Unix time in seconds. Default: now.
   */
  async query(expression: string, at?: number): Promise<Sample[]> {
    const body = new URLSearchParams({ query: expression, ...at !== undefined && { time: at.toFixed(3) } });
    const { result } = await this.#ask<{ result: { metric: Sample["metric"]; value: [number, string] }[] }>(
      "/api/v1/query",
      { method: "POST", body },
    );
    return result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value.replace("Inf", "Infinity")) }));
  }

  /** Returns the result of a range query. Times are Unix times in seconds. */
  async queryRange(expression: string, range: { start: number; end: number; step: number }): Promise<Series[]> {
    const entries = Object.entries({ query: expression, ...range }).map(([name, value]) => [name, String(value)]);
    const { result } = await this.#ask<
      { result: { metric: Series["metric"]; values: [number, string][] }[] }
    >("/api/v1/query_range", { method: "POST", body: new URLSearchParams(entries) });
    return result.map(({ metric, values }) => ({ metric, values: values.map(([, value]) => Number(value)) }));
  }

  /** Returns the values of a label in the series of a selector. */
  async labelValues(label: string, selector: string): Promise<string[]> {
    return await this.#ask<string[]>(`/api/v1/label/${label}/values?match[]=${encodeURIComponent(selector)}`);
  }

  /** Returns all rules. */
  async rules(): Promise<Rule[]> {
    const { groups } = await this.#ask<{ groups: { rules: Rule[] }[] }>("/api/v1/rules");
    return groups.flatMap(({ rules }) => rules);
  }

  /** Waits until a query has a result. */
  async waitFor(expression: string): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while ((await this.query(expression)).length === 0) {
      if (performance.now() > deadline) fail(`no result in Prometheus: ${expression}`);
      await delay(100);
    }
  }

  async #ask<T>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await fetch(this.url + path, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
    const answer: { status: string; data: T; error?: string } = await response.json();
    if (answer.status !== "success") throw new Error(answer.error ?? `status ${response.status}`);
    return answer.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    this.#folder[Symbol.dispose]();
  }
}

function configFor(targets: PrometheusOptions["targets"]): string {
  // JSON is YAML.
  return JSON.stringify({
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    rule_files: RULE_FILES.map((name) => `${ROOT}/deploy/prometheus/${name}`),
    scrape_configs: Object.entries(targets).map(([job, url]) => {
      const { host, pathname } = new URL(url);
      return {
        job_name: job,
        metrics_path: pathname === "/" ? "/metrics" : pathname,
        static_configs: [{ targets: [host] }],
      };
    }),
  });
}

/** Returns a port that was free a moment ago: Prometheus does not report the port that the system chooses. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
