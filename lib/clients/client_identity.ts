/**
 * Which client a request is of: by a header, by the program, by the address or by the API key.
 *
 * @module
 */

import { BlockList, isIP } from "node:net";
import { clientAddress, copyOf } from "../http.ts";
import { UNKNOWN_CLIENT } from "../observation.ts";
import type { ClientLabel } from "../settings/client_label.ts";
import { type Subnet, unmapped } from "../settings/parse.ts";
import type { ClientKeys } from "./client_keys.ts";
import { isClientName } from "./client_name.ts";

/**
 * Maximum number of trusted proxies that a request can have come through: an entry of `X-Forwarded-For` takes some
 * microseconds, and a header has room for thousands.
 */
export const PROXIES_LIMIT = 32;

/** Options of {@linkcode clientIdentity}. */
interface ClientIdentityOptions {
  readonly label: ClientLabel;
  /** Reverse proxies whose `X-Forwarded-For` is believed, for `address`. */
  readonly trustedProxies: readonly Subnet[];
  /** Names by key, for `api-key`. Absent: every client is unknown. */
  readonly keys?: ClientKeys | undefined;
}

type RequestHeaders = Pick<Headers, "get">;

/** Returns the client of a request, `unknown` if there is none: a name of at most 64 printable characters. */
export type ClientOf = (headers: RequestHeaders, remoteAddr: Deno.Addr) => string;

/** Returns the function that tells clients apart as the label says. */
export function clientIdentity({ label, trustedProxies, keys }: ClientIdentityOptions): ClientOf {
  switch (label) {
    case "api-key":
      return (headers) => keys?.nameOf(headers) ?? UNKNOWN_CLIENT;
    case "user-agent":
      return (headers) => named(programOf(headers));
    case "address": {
      const trusted = blockListOf(trustedProxies);
      return (headers, remoteAddr) => named(addressOf(headers, remoteAddr, trusted));
    }
    default: {
      const name = label.slice("header:".length);
      return (headers) => named(textOf(headers.get(name)));
    }
  }
}

/** A copy: the text can be a part of a header, which would be kept in memory as a whole. */
function named(text: string | undefined): string {
  return text !== undefined && isClientName(text) ? copyOf(text) : UNKNOWN_CLIENT;
}

/** The value of a header, whose characters are bytes, as UTF-8; `undefined` if it is absent or something else. */
function textOf(value: string | null): string | undefined {
  if (value === null) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(value, (byte) => byte.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

/** The first product of `User-Agent` without its version (RFC 9110, 10.1.5): `ollama-python` of `ollama-python/0.4`. */
function programOf(headers: RequestHeaders): string | undefined {
  return /^[\w!#$%&'*+.^`|~-]+/.exec(headers.get("user-agent") ?? "")?.[0];
}

/**
 * The address of the client itself: from the peer on, back through `X-Forwarded-For`, to which each proxy appends the
 * address of its own peer, to the first address that is not a trusted proxy's, or that of {@linkcode PROXIES_LIMIT}.
 * What stands before it anyone can write.
 *
 * @returns The last valid address where an entry is malformed; `undefined` for a peer without an address.
 */
function addressOf(headers: RequestHeaders, remoteAddr: Deno.Addr, trusted: BlockList): string | undefined {
  let address = canonicalAddress(clientAddress(remoteAddr) ?? "");
  let forwarded = headers.get("x-forwarded-for") ?? "";
  for (let proxies = 0; proxies < PROXIES_LIMIT; proxies++) {
    if (address === undefined || forwarded === "" || !trusted.check(address, familyOf(address))) break;
    const comma = forwarded.lastIndexOf(",");
    const entry = canonicalAddress(forwarded.slice(comma + 1).trim());
    if (entry === undefined) break;
    address = entry;
    forwarded = forwarded.slice(0, Math.max(comma, 0));
  }
  return address;
}

/**
 * One spelling of an address, without the brackets, port and zone that proxies may add. An IPv4-mapped one (RFC 4291,
 * 2.5.5.2) is the IPv4 address.
 *
 * @returns `undefined` if it is none.
 */
function canonicalAddress(text: string): string | undefined {
  const [, bracketed, ipv4] = /^(?:\[([^\]]*)\]|(\d+\.[\d.]+))(?::\d{1,5})?$/.exec(text) ?? [];
  const address = unmapped((bracketed ?? ipv4 ?? text).replace(/%.*$/, ""));
  if (isIP(address) !== 6) return isIP(address) === 4 ? address : undefined;
  return URL.parse(`http://[${address}]`)?.hostname.slice(1, -1);
}

function familyOf(address: string): Subnet["family"] {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function blockListOf(subnets: readonly Subnet[]): BlockList {
  const list = new BlockList();
  for (const { address, prefix, family } of subnets) list.addSubnet(address, prefix, family);
  return list;
}
