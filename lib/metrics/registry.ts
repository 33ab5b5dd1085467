/**
 * Metric registry with two exposition formats.
 *
 * @module
 */

import { pause } from "./pause.ts";
import { Counter, Gauge, Histogram, Registry } from "./prom_client.ts";

/** Content types of the exposition formats: Prometheus text 0.0.4, and OpenMetrics 1.0 with exemplars. */
export const CONTENT_TYPES = {
  text: Registry.PROMETHEUS_CONTENT_TYPE,
  openMetrics: Registry.OPENMETRICS_CONTENT_TYPE,
} as const;
/** An exposition format. */
export type Format = keyof typeof CONTENT_TYPES;

/** Time after which rendering pauses, in milliseconds. A single metric is rendered in one go. */
const SLICE_MS = 2;

/** Creates and removes the series of a metric. */
export interface Series<Label extends string> {
  /** Starts a series at 0. One that exists is left as it is. */
  start(labels: Record<Label, string>): void;
  /** Removes a series, if it exists. */
  remove(labels: Record<Label, string>): void;
}

/** A counter: `inc(labels, value)`, by 1 if there is no value. */
type CounterSeries<Label extends string> = Counter<Label> & Series<Label>;

/** A histogram. */
interface HistogramSeries<Label extends string> extends Series<Label> {
  observe(labels: Record<Label, string>, value: number): void;
}

/** A histogram whose observations may carry exemplars. */
interface TracedHistogram<Label extends string> extends Series<Label> {
  /** @param traceId Label `trace_id` of the exemplar. Without it there is no exemplar. */
  observe(labels: Record<Label, string>, value: number, traceId: string | undefined): void;
}

/** Labels and value of one series of a gauge. */
export type Sample<Label extends string = string> = readonly [labels: Readonly<Record<Label, string>>, value: number];

/** A declared metric. */
export interface Declaration {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

/**
 * Declares metrics and renders them.
 *
 * Counters and histograms accumulate. Gauges hold no values: each exposition computes their samples from the `State` it
 * is given, so that concurrent expositions cannot mix and a series disappears with what it describes.
 */
export class MetricRegistry<State> {
  // The format is a property of prom-client's registry; two registries allow concurrent expositions in both formats.
  readonly #text = new Registry();
  readonly #openMetrics = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
  readonly #registers = [this.#text, this.#openMetrics] as Registry[];
  /** Counters by declared name. */
  readonly #counters = new Map<string, Counter & { name: string }>();
  /** By name, how to compute the samples of a gauge. */
  readonly #gauges = new Map<string, (state: State) => readonly Sample[]>();

  constructor() {
    this.#openMetrics.setContentType(CONTENT_TYPES.openMetrics);
  }

  /** Declares a counter. Without labels it starts at 0. */
  counter<Label extends string>(name: string, help: string, ...labelNames: Label[]): CounterSeries<Label> {
    const counter = this.#keep(name, new Counter({ name, help, labelNames, registers: this.#registers }));
    return Object.assign(counter, { start: (labels: Record<Label, string>): void => counter.inc(labels, 0) });
  }

  /** Declares a counter that is read at each exposition. Its value must never decrease. */
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
   * @param samples Computes all series of one exposition. All gauges are computed at once, before any is rendered.
   */
  gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    samples: (state: State) => readonly Sample<Label>[],
  ): void {
    // Reserves the name and the position in the output.
    new Gauge({ name, help, labelNames, registers: this.#registers });
    this.#gauges.set(name, samples);
  }

  /** Declares a histogram. */
  histogram<Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: Label[]
  ): HistogramSeries<Label> {
    const histogram = new Histogram({ name, help, buckets, labelNames, registers: this.#registers });
    return withSeries(histogram, labelNames, (labels, value) => histogram.observe(labels, value));
  }

  /** Declares a histogram whose observations may carry a trace ID as an exemplar. */
  tracedHistogram<Label extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: Label[]
  ): TracedHistogram<Label> {
    const registers = [this.#openMetrics as unknown as Registry];
    const histogram = new Histogram({ name, help, buckets, labelNames, enableExemplars: true, registers });
    // prom-client allows exemplars in OpenMetrics registries only. The text format renders the histogram without them.
    this.#text.registerMetric(histogram);
    // prom-client's types require the histogram's own labels in an exemplar.
    const observe = histogram.observe.bind(histogram) as (observation: unknown) => void;
    return withSeries(histogram, labelNames, (labels, value, traceId) => {
      observe({ labels, value, ...traceId !== undefined && { exemplarLabels: { trace_id: traceId } } });
    });
  }

  /** All declared metrics, in output order. */
  get declarations(): Declaration[] {
    // prom-client's types lack the label names.
    const metrics = this.#text.getMetricsAsArray() as unknown as (Declaration & { labelNames: string[] })[];
    return metrics.map(({ name, type, help, labelNames }) => ({ name, type, help, labels: labelNames }));
  }

  /**
   * Renders all metrics. The output is that of prom-client's `metrics()`, but rendering pauses every few milliseconds,
   * so that a scrape of many series does not delay proxied streams.
   *
   * @param state Value from which the gauges are computed.
   */
  async expose(format: Format, state: State): Promise<string> {
    const samples = new Map([...this.#gauges].map(([name, compute]) => [name, compute(state)]));
    const texts: string[] = [];
    let sliceStart = performance.now();
    for (const declaration of this.declarations) {
      const { name } = declaration;
      const gauge = samples.get(name);
      texts.push(await (gauge === undefined ? this.#renderKept(format, name) : renderGauge(declaration, gauge)));
      if (performance.now() - sliceStart < SLICE_MS) continue;
      await pause();
      sliceStart = performance.now();
    }
    return format === "text" ? `${texts.join("\n\n")}\n` : `${texts.join("\n")}\n# EOF\n`;
  }

  /** Renders a counter or a histogram. */
  #renderKept(format: Format, name: string): Promise<string> {
    if (format === "text") return this.#text.getSingleMetricAsString(name);
    const counter = this.#counters.get(name);
    // OpenMetrics names a counter without its suffix, and prom-client appends the suffix to each series. It reads the
    // name synchronously, so no one else sees the changed name.
    if (counter !== undefined) counter.name = name.replace(/_total$/, "");
    const text = this.#openMetrics.getSingleMetricAsString(name);
    if (counter !== undefined) counter.name = name;
    return text;
  }

  #keep<Label extends string>(name: string, counter: Counter<Label>): Counter<Label> {
    this.#counters.set(name, counter as Counter & { name: string });
    return counter;
  }
}

/** Keeps track of the series of a histogram: prom-client resets one that exists to 0. */
function withSeries<Label extends string>(
  histogram: Histogram<Label>,
  labelNames: readonly Label[],
  observe: TracedHistogram<Label>["observe"],
): TracedHistogram<Label> & HistogramSeries<Label> {
  const existing = new Set<string>();
  // Without JSON, as prom-client makes its own: it is made with each observation.
  const keyOf = (labels: Record<Label, string>): string => {
    let key = "";
    for (const name of labelNames) key += `${labels[name]}\0`;
    return key;
  };
  return {
    start(labels): void {
      const key = keyOf(labels);
      if (existing.has(key)) return;
      existing.add(key);
      histogram.zero(labels);
    },
    remove(labels): void {
      existing.delete(keyOf(labels));
      histogram.remove(labels);
    },
    observe(labels, value, traceId?: string): void {
      existing.add(keyOf(labels));
      observe(labels, value, traceId);
    },
  };
}

/** Renders the samples of one exposition, in a registry of their own. Both formats render gauges alike. */
function renderGauge({ name, help, labels }: Declaration, samples: readonly Sample[]): Promise<string> {
  const registry = new Registry();
  const gauge = new Gauge({ name, help, labelNames: labels, registers: [registry] });
  // Without labels prom-client starts at 0.
  if (labels.length === 0) gauge.remove();
  for (const [labels, value] of samples) gauge.set(labels, value);
  return registry.getSingleMetricAsString(name);
}
