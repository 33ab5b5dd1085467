/**
 * What calls the handler.
 *
 * @module
 */

import type { Address, Handler, Listener, TlsConfig } from "../http.ts";

/** How long to wait until listening is tried again that failed, as without file descriptors. */
export const RETRY_MS = 200;

/** How long it is not said again why listening has ended. */
const COMPLAINT_MS = 10_000;

/**
 * Listens with `Deno.serve`. Where that ends by itself, it begins anew; why it did is left as an unhandled rejection,
 * at most one in ten seconds.
 *
 * @param handler Must not reject.
 * @param tls Absent: plain HTTP.
 * @throws {Deno.errors.AddrInUse} Where something else listens there.
 */
export function listen(handler: Handler, address: Address, tls?: TlsConfig): Listener {
  const controller = new AbortController();
  let isStopping = false;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let complainedAt = -Infinity;
  let server = serve(address.port);
  const { addr } = server;

  function serve(port: number): Deno.HttpServer<Deno.NetAddr> {
    const started = Deno.serve({
      ...tls && { cert: tls.cert, key: tls.key },
      hostname: address.hostname,
      port,
      signal: controller.signal,
      // It is off by default; older releases compress, which would change bytes.
      automaticCompression: false,
      onListen: () => {},
      // Deno calls this for a body that broke off as well, after it has broken off the client's response.
      onError: () => new Response(null, { status: 500 }),
    }, handler);
    const startedAt = performance.now();
    started.finished.catch((error) => {
      const now = performance.now();
      // What ends as soon as it has begun would do so again.
      if (now - startedAt < RETRY_MS && !isStopping) retry = setTimeout(again, RETRY_MS);
      else again();
      if (now - complainedAt < COMPLAINT_MS) return;
      complainedAt = now;
      throw error;
    });
    return started;
  }

  function again(): void {
    if (isStopping) return;
    try {
      server = serve(addr.port);
    } catch {
      retry = setTimeout(again, RETRY_MS);
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
