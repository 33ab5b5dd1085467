/**
 * Forwards a request to Ollama and its response to the client, unchanged.
 *
 * @module
 */

import { type ClientRequest, copyOf, errorResponse, type Fetch, type Handler, type RequestInfo } from "../http.ts";
import { endpointOf } from "../reading/endpoints.ts";
import { CLIENT_CLOSED_REQUEST, Exchange, type ExchangeOptions, type RequestSummary } from "./exchange.ts";
import { LoopTicks } from "./gather.ts";
import { bodyLength, requestHeaders, responseHeaders } from "./headers.ts";
import { RequestBodies, type RequestBody, UnreadableBody } from "./request_body.ts";
import { failOpen, NO_FACTS, UsageFilter } from "./stream_usage.ts";
import { tap } from "./tap.ts";
import { isBrokenUpload, UPSTREAM_ERROR_TEXT, upstreamErrorOf } from "./upstream_errors.ts";

/** Options of {@linkcode createProxy}. */
export interface ProxyOptions extends ExchangeOptions {
  /** Base URL of Ollama: scheme, host, port, and a base path if it has one. */
  readonly upstream: URL;
  /** Sends requests upstream. */
  readonly fetch: Fetch;
  /** Client for safe methods; its connections are reused. */
  readonly pooled: Deno.HttpClient;
  /** Client for all others: a connection each, since `fetch` repeats a request whose reused connection dies. */
  readonly unpooled: Deno.HttpClient;
  /** Whether to request usage on OpenAI streams that lack it, and to hide it from the client. */
  readonly openaiStreamUsage: boolean;
  /** `User-Agent` of requests that have none: `fetch` would send its own. */
  readonly userAgent: string;
  /** Returns the client of a request, at its arrival. Default: clients are not told apart. */
  readonly clientOf?: (headers: Headers, remoteAddr: Deno.Addr) => string;
  /** Called with a request whose path escapes the base path; it is not forwarded. */
  readonly refused: (request: ClientRequest) => void;
}

const BAD_GATEWAY = 502;

/** Methods that may be repeated (RFC 9110, 9.2.1). */
const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);

/** Creates the handler that forwards. It returns 502 if Ollama does not respond, rejects if our own code fails. */
export function createProxy(options: ProxyOptions): Handler {
  const base = options.upstream.pathname.replace(/\/$/, "");
  const ticks = new LoopTicks();
  const bodies = new RequestBodies({ ...options, ticks });
  return async (request, info) => {
    const url = targetOf(request.url, options.upstream.origin, base);
    if (url === undefined) {
      options.refused(request);
      return errorResponse(400, "", "Request path escapes the base path of the Ollama URL");
    }
    const path = url.pathname.slice(base.length);
    const endpoint = endpointOf(request.method, decoded(path));
    const exchange = new Exchange(endpoint, summaryOf(request, info, options), options);
    let body: RequestBody;
    try {
      body = await bodies.read(request, endpoint);
    } catch (error) {
      if (!(error instanceof UnreadableBody)) {
        exchange.fail(BAD_GATEWAY);
        throw error;
      }
      exchange.onRequestBody({ ...NO_FACTS, bytes: error.bytes });
      return clientClosed(exchange);
    }
    exchange.onRequestBody(body.facts);
    try {
      const upstream = await options.fetch(url.href, {
        method: request.method,
        headers: requestHeaders(request.headers, info.remoteAddr, options.userAgent),
        body: body.body,
        redirect: "manual",
        signal: request.signal,
        client: SAFE_METHODS.has(request.method) ? options.pooled : options.unpooled,
      });
      return forward(upstream, {
        request,
        body,
        exchange,
        info,
        ticks,
        internalError: options.internalError,
      });
    } catch (error) {
      const hasDisconnected = request.signal.aborted || isBrokenUpload(error);
      return hasDisconnected ? clientClosed(exchange) : unreachable(error, exchange, path);
    } finally {
      body.release();
    }
  };
}

/**
 * The upstream URL: the request target, below the base path. `URL` resolves dot segments, so that what is measured is
 * what is sent.
 *
 * @returns `undefined` where it would escape the base path, at once or where a server behind it decodes it.
 */
function targetOf(requestUrl: string, origin: string, base: string): URL | undefined {
  const target = /^[^:]+:\/\/[^/?#]*(.*)$/s.exec(requestUrl)?.[1] ?? "";
  const url = URL.parse(origin + base + (target.startsWith("/") ? target : `/${target}`));
  if (url === null || !url.pathname.startsWith(`${base}/`)) return undefined;
  return base !== "" && hasHiddenParent(url.pathname) ? undefined : url;
}

/** A parent segment, to whatever server: with either slash, and with path parameters (`..;a=1`). */
const PARENT = /[/\\]\.\.(?:[/\\;]|$)/;
/** How often servers one behind the other may decode a path. */
const DECODINGS = 3;

/** Whether a path has a parent segment once it is decoded; `URL` has resolved those that are not hidden. */
function hasHiddenParent(path: string): boolean {
  let decoded = path;
  for (let count = 0; count < DECODINGS; count++) {
    if (PARENT.test(decoded)) return true;
    decoded = decoded.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  }
  return PARENT.test(decoded);
}

/** A path as Ollama's router matches it; unchanged where it cannot be decoded. */
function decoded(path: string): string {
  if (!path.includes("%")) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * Start of a valid `traceparent` (W3C Trace Context, 3.2.2): not version ff, no id of zeros, and nothing after the
 * flags but what versions later than 00 may add.
 */
const TRACEPARENT = /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

function summaryOf(
  { method, headers }: ClientRequest,
  { remoteAddr }: RequestInfo,
  { clientOf }: ProxyOptions,
): RequestSummary {
  const [, traceId] = TRACEPARENT.exec(headers.get("traceparent") ?? "") ?? [];
  return { method, traceId: traceId && copyOf(traceId), client: clientOf?.(headers, remoteAddr) };
}

/** What {@linkcode forward} needs besides the response. */
interface ForwardOptions {
  readonly request: ClientRequest;
  readonly body: RequestBody;
  readonly exchange: Exchange;
  readonly info: RequestInfo;
  readonly ticks: LoopTicks;
  readonly internalError: (error: unknown) => void;
}

/**
 * Forwards the upstream's response.
 *
 * @throws {Error} Where its status is not one that a `Response` can have.
 */
function forward(upstream: Response, options: ForwardOptions): Response {
  const { request: { method, signal }, body: requestBody, exchange, info, ticks, internalError } = options;
  const { status } = upstream;
  const length = bodyLength(upstream.headers);
  // A listener announces a length of 0 for no body, which is not what a GET would get.
  const body = method === "HEAD" && length === undefined ? noBytes() : upstream.body;
  if (status < 200 || status > 599) {
    body?.cancel().catch(() => {});
    throw new Error(`invalid status ${status}`);
  }
  const hidesUsage = exchange.onResponse(upstream) && requestBody.hasRequestedUsage;
  const headers = responseHeaders(upstream.headers, hidesUsage || length === undefined);
  if (body !== null) {
    // Also where nothing is parsed: only the tap tells a complete body from a broken one.
    const filter = hidesUsage ? failOpen(new UsageFilter(), internalError) : undefined;
    return new Response(tap(body, { watcher: exchange, ticks, filter }), { status, headers });
  }
  info.completed.then(
    () => exchange.end(signal.aborted ? "cancelled" : "complete"),
    () => exchange.end("cancelled"),
  );
  return new Response(null, { status, headers });
}

/** A body of unknown length without any bytes. */
function noBytes(): ReadableStream<Uint8Array<ArrayBuffer>> {
  return ReadableStream.from([]);
}

/** The client disconnected before there were response headers; nobody reads this response. */
function clientClosed(exchange: Exchange): Response {
  exchange.end("cancelled");
  return new Response(null, { status: CLIENT_CLOSED_REQUEST });
}

/** There are no response headers that can be forwarded. */
function unreachable(error: unknown, exchange: Exchange, path: string): Response {
  const reason = upstreamErrorOf(error);
  exchange.fail(BAD_GATEWAY, reason);
  return errorResponse(BAD_GATEWAY, path, `ollama-exporter: ${UPSTREAM_ERROR_TEXT[reason]}`);
}
