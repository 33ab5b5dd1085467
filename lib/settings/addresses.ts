/**
 * Which addresses are the same, as far as that is certain without resolving names.
 *
 * @module
 */

import type { Address } from "../http.ts";

const DEFAULT_PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };

/**
 * Reports whether a listener on one address takes the other one, too. `localhost` is taken for 127.0.0.1, and IPv6's
 * unspecified address includes IPv4. Names are equal only if they are spelled alike.
 */
export function coversAddress(address: Address, other: Address): boolean {
  if (address.port !== other.port || address.port === 0) return false;
  const [host, taken] = [address, other].map(({ hostname }) => canonical(hostname).replace("localhost", "127.0.0.1"));
  if (host === taken) return true;
  const isIpv4 = /^[\d.]+$/.test(taken ?? "");
  return isIpv4 && isUnspecified(host) || host === "[::]" && taken?.startsWith("[") === true;
}

/**
 * Reports whether a URL leads to a listener on this machine. Addresses of its network interfaces are not noticed.
 *
 * @param machine Host name of this machine.
 */
export function isOwnAddress(url: URL, { hostname, port }: Address, machine: string): boolean {
  if (Number(url.port || DEFAULT_PORTS[url.protocol]) !== port) return false;
  const [own, host] = [canonical(hostname), url.hostname];
  if (own === host) return true;
  if (isUnspecified(own) && (host === machine.toLowerCase() || /^127\.[\d.]+$/.test(host))) return true;
  // A name for either loopback address, whichever the system tries first.
  if (host === "localhost") return isUnspecified(own) || own === "127.0.0.1" || own === "[::1]";
  return own === "[::]" && host === "[::1]" || own === "localhost" && host === "127.0.0.1";
}

function isUnspecified(host: string | undefined): boolean {
  return host === "0.0.0.0" || host === "[::]";
}

/** A host name in lower case, an IP address in its canonical form as in a URL. */
function canonical(hostname: string): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return URL.parse(`http://${host}`)?.hostname ?? host.toLowerCase();
}
