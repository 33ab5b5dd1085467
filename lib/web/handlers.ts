/**
 * Request handlers: checks, admin endpoints, and the proxy for everything else.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import { type ClientRequest, contentLength, errorResponse, type Handler } from "../http.ts";
import type { Metrics } from "../metrics/request_metrics.ts";
import type { Ollama } from "../ollama/probes.ts";
import { SETTINGS } from "../settings/settings.ts";
import { EVENTS_PATH, type Status, STATUS_PATH } from "../status/status.ts";
import { isAllowed } from "./browser_guard.ts";
import { serveMetrics } from "./metrics_handler.ts";
import { HEALTHY_PATH, pathOf, READY_PATH } from "./paths.ts";
import { textResponse } from "./text_response.ts";

/** Authorizes a request to an admin endpoint: returns the response that rejects it, or `undefined` to admit it. */
export type Guard = (request: Pick<Request, "headers">) => Promise<Response | undefined> | Response | undefined;

/** Options of {@linkcode createHandlers}. */
interface HandlersOptions {
  readonly metrics: Metrics;
  readonly metricsPath: string;
  readonly ollama: Ollama;
  readonly status: Status;
  /** Handles requests to Ollama. */
  readonly proxy: Handler;
  /** Host names allowed in browser requests, besides local ones. */
  readonly allowedHosts: readonly string[];
  /** Guards the admin endpoints. Default: they are open. */
  readonly guard?: Guard;
  /** Called with an exception in the exporter's own code. */
  readonly internalError: (error: unknown) => void;
}

/** Handlers for one listener or two. None of them rejects. */
export interface Handlers {
  /** Admin endpoints, and the proxy for everything else. */
  readonly combined: Handler;
  /** Admin endpoints, and 404 for everything else. */
  readonly admin: Handler;
  /** The proxy for everything. */
  readonly proxy: Handler;
}

/** Methods of other kinds of proxies, which `fetch` cannot send. */
const UNSUPPORTED_METHODS = new Set(["CONNECT", "TRACE"]);

/** Characters of a valid Host header (RFC 9110, 7.2). Others could turn part of it into the path of `request.url`. */
const HOST = /^[A-Za-z0-9._\-[\]:]*$/;

/** Creates the handlers for the listeners. */
export function createHandlers(options: HandlersOptions): Handlers {
  const { metrics, ollama, status } = options;
  const endpoints = new Map<string, (request: ClientRequest) => Promise<Response> | Response>([
    [options.metricsPath, (request) => serveMetrics(request, metrics, ollama)],
    [HEALTHY_PATH, () => textResponse(200, "Healthy")],
    [READY_PATH, () => serveReady(ollama)],
    [STATUS_PATH, () => status.page()],
    [EVENTS_PATH, (request) => status.events(request)],
  ]);
  const serveAdmin = async (request: ClientRequest): Promise<Response | undefined> => {
    const serve = endpoints.get(pathOf(request.url));
    if (serve === undefined) return undefined;
    if (request.method !== "GET" && request.method !== "HEAD") {
      return textResponse(405, "Method not allowed: use GET or HEAD", { allow: "GET, HEAD" });
    }
    return await options.guard?.(request) ?? await serve(request);
  };
  return {
    combined: checked(
      options,
      async (request, info) => await serveAdmin(request) ?? await options.proxy(request, info),
    ),
    admin: checked(options, async (request) => await serveAdmin(request) ?? textResponse(404, "Not found")),
    proxy: checked(options, options.proxy),
  };
}

/** Wraps a handler: rejects requests that no endpoint accepts, and responds with 502 if the handler fails. */
function checked({ allowedHosts, internalError }: HandlersOptions, handler: Handler): Handler {
  return async (request, info) => {
    try {
      return rejection(request, allowedHosts) ?? await handler(request, info);
    } catch (error) {
      internalError(error);
      return errorResponse(502, pathOf(request.url), "ollama-exporter: internal error, see its log");
    }
  };
}

/** Returns the response to a request that must not be handled, or `undefined`. */
function rejection(request: ClientRequest, allowedHosts: readonly string[]): Response | undefined {
  const { headers, method } = request;
  if (!HOST.test(headers.get("host") ?? "")) return textResponse(400, "Invalid Host header");
  // Listeners let repeated and very long values through; the request would be taken for one without a body.
  if (headers.has("content-length") && contentLength(headers) === undefined) {
    return textResponse(400, "Invalid Content-Length header");
  }
  if (UNSUPPORTED_METHODS.has(method)) return textResponse(501, "Method not supported");
  if (isAllowed(headers, allowedHosts)) return undefined;
  return textResponse(403, `Host not allowed for browser requests: add it to ${SETTINGS.allowedHosts.variable}`);
}

async function serveReady(ollama: Ollama): Promise<Response> {
  try {
    return textResponse(200, `Ready: Ollama ${await ollama.version()} is reachable`);
  } catch (error) {
    return textResponse(503, `Not ready: Ollama is unreachable: ${messageOf(error)}`);
  }
}
