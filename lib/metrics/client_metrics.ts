/**
 * Metrics with a `client` label: their declarations, how an observation is recorded, and which series exist.
 *
 * `increase()` and `rate()` cannot see the increase with which a series begins. But a client's first request must not
 * give it a label before it has succeeded: anyone can send names. Therefore a request in flight of a client without a
 * label has series of zeros while a label is free for it. If it succeeds, they are the client's series from then on;
 * otherwise the next exposition is without them, and nothing was counted in them. What no scrape has seen open begins
 * with its first value, as does a client that takes the label of another.
 *
 * @module
 */

import { type Observation, type OpenRequest, OTHER_CLIENT, OUTCOMES, UNKNOWN_CLIENT } from "../observation.ts";
import type { ServerState } from "../ollama/state.ts";
import { ClientLabels } from "./client_labels.ts";
import type { MetricRegistry } from "./registry.ts";

/** Values of the `direction` label: tokens that were sent to a model, and those that it generated. */
const DIRECTIONS = ["prompt", "output"] as const;

/** Options of {@linkcode ClientMetrics}. */
interface ClientMetricsOptions {
  readonly registry: MetricRegistry<ServerState>;
  /** Maximum number of values of the `client` label, besides `unknown` and `other`. */
  readonly limit: number;
  readonly openRequests: ReadonlySet<OpenRequest>;
}

/** Declares the metrics of clients, and records them. */
export class ClientMetrics {
  readonly #labels: ClientLabels;
  readonly #openRequests: ReadonlySet<OpenRequest>;
  /** Label values that have series. */
  readonly #started = new Set<string>();
  readonly #requests;
  readonly #tokens;

  constructor({ registry, limit, openRequests }: ClientMetricsOptions) {
    this.#labels = new ClientLabels(limit);
    this.#openRequests = openRequests;
    this.#requests = registry.counter(
      "ollama_client_requests_total",
      "Total number of completed inference requests by client and outcome.",
      "client",
      "outcome",
    );
    this.#tokens = registry.counter(
      "ollama_client_tokens_total",
      "Total number of prompt tokens and generated tokens by client.",
      "client",
      "direction",
    );
    for (const label of [UNKNOWN_CLIENT, OTHER_CLIENT]) this.#start(label);
  }

  /** Records a completed request of any route but a transfer. */
  record({ client, api, outcome, report: { promptTokens, outputTokens } }: Observation): void {
    // Responses of other routes may report tokens, too.
    if (api === undefined && promptTokens === undefined && outputTokens === undefined) return;
    const moment = { now: performance.now(), openRequests: this.#openRequests };
    const { label, removed } = this.#labels.use(client ?? UNKNOWN_CLIENT, outcome === "ok", moment);
    if (removed !== undefined) this.#remove(removed);
    this.#start(label);
    if (api !== undefined) this.#requests.inc({ client: label, outcome });
    if (promptTokens !== undefined) this.#tokens.inc({ client: label, direction: "prompt" }, promptTokens);
    if (outputTokens !== undefined) this.#tokens.inc({ client: label, direction: "output" }, outputTokens);
  }

  /** Starts the series of clients that may get a label, and removes those of clients that did not. */
  update(): void {
    const open = new Set([...this.#openRequests].map(({ client }) => client ?? UNKNOWN_CLIENT));
    const without = [...open].filter((client) => !this.#hasLabel(client));
    // Those that have series come first, so that no series goes while its client may still get the label.
    const first = without.filter((client) => this.#started.has(client));
    const others = without.filter((client) => !this.#started.has(client));
    const awaited = new Set([...first, ...others].slice(0, this.#labels.free));
    for (const client of this.#started) {
      if (!this.#hasLabel(client) && !awaited.has(client)) this.#remove(client);
    }
    for (const client of awaited) this.#start(client);
  }

  #hasLabel(client: string): boolean {
    return client === UNKNOWN_CLIENT || client === OTHER_CLIENT || this.#labels.has(client);
  }

  /** Starts all series of a label at 0, if it has none. */
  #start(client: string): void {
    if (this.#started.has(client)) return;
    this.#started.add(client);
    for (const outcome of OUTCOMES) this.#requests.start({ client, outcome });
    for (const direction of DIRECTIONS) this.#tokens.start({ client, direction });
  }

  #remove(client: string): void {
    this.#started.delete(client);
    for (const outcome of OUTCOMES) this.#requests.remove({ client, outcome });
    for (const direction of DIRECTIONS) this.#tokens.remove({ client, direction });
  }
}
