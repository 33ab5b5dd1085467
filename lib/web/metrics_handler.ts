/**
 * The metrics endpoint: scrape timeout, content negotiation and compression.
 *
 * @module
 */

import { accepts } from "@std/http/negotiation";
import type { ClientRequest } from "../http.ts";
import { CONTENT_TYPES, type Format } from "../metrics/registry.ts";
import type { Metrics } from "../metrics/request_metrics.ts";
import type { Ollama } from "../ollama/probes.ts";
import { compressed } from "./compression.ts";

/** Subtracted from the scrape timeout, to leave time for everything but the probes, as in blackbox_exporter. */
const SCRAPE_MARGIN_MS = 500;
/** Minimum probe timeout, however short the scrape timeout is. */
const MIN_PROBE_MS = 100;

/** What a scrape is answered from. */
interface Scraped {
  readonly metrics: Metrics;
  readonly ollama: Ollama;
}

/** Probes Ollama and responds with all metrics. Counts a scrape that fails, or whose client disconnects. */
export function serveMetrics(request: ClientRequest, scraped: Scraped): Promise<Response> {
  const response = respond(request, scraped);
  const failed = Promise.withResolvers<unknown>();
  failed.promise.then(() => scraped.metrics.scrapeError());
  response.catch(failed.resolve);
  request.signal.addEventListener("abort", failed.resolve, { once: true });
  if (request.signal.aborted) failed.resolve(undefined);
  return response;
}

async function respond(request: ClientRequest, { metrics, ollama }: Scraped): Promise<Response> {
  const state = await ollama.fetchState(probeLimitMs(request.headers));
  const format = formatOf(request);
  const headers = { "content-type": CONTENT_TYPES[format], "vary": "accept", "x-content-type-options": "nosniff" };
  return compressed(request, new Response(await metrics.expose(format, state), { headers }));
}

/** Returns the format that `Accept` prefers; of equally preferred ones, the first. */
function formatOf(request: ClientRequest): Format {
  for (const type of accepts(request)) {
    if (type === "application/openmetrics-text") return "openMetrics";
    if (type === "text/plain" || type.endsWith("/*")) return "text";
  }
  return "text";
}

/** Returns the part of the scrape timeout that is left for probes, in milliseconds; `Infinity` without a timeout. */
function probeLimitMs(headers: Headers): number {
  const seconds = Number(headers.get("x-prometheus-scrape-timeout-seconds"));
  return seconds > 0 ? Math.max(seconds * 1000 - SCRAPE_MARGIN_MS, MIN_PROBE_MS) : Infinity;
}
