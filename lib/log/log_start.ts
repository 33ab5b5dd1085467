/**
 * Log lines about the listeners: what listens where, with which HTTP server, and who can reach it.
 *
 * @module
 */

import { type Address, hostPort, isLoopback } from "../http.ts";
import { type Config, SETTINGS, type WebServer } from "../settings/settings.ts";
import type { Log } from "./log.ts";

/** Facts of a start. */
export interface StartFacts {
  readonly config: Config;
  /** Settings that were set, as opposed to left at their default. */
  readonly given: ReadonlyMap<keyof Config, string>;
  /** Version of the exporter. */
  readonly version: string;
  /** The HTTP server, and why `Deno.serve` should not be used; `undefined` where nothing is known against it. */
  readonly choice: { readonly server: WebServer; readonly defect: string | undefined };
  /** Whether the listener of the admin endpoints uses TLS. */
  readonly isTls: boolean;
  /** Whether systemd opened the socket of the proxy's listener. */
  readonly isPassed: boolean;
  /** Bound address of the proxy's listener. */
  readonly proxy: Address;
  /** Bound address of the admin endpoints' listener. */
  readonly admin: Address;
}

/** Names of the HTTP servers. */
const SERVER_NAMES: Readonly<Record<WebServer, string>> = { deno: "Deno.serve", node: "node:http" };

/** Logs the start of the listeners. */
export function logStart(log: Log, facts: StartFacts): void {
  const { config, version, isTls, proxy, admin } = facts;
  const adminUrl = `${isTls ? "https" : "http"}://${clickable(admin)}`;
  const isShared = config.metricsListenAddress === undefined;
  log.info("Listening", {
    version,
    address: hostPort(proxy),
    url: isShared ? adminUrl : `http://${clickable(proxy)}`,
    ollama: config.ollamaHost.href,
    metrics: adminUrl + config.metricsPath,
    status: `${adminUrl}/-/`,
  });
  logServer(log, facts);
  logExposure(log, facts);
  logUnused(log, facts);
}

function logServer(log: Log, { config, choice: { server, defect } }: StartFacts): void {
  const setting = SETTINGS.webServer.variable;
  if (config.webServer === "auto") {
    const reason = defect ?? `${SERVER_NAMES.deno} passed the check at start`;
    log.info(`HTTP server is ${SERVER_NAMES[server]}`, { reason, deno: Deno.version.deno, setting });
  } else if (defect !== undefined) {
    const problem = config.webServer === server ? ", which failed the check at start" : "";
    log.warn(`HTTP server is ${SERVER_NAMES[server]}${problem}`, {
      reason: defect,
      deno: Deno.version.deno,
      setting,
    });
  }
}

/** Logs that an upload is slow because of `Deno.serve`. */
export function logSlowUpload(log: Log): void {
  log.warn("Large chunked upload: it takes time quadratic in its size with Deno.serve, not with node:http", {
    setting: SETTINGS.webServer.variable,
  });
}

/** Logs that a server on loopback can be reached from the network through the exporter. */
function logExposure(log: Log, { config, given, proxy, isPassed }: StartFacts): void {
  if (!isEverywhere(proxy) || !isLoopback(config.ollamaHost.hostname.replace(/^\[|\]$/g, ""))) return;
  const setting = isPassed ? "ListenStream" : SETTINGS.listenAddress.variable;
  const remedy = `${setting}=127.0.0.1:${proxy.port}`;
  log[isPassed || given.has("listenAddress") ? "warn" : "info"](
    `Ollama's API is reachable from the network without authentication; set ${remedy} to keep it local`,
    { address: hostPort(proxy), ollama: config.ollamaHost.href },
  );
}

/** Settings that are for one source of the `client` label only. */
const CLIENT_SETTINGS = [["clientKeysFile", "api-key"], ["trustedProxies", "address"]] as const;

/** Logs settings that were set and have no effect, since clients are told apart by something else. */
function logUnused(log: Log, { config, given }: StartFacts): void {
  const { clientLabel } = config;
  for (const [name, label] of CLIENT_SETTINGS) {
    if (!given.has(name) || clientLabel === label) continue;
    const remedy = `${SETTINGS.clientLabel.variable}=${label}`;
    log.warn(`${SETTINGS[name].variable} has no effect without ${remedy}`, { client_label: clientLabel });
  }
}

function clickable(address: Address): string {
  return isEverywhere(address) ? `localhost:${address.port}` : hostPort(address);
}

function isEverywhere({ hostname }: Address): boolean {
  return hostname === "::" || hostname === "0.0.0.0";
}
