/**
 * Counts and logs refused requests.
 *
 * @module
 */

import type { ClientRequest } from "../http.ts";
import type { Log } from "../log/log.ts";
import type { Refusal } from "../metrics/refusal_metrics.ts";
import { SETTINGS } from "../settings/settings.ts";
import { authorityOf } from "./paths.ts";

/** Minimum time between log lines with the same reason, in milliseconds. */
const LOG_INTERVAL_MS = 60_000;

/** The setting on which a refusal depends, if there is one. */
const SETTING: Partial<Record<Refusal, string>> = {
  host_not_allowed: SETTINGS.allowedHosts.variable,
  invalid_path: SETTINGS.ollamaHost.variable,
};

/** Options of {@linkcode Refusals}. */
interface RefusalsOptions {
  readonly log: Log;
  /** Counts a refused request. */
  readonly count: (reason: Refusal) => void;
}

/** Refused requests: all of them are counted, one per reason and minute is logged. */
export class Refusals {
  readonly #options: RefusalsOptions;
  /** By reason, when it was last logged, and how many refusals were not logged since. */
  readonly #logged = new Map<Refusal, { readonly atMs: number; suppressed: number }>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** Counts a refused request and, unless its reason was logged within the last minute, logs it. */
  record(reason: Refusal, { method, url, headers }: Pick<ClientRequest, "method" | "url" | "headers">): void {
    const { log, count } = this.#options;
    count(reason);
    const atMs = performance.now();
    const last = this.#logged.get(reason);
    if (last !== undefined && atMs - last.atMs < LOG_INTERVAL_MS) {
      last.suppressed++;
      return;
    }
    this.#logged.set(reason, { atMs, suppressed: 0 });
    log.warn("Refused request", {
      reason,
      setting: SETTING[reason],
      // Of an invalid Host header the URL has a part only.
      host: reason === "invalid_host" ? headers.get("host") ?? authorityOf(url) : authorityOf(url),
      method,
      suppressed: last?.suppressed || undefined,
    });
  }
}
