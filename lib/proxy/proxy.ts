/**
 * Forwards one request to Ollama, and what comes back to the client, unchanged.
 *
 * @module
 */

import {
  type ClientRequest,
  contentLength,
  errorResponse,
  type Fetch,
  type Handler,
  type RequestInfo,
} from "../http.ts";
import { CLIENT_CLOSED_REQUEST, Exchange, type ExchangeOptions, type RequestSummary } from "./exchange.ts";
import type { UpstreamError } from "../observation.ts";
import { endpointOf } from "../reading/endpoints.ts";
import { BodyReader, type OutgoingBody, UnreadableBody } from "./request_body.ts";
import { receive, SHORT_BODY_BYTES } from "./short_body.ts";
import { type Filter, tap, Turns } from "./tap.ts";
import { UsageFilter } from "./stream_usage.ts";
import { isBrokenUpload, upstreamErrorOf } from "./upstream_errors.ts";

/** Options of {@linkcode createProxy}. */
export interface ProxyOptions extends ExchangeOptions {
  /** Where Ollama is: scheme, host, port, and a base path if it has one. */
  readonly upstream: URL;
  /** Sends requests upstream. */
  readonly fetch: Fetch;
  /** Client for requests that can be repeated without harm; its connections may be used again. */
  readonly pooled: Deno.HttpClient;
  /** Client for all others: a connection each, since `fetch` repeats a request whose used connection dies. */
  readonly unpooled: Deno.HttpClient;
  /** Whether OpenAI streams whose client did not ask for usage are asked for it. */
  readonly openaiStreamUsage: boolean;
  /** Value of `User-Agent` for requests that have none: `fetch` would put its own. */
  readonly userAgent: string;
}

/** Headers that are about one connection and not about the message (RFC 9110, 7.6.1), and those that `fetch` sets. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  // Trailers do not survive `fetch`, so none may be announced.
  "trailer",
  "transfer-encoding",
  // Ollama has no protocol to upgrade to, and a 101 could not be tunnelled.
  "upgrade",
]);

/** Beside them what is set anew, and `Expect`, as `Deno.serve` has answered `100-continue` when the handler runs. */
const NOT_SENT = new Set([...HOP_BY_HOP, "expect", "accept-encoding", "x-forwarded-for"]);

/** What does not hold any more where the response's body is changed. */
const RESIZED = new Set([...HOP_BY_HOP, "content-length"]);

const BAD_GATEWAY = 502;

/** What a client is told of a failed connection: nothing that a peer has written. */
const UPSTREAM_ERROR_TEXT: Readonly<Record<UpstreamError, string>> = {
  connect: "Ollama cannot be reached: no connection could be made.",
  reset: "Ollama closed the connection before it answered.",
  protocol: "Ollama's answer was not valid HTTP.",
  other: "Ollama could not be asked.",
};

/** Methods that can be repeated without harm: those that are safe (RFC 9110, 9.2.1). */
const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);

/** Makes the handler that forwards. Where no answer comes, it answers 502; it rejects if our own code fails. */
export function createProxy(options: ProxyOptions): Handler {
  const base = options.upstream.pathname.replace(/\/$/, "");
  const turns = new Turns();
  const bodies = new BodyReader(options.openaiStreamUsage, turns);
  return async (request, info) => {
    const url = targetOf(request.url, options.upstream.origin, base);
    if (url === undefined) return errorResponse(400, "", "The request's path leads out of the base path of Ollama.");
    const path = url.pathname.slice(base.length);
    const exchange = new Exchange(endpointOf(request.method, decoded(path)), summaryOf(request), options);
    let outgoing: OutgoingBody;
    try {
      outgoing = await bodies.read(request, exchange);
    } catch (error) {
      if (error instanceof UnreadableBody) return clientClosed(exchange);
      exchange.failed(BAD_GATEWAY);
      throw error;
    }
    try {
      const upstream = await options.fetch(url.href, {
        method: request.method,
        headers: requestHeaders(request.headers, info.remoteAddr, options.userAgent),
        body: outgoing.body,
        redirect: "manual",
        signal: request.signal,
        client: SAFE_METHODS.has(request.method) ? options.pooled : options.unpooled,
      });
      return await answer(upstream, outgoing, exchange, info, turns);
    } catch (error) {
      const hasLeft = request.signal.aborted || isBrokenUpload(error);
      return hasLeft ? clientClosed(exchange) : unreachable(error, exchange, path);
    } finally {
      bodies.release(outgoing);
    }
  };
}

/** A path as Ollama's router matches it; as it stands where it cannot be decoded. */
function decoded(path: string): string {
  if (!path.includes("%")) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * What begins a valid `traceparent` (W3C Trace Context, 3.2.2): not version ff, no id of zeros, and nothing behind the
 * flags but what later versions than 00 may add.
 */
const TRACEPARENT = /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/;

function summaryOf({ method, headers }: ClientRequest): RequestSummary {
  const [, traceId] = TRACEPARENT.exec(headers.get("traceparent") ?? "") ?? [];
  return { method, traceId };
}

/**
 * The upstream URL for a request's own: what follows the authority, behind the base path. `URL` resolves dot segments,
 * so that what is measured is what is sent; `undefined` where that would leave the base path.
 */
function targetOf(requestUrl: string, origin: string, base: string): URL | undefined {
  const target = /^[^:]+:\/\/[^/?#]*(.*)$/s.exec(requestUrl)?.[1] ?? "";
  const url = URL.parse(origin + base + (target.startsWith("/") ? target : `/${target}`));
  return url !== null && url.pathname.startsWith(`${base}/`) ? url : undefined;
}

function requestHeaders(incoming: Headers, remoteAddr: Deno.Addr, userAgent: string): [string, string][] {
  const headers = passedHeaders(incoming, NOT_SENT);
  // With anything else `fetch` decompresses the answer and leaves its `content-encoding` standing.
  headers.push(["accept-encoding", "identity"]);
  if (!incoming.has("user-agent")) headers.push(["user-agent", userAgent]);
  // Ollama's log shows the client then, as it does without us.
  const forwardedFor = [incoming.get("x-forwarded-for"), "hostname" in remoteAddr ? remoteAddr.hostname : null];
  const known = forwardedFor.filter((address) => address !== null);
  if (known.length > 0) headers.push(["x-forwarded-for", known.join(", ")]);
  return headers;
}

/**
 * The headers without those that are about the connection, whether they are dropped always or listed in `Connection`
 * (RFC 9110, 7.6.1). As pairs, since a `Headers` of our own would be copied once more by whom it is given to; and by
 * `forEach`, which costs a fifth of the iterator.
 */
function passedHeaders(incoming: Headers, dropped: ReadonlySet<string>): [string, string][] {
  const listed = incoming.get("connection")?.toLowerCase().split(",").map((name) => name.trim());
  const passed: [string, string][] = [];
  incoming.forEach((value, name) => {
    if (!dropped.has(name) && !listed?.includes(name)) passed.push([name, value]);
  });
  return passed;
}

/**
 * Passes the upstream's response on.
 *
 * @throws {Error} Where its status is none that a response can have.
 */
async function answer(
  upstream: Response,
  outgoing: OutgoingBody,
  exchange: Exchange,
  info: RequestInfo,
  turns: Turns,
): Promise<Response> {
  const { status, body } = upstream;
  if (status < 200 || status > 599) {
    body?.cancel().catch(() => {});
    throw new Error(`invalid status ${status}`);
  }
  exchange.answered(upstream);
  const hides = outgoing.hasAsked && exchange.isStreamed;
  // What is left after the filter has another length; Ollama tells none for a stream.
  const headers = passedHeaders(upstream.headers, hides ? RESIZED : HOP_BY_HOP);
  const length = contentLength(upstream.headers) ?? Infinity;
  const isShort = body !== null && !hides && length <= SHORT_BODY_BYTES;
  const received = isShort ? await receive(body, length) : body;
  if (received instanceof ReadableStream) {
    // Also where nothing has to be read: only the tap tells a body that ended from one that broke off.
    const filter = hides ? shielded(new UsageFilter(), exchange.internalError) : undefined;
    return new Response(tap(received, exchange, turns, filter), { status, headers });
  }
  if (received !== null) exchange.chunk(received, received.length);
  info.completed.then(() => exchange.complete(), () => exchange.cancelled());
  return new Response(received, { status, headers });
}

/** A filter that lets bytes pass unchanged once it has thrown. */
function shielded(filter: Filter, internalError: (error: unknown) => void): Filter {
  let isBroken = false;
  const shield = (bytes: Uint8Array, change: () => Uint8Array): Uint8Array => {
    if (isBroken) return bytes;
    try {
      return change();
    } catch (error) {
      isBroken = true;
      internalError(error);
      return bytes;
    }
  };
  return {
    push: (bytes) => shield(bytes, () => filter.push(bytes)),
    end: () => shield(new Uint8Array(0), () => filter.end()),
  };
}

/** The client left before there were response headers. Nobody reads this answer. */
function clientClosed(exchange: Exchange): Response {
  exchange.cancelled();
  return new Response(null, { status: CLIENT_CLOSED_REQUEST });
}

/** No response headers have come, or none that can be passed on. */
function unreachable(error: unknown, exchange: Exchange, path: string): Response {
  const reason = upstreamErrorOf(error);
  exchange.unreachable(BAD_GATEWAY, reason);
  return errorResponse(BAD_GATEWAY, path, `ollama-exporter: ${UPSTREAM_ERROR_TEXT[reason]}`);
}
