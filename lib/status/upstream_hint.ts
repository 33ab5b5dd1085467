/**
 * What is likely wrong when Ollama cannot be reached, and which setting changes it.
 *
 * Errors of `fetch` are recognized by their texts: it has no codes (seen in Deno 2.9.6).
 *
 * @module
 */

import { isLoopback } from "../http.ts";
import { SETTINGS } from "../settings/settings.ts";

/** Ollama's default port (docs/ollama-api.md 7.2). */
const DEFAULT_PORT = "11434";

const HOST = SETTINGS.ollamaHost.variable;

/** Texts of errors, and what each suggests; the first that matches holds. */
const CAUSES: readonly [error: RegExp, cause: (upstream: URL) => string][] = [
  [/Connection refused/i, refused],
  [/dns error/i, unresolved],
  [/InvalidContentType/, ({ host }) => `${host} does not speak TLS: use http:// in ${HOST}`],
  [
    /UnknownIssuer|CaUsedAsEndEntity/,
    () => `The certificate's CA is not trusted: name its file in ${SETTINGS.ollamaCaFile.variable}`,
  ],
  [/invalid peer certificate/i, ({ hostname }) => `The certificate is not valid for ${hostname}, or has expired`],
  [/tls handshake/i, ({ host }) => `${host} ended the TLS handshake: check scheme and port in ${HOST}`],
  [/invalid HTTP version/, ({ host }) => `${host} does not speak HTTP, but probably TLS: use https:// in ${HOST}`],
  [
    /status 400/,
    ({ protocol, host }) =>
      protocol === "http:" ? `${host} may expect TLS: try https:// in ${HOST}` : `Check port and path in ${HOST}`,
  ],
  [
    /status 401/,
    () =>
      `A proxy in front of Ollama requires credentials: name a file with them in ${SETTINGS.ollamaHeadersFile.variable}`,
  ],
  [
    /status 403/,
    ({ hostname }) =>
      `A proxy denies access, or Ollama does not accept the host name ${hostname}: use an IP address in ${HOST}`,
  ],
  [/status 404/, ({ host }) => `Another server than Ollama answers on ${host}: check port and path in ${HOST}`],
  [/status 3\d\d/, () => `The server redirects: set its final URL in ${HOST}`],
  [/status 50[234]/, ({ host }) => `A proxy answers on ${host}, but Ollama behind it does not`],
  [
    /no response within|timed out|unreachable|No route/i,
    ({ host }) => `${host} does not respond: the machine is off or overloaded, or a firewall drops the connection`,
  ],
  [/JSON|no version/, ({ host }) => `Another server than Ollama answers on ${host}: check the port in ${HOST}`],
  [/connection closed|reset/i, ({ host }) => `${host} closed the connection: check scheme and port in ${HOST}`],
];

/**
 * Returns what likely is wrong, in one sentence or two without a full stop.
 *
 * @param error Reason for which a probe has failed.
 * @returns `undefined` if the reason suggests nothing.
 */
export function likelyCause(upstream: URL, error: string): string | undefined {
  return CAUSES.find(([pattern]) => pattern.test(error))?.[1](upstream);
}

function refused({ hostname, port, host }: URL): string {
  const isLocal = isLoopback(hostname.replace(/^\[|\]$/g, ""));
  if (port !== DEFAULT_PORT) {
    const where = isLocal ? "this machine" : hostname;
    return `Nothing listens on port ${
      port || "80 or 443"
    } of ${where}: check ${HOST}, Ollama's default port is ${DEFAULT_PORT}`;
  }
  if (!isLocal) {
    return `Nothing listens on ${host}. Is Ollama running there, and with ${HOST}=0.0.0.0? Its default is loopback only`;
  }
  return `Nothing listens on ${host}. Is Ollama running on this machine? In a container, this is the container itself, ` +
    `also if ${HOST} is 0.0.0.0 as for Ollama itself: set the address of Ollama's machine`;
}

function unresolved({ hostname }: URL): string {
  const hint = hostname === "host.docker.internal"
    ? "; Docker on Linux needs --add-host host.docker.internal:host-gateway"
    : "";
  return `The name ${hostname} cannot be resolved: check ${HOST}${hint}`;
}
