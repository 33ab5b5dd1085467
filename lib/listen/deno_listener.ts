/**
 * HTTP listener on `Deno.serve`.
 *
 * @module
 */

import type { Address, Handler, Listener, RequestInfo, TlsConfig } from "../http.ts";
import { isBodyUnknown, withKnownBody } from "./deno_request.ts";

/** Delay before listening again after a failure, such as for lack of file descriptors, in milliseconds. */
export const RETRY_MS = 200;

/** Minimum time between reports of why the server ended, in milliseconds. */
const LOG_INTERVAL_MS = 10_000;

/**
 * Listens with `Deno.serve`. If the server ends by itself, listens again. The reason is reported as an unhandled
 * rejection, at most once in ten seconds.
 *
 * @param handler Must not reject.
 * @param tls Default: plain HTTP.
 * @throws {Deno.errors.AddrInUse} If the address is in use.
 */
export function listen(handler: Handler, address: Address, tls?: TlsConfig): Listener {
  const controller = new AbortController();
  let isStopping = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let reportedAt = -Infinity;
  let server = serve(address.port);
  const { addr } = server;

  function serveRequest(request: Request, info: RequestInfo): Response | Promise<Response> {
    if (!isBodyUnknown(request)) return handler(request, info);
    return withKnownBody(request).then((known) => handler(known, info));
  }

  function serve(port: number): Deno.HttpServer<Deno.NetAddr> {
    const started = Deno.serve({
      ...tls && { cert: tls.cert, key: tls.key },
      hostname: address.hostname,
      port,
      signal: controller.signal,
      // Off by default, but earlier releases compress, which would change the bytes.
      automaticCompression: false,
      onListen: () => {},
      // Deno also calls this for a failed body, after aborting the client's response.
      onError: () => new Response(null, { status: 500 }),
    }, serveRequest);
    const startedAt = performance.now();
    started.finished.catch((error) => {
      const now = performance.now();
      // A server that ended at once would do so again.
      if (now - startedAt < RETRY_MS && !isStopping) retry = setTimeout(relisten, RETRY_MS);
      else relisten();
      if (now - reportedAt < LOG_INTERVAL_MS) return;
      reportedAt = now;
      throw error;
    });
    return started;
  }

  function relisten(): void {
    if (isStopping) return;
    try {
      server = serve(addr.port);
    } catch {
      retry = setTimeout(relisten, RETRY_MS);
    }
  }

  const stop = (): void => {
    isStopping = true;
    clearTimeout(retry);
  };
  return {
    address: addr,
    shutdown(): Promise<void> {
      stop();
      return server.shutdown();
    },
    abort(): void {
      stop();
      controller.abort();
    },
  };
}
