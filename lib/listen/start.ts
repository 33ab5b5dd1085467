/**
 * Starts the listeners of the exporter, one or two.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import { type Address, type Handler, hostPort, type Listener, type TlsConfig } from "../http.ts";
import { type Config, SETTINGS, type WebServer } from "../settings/settings.ts";
import { listen } from "./deno_listener.ts";
import { watchUploads } from "./deno_request.ts";
import { listenNode, type NodeAddress } from "./node_listener.ts";

/** Handlers for one listener or two. */
interface ListenerHandlers {
  /** Handles everything. */
  readonly combined: Handler;
  /** Handles the admin endpoints where they have a listener of their own. */
  readonly admin: Handler;
  /** Handles everything else then. */
  readonly proxy: Handler;
}

/** The listeners of the proxy and of the admin endpoints, which may be the same. */
export interface Listeners {
  readonly proxy: Listener;
  readonly admin: Listener;
}

/** Options of {@linkcode startListeners}. */
export interface StartOptions extends Pick<Config, "listenAddress" | "metricsListenAddress"> {
  readonly server: WebServer;
  /** Of the admin endpoints' listener. Default: plain HTTP. */
  readonly tls?: TlsConfig | undefined;
  /** Descriptor of a socket opened by another process, for the proxy's listener. `Deno.serve` cannot use one. */
  readonly passedFd?: number | undefined;
  /** Called once, when a chunked upload becomes slow because of `Deno.serve`. */
  readonly onSlowUpload?: () => void;
}

/**
 * Starts one listener for everything, or separate ones for the proxy and the admin endpoints.
 *
 * @throws {UserError} If an address cannot be listened on.
 */
export async function startListeners(handlers: ListenerHandlers, options: StartOptions): Promise<Listeners> {
  const { server, listenAddress, metricsListenAddress, tls, passedFd, onSlowUpload } = options;
  const watched = (handler: Handler): Handler =>
    server === "deno" && onSlowUpload !== undefined ? watchUploads(handler, onSlowUpload) : handler;
  const passed = passedFd === undefined ? undefined : { fd: passedFd };
  if (metricsListenAddress === undefined) {
    const listener = await start(server, watched(handlers.combined), "listenAddress", listenAddress, tls, passed);
    return { proxy: listener, admin: listener };
  }
  return {
    proxy: await start(server, watched(handlers.proxy), "listenAddress", listenAddress, undefined, passed),
    admin: await start(server, handlers.admin, "metricsListenAddress", metricsListenAddress, tls),
  };
}

async function start(
  server: WebServer,
  handler: Handler,
  setting: "listenAddress" | "metricsListenAddress",
  address: Address,
  tls: TlsConfig | undefined,
  passed?: NodeAddress,
): Promise<Listener> {
  try {
    if (server === "node" && passed !== undefined) return await listenNode(handler, passed, tls);
    return await listenOn(
      address,
      (one) => server === "deno" ? listen(handler, one, tls) : listenNode(handler, one, tls),
    );
  } catch (error) {
    const { variable } = SETTINGS[setting];
    throw new UserError(`Cannot listen on ${hostPort(address)} (${variable}): ${messageOf(error)}`);
  }
}

/**
 * Codes of the errors of `::` on a system without IPv6: switched off in the kernel, or no address of it, for which
 * `node:http` of Deno 2.9.6 has `EINVAL`.
 */
const NO_IPV6 = ["EAFNOSUPPORT", "EADDRNOTAVAIL", "EINVAL"];

/**
 * Listens on an address; on `::`, IPv4 included, and IPv4 alone where the system has no IPv6.
 *
 * @param open Listens on one socket.
 * @param isDualStack Whether a socket of `::` takes IPv4 connections. Default: not on Windows, where that has to be set
 * on the socket, which Deno does not.
 */
export async function listenOn(
  address: Address,
  open: (address: Address) => Listener | Promise<Listener>,
  isDualStack = Deno.build.os !== "windows",
): Promise<Listener> {
  if (address.hostname !== "::") return await open(address);
  const ipv4 = { ...address, hostname: "0.0.0.0" };
  let first: Listener;
  try {
    first = await open(address);
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || !NO_IPV6.includes(String(error.code))) throw error;
    return await open(ipv4);
  }
  if (isDualStack) return first;
  try {
    return joined(first, await open({ ...ipv4, port: first.address.port }));
  } catch (error) {
    first.abort();
    await first.shutdown();
    throw error;
  }
}

/** Two listeners as one, with the address of the first. */
function joined(first: Listener, second: Listener): Listener {
  return {
    address: first.address,
    shutdown: async () => void await Promise.all([first.shutdown(), second.shutdown()]),
    abort(): void {
      first.abort();
      second.abort();
    },
    ...first.useTls && {
      useTls(tls: TlsConfig): void {
        first.useTls?.(tls);
        second.useTls?.(tls);
      },
    },
  };
}
