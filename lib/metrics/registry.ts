/**
 * The registry of one exporter and its two text formats. The only file that imports prom-client.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type { Counter, Gauge, Histogram };

/** The formats in which metrics are exposed: Prometheus text 0.0.4, and OpenMetrics 1.0 with exemplars. */
export const CONTENT_TYPES = {
  text: Registry.PROMETHEUS_CONTENT_TYPE,
  openMetrics: Registry.OPENMETRICS_CONTENT_TYPE,
} as const;
/** A format in which metrics are exposed. */
export type Format = keyof typeof CONTENT_TYPES;

/** Least time, in milliseconds, that an exposition is made of in one go. One metric is never parted. */
const SLICE_MS = 5;

/** A histogram whose observations may carry exemplars. */
export interface TracedHistogram<Label extends string> {
  /** @param traceId Label `trace_id` of the exemplar; without it there is none. */
  observe(labels: Record<Label, string>, value: number, traceId: string | undefined): void;
}

/** A metric as it was declared. */
export interface Declaration {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

/** Declares metrics and exposes them. */
export class MetricRegistry {
  // The format is a property of prom-client's registry, and a scrape of one must not change that of another under way.
  readonly #text = new Registry();
  readonly #openMetrics = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  readonly #registers = [this.#text, this.#openMetrics] as Registry[];
  /** Counters by the name that they were declared with. */
  readonly #counters = new Map<string, Counter & { name: string }>();

  constructor() {
    this.#openMetrics.setContentType(CONTENT_TYPES.openMetrics);
  }

  /** Declares a counter; without labels it begins at 0. */
  counter<Label extends string>(name: string, help: string, ...labelNames: Label[]): Counter<Label> {
    return this.#keep(name, new Counter({ name, help, labelNames, registers: this.#registers }));
  }

  /** Declares a counter whose value is read when it is scraped; it must never fall. */
  readCounter(name: string, help: string, read: () => number): void {
    const registers = this.#registers;
    const counter = new Counter({
      name,
      help,
      registers,
      collect(): void {
        this.reset();
        this.inc(read());
      },
    });
    this.#keep(name, counter);
  }

  /**
   * Declares a gauge.
   *
   * @param collect Called before each scrape, to set it.
   */
  gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    collect: (gauge: Gauge<Label>) => void = () => {},
  ): Gauge<Label> {
    const gauge: Gauge<Label> = new Gauge({
      name,
      help,
      labelNames,
      registers: this.#registers,
      collect: () => collect(gauge),
    });
    return gauge;
  }

  /** Declares a histogram. */
  histogram<Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: Label[]
  ): Histogram<Label> {
    return new Histogram({ name, help, buckets, labelNames, registers: this.#registers });
  }

  /** Declares a histogram whose observations may carry the trace that they belong to, as an exemplar. */
  tracedHistogram<Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: Label[]
  ): TracedHistogram<Label> {
    const registers = [this.#openMetrics as unknown as Registry];
    const histogram = new Histogram({ name, help, buckets, labelNames, enableExemplars: true, registers });
    // prom-client makes such a histogram for OpenMetrics only; as text it is written without exemplars.
    this.#text.registerMetric(histogram);
    // prom-client's types ask for the histogram's own labels in an exemplar.
    const observe = histogram.observe.bind(histogram) as (observation: unknown) => void;
    return {
      observe(labels, value, traceId): void {
        observe({ labels, value, ...traceId !== undefined && { exemplarLabels: { trace_id: traceId } } });
      },
    };
  }

  /** What has been declared, in the order in which it is exposed. */
  get declarations(): Declaration[] {
    // prom-client's types leave out the names of the labels.
    const metrics = this.#text.getMetricsAsArray() as unknown as (Declaration & { labelNames: string[] })[];
    return metrics.map(({ name, type, help, labelNames }) => ({ name, type, help, labels: labelNames }));
  }

  /**
   * All metrics in a format, as prom-client's `metrics()` has them, but made in slices: the event loop goes on in
   * between, so that a scrape of many series holds up no token.
   */
  async expose(format: Format): Promise<string> {
    const registry = format === "text" ? this.#text : this.#openMetrics;
    const texts: string[] = [];
    let sliceBegan = performance.now();
    for (const { name } of this.declarations) {
      texts.push(await this.#exposeOne(registry, name));
      if (performance.now() - sliceBegan < SLICE_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      sliceBegan = performance.now();
    }
    return format === "text" ? `${texts.join("\n\n")}\n` : `${texts.join("\n")}\n# EOF\n`;
  }

  #exposeOne(registry: { getSingleMetricAsString(name: string): Promise<string> }, name: string): Promise<string> {
    const counter = registry === this.#openMetrics ? this.#counters.get(name) : undefined;
    // OpenMetrics names a counter without its suffix, and prom-client puts it behind the name of each series. It reads
    // the name at once, so that nobody else meets the other one.
    if (counter !== undefined) counter.name = name.replace(/_total$/, "");
    const text = registry.getSingleMetricAsString(name);
    if (counter !== undefined) counter.name = name;
    return text;
  }

  #keep<Label extends string>(name: string, counter: Counter<Label>): Counter<Label> {
    this.#counters.set(name, counter as Counter & { name: string });
    return counter;
  }
}
