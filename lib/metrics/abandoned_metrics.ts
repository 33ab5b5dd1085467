/**
 * Metrics of streams that were abandoned: generation for a client that did not wait for it.
 *
 * @module
 */

import type { Api, Observation } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { byApi, GENERATING, type ModelRows, type Row } from "./model_metrics.ts";
import type { MetricRegistry } from "./registry.ts";

/**
 * Declares the metrics of abandoned streams, and records them. They estimate tokens, which Ollama reports at the end of
 * a stream only: a message has one, rarely more.
 */
export class AbandonedMetrics implements ModelRows {
  readonly #messages;
  readonly #seconds;
  readonly apiCounters: readonly Row[];

  constructor(registry: MetricRegistry<ServerState>) {
    this.#messages = registry.counter(
      "ollama_abandoned_output_messages_total",
      "Total number of stream messages with output that were forwarded to clients that disconnected before the end.",
      "model",
      "api",
    );
    this.#seconds = registry.counter(
      "ollama_abandoned_seconds_total",
      "Total time from the first output of a stream until its client disconnected before the end, in seconds.",
      "model",
      "api",
    );
    this.apiCounters = [this.#messages, this.#seconds].map((metric) => ({
      metric,
      apis: GENERATING,
      labelSets: byApi,
    }));
  }

  /** Records a completed request; nothing if it was not abandoned, or before its client got any output. */
  record(observation: Observation, model: string, api: Api): void {
    const { outcome, outputMessages = 0, firstOutputSeconds, durationSeconds } = observation;
    if (outcome !== "client_closed" || outputMessages === 0 || firstOutputSeconds === undefined) return;
    this.#messages.inc({ model, api }, outputMessages);
    this.#seconds.inc({ model, api }, durationSeconds - firstOutputSeconds);
  }
}
