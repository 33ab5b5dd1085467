/**
 * Metric of the event loop: while it is late, no bytes are forwarded.
 *
 * @module
 */

import type { MetricRegistry } from "./registry.ts";

const INTERVAL_MS = 250;
const MILLISECONDS_PER_SECOND = 1e3;
/** Upper bounds in seconds. A timer of Deno 2.9.6 is 1 ms late on an idle machine. */
const LAG_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Measures the event loop by one timer, which does not keep the process alive, until it is disposed of. */
export class EventLoopLag<State> implements Disposable {
  readonly #lag;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(registry: MetricRegistry<State>) {
    this.#lag = registry.histogram(
      "ollama_exporter_event_loop_lag_seconds",
      "Lateness of a timer that is due every 250 ms.",
      LAG_BUCKETS,
    );
    this.#schedule();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    const dueAt = performance.now() + INTERVAL_MS;
    this.#timer = setTimeout(() => {
      this.#lag.observe({}, Math.max(0, performance.now() - dueAt) / MILLISECONDS_PER_SECOND);
      this.#schedule();
    }, INTERVAL_MS);
    Deno.unrefTimer(this.#timer);
  }
}
