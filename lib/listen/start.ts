/**
 * Starts the listeners of the exporter, one or two.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import { type Address, type Handler, hostPort, type Listener, type TlsConfig } from "../http.ts";
import type { Config, WebServer } from "../settings/settings.ts";
import { listen } from "./deno_listener.ts";
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
}

/**
 * Starts one listener for everything, or separate ones for the proxy and the admin endpoints.
 *
 * @throws {UserError} If an address cannot be listened on.
 */
export async function startListeners(handlers: ListenerHandlers, options: StartOptions): Promise<Listeners> {
  const { server, listenAddress, metricsListenAddress, tls, passedFd } = options;
  const passed = passedFd === undefined ? undefined : { fd: passedFd };
  if (metricsListenAddress === undefined) {
    const listener = await start(server, handlers.combined, listenAddress, tls, passed);
    return { proxy: listener, admin: listener };
  }
  return {
    proxy: await start(server, handlers.proxy, listenAddress, undefined, passed),
    admin: await start(server, handlers.admin, metricsListenAddress, tls),
  };
}

async function start(
  server: WebServer,
  handler: Handler,
  address: Address,
  tls: TlsConfig | undefined,
  passed?: NodeAddress,
): Promise<Listener> {
  try {
    return server === "deno" ? listen(handler, address, tls) : await listenNode(handler, passed ?? address, tls);
  } catch (error) {
    throw new UserError(`Cannot listen on ${hostPort(address)}: ${messageOf(error)}`);
  }
}
