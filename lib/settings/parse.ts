/**
 * Parsers of durations, integers, booleans and addresses, for flags, environment variables and configuration files.
 *
 * @module
 */

import { isIP } from "node:net";
import type { Address } from "../http.ts";

/** Milliseconds per unit of a Go duration. Go accepts both the micro sign and the Greek letter. */
const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  "μs": 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

const NANOSECONDS_PER_MILLISECOND = 1e6;

/**
 * Parses a duration in the syntax of Go's `time.ParseDuration`, without a sign: `1m30s`, `1.5h`, `0`.
 *
 * @param maxMs Maximum duration, in milliseconds.
 * @returns Milliseconds, or `undefined` if the text is malformed or exceeds the maximum.
 */
export function parseDuration(text: string, maxMs: number): number | undefined {
  if (text === "0") return 0;
  const part = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/gy;
  let sum = 0;
  let end = 0;
  for (const [match, number = "", unit = ""] of text.matchAll(part)) {
    sum += Number(number) * (UNITS_MS[unit] ?? NaN);
    end += match.length;
  }
  if (end === 0 || end < text.length || sum > maxMs) return undefined;
  // Go's durations are whole nanoseconds: 0.035s is 35 ms, not 35.00000000000001.
  return Math.round(sum * NANOSECONDS_PER_MILLISECOND) / NANOSECONDS_PER_MILLISECOND;
}

/** Parses a duration over 0 as {@linkcode parseDuration} does. */
export function parsePositiveDuration(text: string, maxMs: number): number | undefined {
  return parseDuration(text, maxMs) || undefined;
}

/**
 * Parses a decimal integer without a sign.
 *
 * @returns `undefined` if the text is malformed or the value is not between `min` and `max`, inclusive.
 */
export function parseInteger(text: string, min: number, max: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined;
}

/** Parses `true` or `false`. Returns `undefined` for anything else. */
export function parseBoolean(text: string): boolean | undefined {
  return text === "true" || text === "false" ? text === "true" : undefined;
}

/**
 * Splits like Go's `net.SplitHostPort`; returns `undefined` if the port is missing or there are too many colons. Like
 * Go's `net.Dial`, takes an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) for the IPv4 address, which it reaches.
 */
export function splitHostPort(text: string): { host: string; port: string } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:[\]]*)$/.exec(text) ?? [];
  return port === undefined ? undefined : { host: unmapped(bracketed ?? plain ?? ""), port };
}

/** An IPv4-mapped IPv6 address, in any spelling, as the IPv4 address. Returns other hosts as they are. */
export function unmapped(host: string): string {
  const mapped = /^\[::ffff:([\da-f]+):([\da-f]+)\]$/.exec(URL.parse(`http://[${host}]`)?.hostname ?? "");
  const [high = 0, low = 0] = mapped?.slice(1).map((digits) => parseInt(digits, 16)) ?? [];
  return mapped === null ? host : [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** Parses a listen address. Without a host it is `::`: all interfaces, as with Go's `net.Listen`. */
export function parseAddress(text: string): Address | undefined {
  const split = splitHostPort(text);
  if (split === undefined || !/^\d+$/.test(split.port) || Number(split.port) > 65535) return undefined;
  if (/[\s/@?#]/.test(split.host)) return undefined;
  return { hostname: split.host || "::", port: Number(split.port) };
}

/** Parses a comma-separated list of host names. Returns them in lower case, or `undefined` if one is malformed. */
export function parseHosts(text: string): string[] | undefined {
  const hosts = text.toLowerCase().split(",").map((host) => host.trim()).filter((host) => host !== "");
  return hosts.every((host) => /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)) ? hosts : undefined;
}

/** A block of IP addresses (RFC 4632). */
export interface Subnet {
  /** An address in the block. */
  readonly address: string;
  /** Leading bits that all addresses of the block share. */
  readonly prefix: number;
  readonly family: "ipv4" | "ipv6";
}

/** Parses a comma-separated list of IP addresses and CIDR blocks. Returns `undefined` if one is malformed. */
export function parseSubnets(text: string): Subnet[] | undefined {
  const parts = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  const subnets = parts.map(parseSubnet).filter((subnet) => subnet !== undefined);
  return subnets.length === parts.length ? subnets : undefined;
}

function parseSubnet(text: string): Subnet | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const version = address.includes("%") || rest.length > 0 ? 0 : isIP(address);
  const bits = version === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : parseInteger(length, 0, bits);
  if (version === 0 || prefix === undefined) return undefined;
  return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}
