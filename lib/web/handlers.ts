/**
 * Request handlers: checks, admin endpoints, and the proxy for everything else.
 *
 * @module
 */

import { messageOf } from "../errors.ts";
import {
  type ClientRequest,
  contentLength,
  errorResponse,
  type Handler,
  isLoopback,
  type RequestInfo,
} from "../http.ts";
import type { Refusal } from "../metrics/refusal_metrics.ts";
import type { Metrics } from "../metrics/request_metrics.ts";
import type { Ollama } from "../ollama/probes.ts";
import { SETTINGS } from "../settings/settings.ts";
import { EVENTS_PATH, type Status, STATUS_PATH } from "../status/status.ts";
import { type HostRules, isAllowed } from "./browser_guard.ts";
import { compressed } from "./compression.ts";
import { serveMetrics } from "./metrics_handler.ts";
import { authorityOf, HEALTHY_PATH, pathOf, READY_PATH } from "./paths.ts";
import type { Refusals } from "./refusals.ts";
import { textResponse } from "./text_response.ts";

/** Authorizes a request to an admin endpoint: returns the response that rejects it, or `undefined` to admit it. */
export type Guard = (request: Pick<Request, "headers">) => Promise<Response | undefined> | Response | undefined;

/**
 * Hostnames of the addresses that the listeners are bound to. They are read with each request: before a listener is
 * open only its configured address is known.
 */
export interface BoundHosts {
  readonly proxy: string;
  readonly admin: string;
}

/** Options of {@linkcode createHandlers}. */
interface HandlersOptions {
  readonly metrics: Metrics;
  readonly metricsPath: string;
  readonly ollama: Ollama;
  readonly status: Status;
  /** Handles requests to Ollama. */
  readonly proxy: Handler;
  /** Host names to accept besides addresses and local names. */
  readonly allowedHosts: readonly string[];
  /** Default: all interfaces. */
  readonly bound?: BoundHosts;
  readonly refusals: Refusals;
  /** Guards the admin endpoints. Default: they are open. */
  readonly guard?: Guard;
  /** Called with an exception in the exporter's own code. */
  readonly internalError: (error: unknown) => void;
}

/** Handlers for one listener or two. None of them rejects. */
export interface Handlers {
  /** Admin endpoints, and the proxy for everything else. */
  readonly combined: Handler;
  /** Admin endpoints, a redirect from `/` to the status page, and 404 for everything else. */
  readonly admin: Handler;
  /** The proxy for everything. */
  readonly proxy: Handler;
}

/** Methods that `fetch` does not send, in any case (Fetch, 2.2.1). */
const UNSUPPORTED_METHODS = new Set(["CONNECT", "TRACE", "TRACK"]);
/** Methods that `fetch` sends in upper case only (Fetch, 2.2.1). In lower case they are others. */
const NORMALIZED_METHODS = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]);

/** Characters of a valid host (RFC 9110, 7.2). Others could turn part of it into the path of `request.url`. */
const HOST = /^[A-Za-z0-9._\-[\]:]*$/;

/** Statuses and texts of the responses to requests that are refused by their heads. */
const REFUSED = {
  invalid_host: [400, "Invalid Host header"],
  invalid_content_length: [400, "Invalid Content-Length header"],
  unsupported_transfer_encoding: [501, "Transfer-Encoding not supported"],
  unsupported_method: [501, "Method not supported"],
  host_not_allowed: [403, `Host not allowed: add it to ${SETTINGS.allowedHosts.variable}`],
} as const satisfies Partial<Record<Refusal, readonly [status: number, text: string]>>;

/** Creates the handlers for the listeners. */
export function createHandlers(options: HandlersOptions): Handlers {
  const { ollama, status } = options;
  const endpoints = new Map<string, Handler>([
    [options.metricsPath, (request) => serveMetrics(request, options)],
    [HEALTHY_PATH, () => textResponse(200, "Healthy")],
    [READY_PATH, () => serveReady(ollama)],
    [STATUS_PATH, async (request) => compressed(request, await status.page())],
    [EVENTS_PATH, (request) => status.events(request)],
  ]);
  const serveAdmin = async (request: ClientRequest, info: RequestInfo): Promise<Response | undefined> => {
    const serve = endpoints.get(pathOf(request.url));
    if (serve === undefined) return undefined;
    if (request.method !== "GET" && request.method !== "HEAD") {
      return textResponse(405, "Method not allowed: use GET or HEAD", { allow: "GET, HEAD" });
    }
    return await options.guard?.(request) ?? await serve(request, info);
  };
  return {
    combined: checked(
      options,
      "proxy",
      async (request, info) => await serveAdmin(request, info) ?? await options.proxy(request, info),
    ),
    admin: checked(options, "admin", async (request, info) => await serveAdmin(request, info) ?? serveRoot(request)),
    proxy: checked(options, "proxy", options.proxy),
  };
}

/** Wraps a handler: refuses requests that no endpoint accepts, and responds with 502 if the handler fails. */
function checked(options: HandlersOptions, listener: keyof BoundHosts, handler: Handler): Handler {
  const { allowedHosts, bound, refusals, internalError } = options;
  return async (request, info) => {
    try {
      const rules = { allowedHosts, isLoopback: bound !== undefined && isLoopback(bound[listener]) };
      const refusal = refusalOf(request, rules);
      if (refusal === undefined) return await handler(request, info);
      refusals.record(refusal, request);
      const [status, text] = REFUSED[refusal];
      return textResponse(status, text);
    } catch (error) {
      internalError(error);
      return errorResponse(502, pathOf(request.url), "ollama-exporter: internal error, see its log");
    }
  };
}

/** Returns why a request must not be handled, or `undefined` if it may be. */
function refusalOf({ headers, method, url }: ClientRequest, rules: HostRules): keyof typeof REFUSED | undefined {
  // The URL has the Host header, or what takes precedence over it: the authority of HTTP/2 or of an absolute target.
  const host = authorityOf(url);
  if (!HOST.test(headers.get("host") ?? "") || !HOST.test(host)) return "invalid_host";
  // Listeners let repeated and very long values through; the request would be taken for one without a body.
  if (headers.has("content-length") && contentLength(headers) === undefined) return "invalid_content_length";
  // Listeners decode the chunks only, and the coding below them would be lost (RFC 9112, 6.1).
  const coding = headers.get("transfer-encoding");
  if (coding !== null && coding.trim().toLowerCase() !== "chunked") return "unsupported_transfer_encoding";
  if (!isSendable(method)) return "unsupported_method";
  return isAllowed(host, headers, rules) ? undefined : "host_not_allowed";
}

function isSendable(method: string): boolean {
  const name = method.toUpperCase();
  return !UNSUPPORTED_METHODS.has(name) && (name === method || !NORMALIZED_METHODS.has(name));
}

/** Redirects from `/` to the status page, where `/` is not Ollama's. */
function serveRoot({ method, url }: ClientRequest): Response {
  const isRoot = pathOf(url) === "/" && (method === "GET" || method === "HEAD");
  return isRoot ? textResponse(302, "Found", { location: STATUS_PATH }) : textResponse(404, "Not found");
}

async function serveReady(ollama: Ollama): Promise<Response> {
  try {
    return textResponse(200, `Ready: Ollama ${await ollama.version()} is reachable`);
  } catch (error) {
    return textResponse(503, `Not ready: Ollama is unreachable: ${messageOf(error)}`);
  }
}
