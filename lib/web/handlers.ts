/**
 * The handlers: the guards, the exporter's own paths, and the proxy for everything else.
 *
 * @module
 */

import { accepts, acceptsEncodings } from "@std/http/negotiation";
import { type ClientRequest, contentLength, errorResponse, type Handler } from "../http.ts";
import { isAllowed } from "./browser_guard.ts";
import { SETTINGS } from "../settings/settings.ts";
import type { Metrics } from "../metrics/request_metrics.ts";
import type { Ollama } from "../ollama/ollama.ts";
import { CONTENT_TYPES, type Format } from "../metrics/registry.ts";
import { EVENTS_PATH, type Status, STATUS_PATH } from "../status/status.ts";

/** Path that answers as long as the process serves. */
export const HEALTHY_PATH = "/-/healthy";

/** What stands before the own paths: returns the refusal of a request, or `undefined` to let it in. */
export type Guard = (request: Pick<Request, "headers">) => Promise<Response | undefined> | Response | undefined;

/** Options of {@linkcode createHandlers}. */
export interface ServerOptions {
  readonly metrics: Metrics;
  readonly metricsPath: string;
  readonly ollama: Ollama;
  readonly status: Status;
  /** Answers what is not the exporter's own. */
  readonly proxy: Handler;
  /** Names by which browsers may reach the exporter, beside local ones. */
  readonly allowedHosts: readonly string[];
  /** Guards the own paths; absent: they are open. */
  readonly guard?: Guard;
  /** Called with an exception of our own code. */
  readonly internalError: (error: unknown) => void;
}

/** Handlers for one listener or two. None of them rejects. */
export interface Handlers {
  /** Own paths, and Ollama for everything else. */
  readonly both: Handler;
  /** Own paths, and 404 for everything else. */
  readonly own: Handler;
  /** Ollama for everything. */
  readonly proxied: Handler;
}

/** Requests with these are meant for a proxy of another kind, or to be echoed; `fetch` cannot send them. */
const REFUSED_METHODS = new Set(["CONNECT", "TRACE"]);

/** What a Host header may consist of (RFC 9110, 7.2): anything else would end up in `request.url` as a path. */
const HOST = /^[A-Za-z0-9._\-[\]:]*$/;

/** What is left of the scraper's own limit for everything but the probes, as in the blackbox exporter. */
const SCRAPE_MARGIN_MS = 500;
/** Least time that a scraper's limit leaves for the probes. */
const LEAST_PROBE_MS = 100;

/** Makes the handlers that listeners call. */
export function createHandlers(options: ServerOptions): Handlers {
  const own = new Map<string, (request: ClientRequest) => Promise<Response> | Response>([
    [options.metricsPath, (request) => metrics(request, options)],
    [HEALTHY_PATH, () => text("Healthy.\n", 200)],
    ["/-/ready", () => ready(options.ollama)],
    [STATUS_PATH, () => options.status.page()],
    [EVENTS_PATH, (request) => options.status.events(request)],
  ]);
  const answerOwn = async (request: ClientRequest): Promise<Response | undefined> => {
    const answer = own.get(pathOf(request.url));
    if (answer === undefined) return undefined;
    if (request.method !== "GET" && request.method !== "HEAD") return methodNotAllowed();
    return await options.guard?.(request) ?? await answer(request);
  };
  return {
    both: shielded(options, async (request, info) => await answerOwn(request) ?? await options.proxy(request, info)),
    own: shielded(options, async (request) => await answerOwn(request) ?? text("Not found.\n", 404)),
    proxied: shielded(options, options.proxy),
  };
}

/** The handler behind the guards that hold for all paths, and before the answer to its own failure. */
function shielded({ allowedHosts, internalError }: ServerOptions, handler: Handler): Handler {
  return async (request, info) => {
    try {
      return refusal(request, allowedHosts) ?? await handler(request, info);
    } catch (error) {
      internalError(error);
      return errorResponse(502, pathOf(request.url), "ollama-exporter: internal error; see its log.");
    }
  };
}

function refusal(request: ClientRequest, allowedHosts: readonly string[]): Response | undefined {
  const { headers, method } = request;
  if (!HOST.test(headers.get("host") ?? "")) return text("The Host header is not valid.\n", 400);
  // One that is told twice, or at great length, comes through: without it the body would be taken for none.
  if (headers.has("content-length") && contentLength(headers) === undefined) {
    return text("The Content-Length header is not valid.\n", 400);
  }
  if (REFUSED_METHODS.has(method)) return text("This method is not supported.\n", 501);
  if (isAllowed(headers, allowedHosts)) return undefined;
  const { variable } = SETTINGS.allowedHosts;
  return text(`Browsers may reach this server only by names that the setting ${variable} lists.\n`, 403);
}

/** The path of a request as it stands in its request line, without the query. */
function pathOf(url: string): string {
  return /^[^:]+:\/\/[^/?#]*([^?#]*)/.exec(url)?.[1] || "/";
}

async function metrics(request: ClientRequest, { metrics, ollama }: ServerOptions): Promise<Response> {
  await ollama.refresh(probeLimitMs(request.headers));
  const format = formatOf(request);
  const response = text(await metrics.registry.expose(format), 200, CONTENT_TYPES[format]);
  response.headers.set("vary", "accept, accept-encoding");
  // The best of those that are known here; without a header, or with `*`, nothing is gained by compressing.
  const encoding = acceptsEncodings(request).find((name) => name === "gzip" || name === "identity");
  if (encoding !== "gzip" || response.body === null) return response;
  const headers = new Headers(response.headers);
  headers.set("content-encoding", "gzip");
  return new Response(response.body.pipeThrough(new CompressionStream("gzip")), { headers });
}

/** The format that the scraper likes best; of two that it likes as much, the one that it names first. */
function formatOf(request: ClientRequest): Format {
  for (const type of accepts(request)) {
    if (type === "application/openmetrics-text") return "openMetrics";
    if (type === "text/plain" || type.endsWith("/*")) return "text";
  }
  return "text";
}

/** How long probes may take so that the scraper still gets its answer; no limit where it tells none. */
function probeLimitMs(headers: Headers): number {
  const seconds = Number(headers.get("x-prometheus-scrape-timeout-seconds"));
  return seconds > 0 ? Math.max(seconds * 1000 - SCRAPE_MARGIN_MS, LEAST_PROBE_MS) : Infinity;
}

async function ready(ollama: Ollama): Promise<Response> {
  try {
    return text(`Ready: Ollama ${await ollama.version()} answers.\n`, 200);
  } catch (error) {
    return text(`Not ready: Ollama does not answer: ${error instanceof Error ? error.message : error}\n`, 503);
  }
}

function methodNotAllowed(): Response {
  const response = text("Only GET and HEAD are supported here.\n", 405);
  response.headers.set("allow", "GET, HEAD");
  return response;
}

function text(body: string, status: number, contentType = "text/plain; charset=utf-8"): Response {
  return new Response(body, { status, headers: { "content-type": contentType, "x-content-type-options": "nosniff" } });
}
