import { assertEquals } from "@std/assert";
import { parseBoolean, parseDuration, parseInteger, parseSubnets, splitHostPort } from "../../../lib/settings/parse.ts";

const DAY_MS = 86_400_000;

/** Durations in milliseconds; `undefined` for invalid ones. */
const DURATIONS: Readonly<Record<string, number | undefined>> = {
  "0": 0,
  "0s": 0,
  "1s": 1000,
  "1.5s": 1500,
  ".5s": 500,
  "2.s": 2000,
  "1m30s": 90_000,
  "1h": 3_600_000,
  "1h1m1s1ms": 3_661_001,
  "250ms": 250,
  "0.035s": 35,
  "0.1ns": 0,
  "1us": 0.001,
  "1\u00b5s": 0.001,
  "1\u03bcs": 0.001,
  "1000ns": 0.001,
  "24h": DAY_MS,
  "24h1ns": undefined,
  ["9".repeat(400) + "h"]: undefined,
  "": undefined,
  "1": undefined,
  "00": undefined,
  "s": undefined,
  ".s": undefined,
  "1 s": undefined,
  " 1s": undefined,
  "1s ": undefined,
  "1s2": undefined,
  "1s!": undefined,
  "x1s": undefined,
  "-1s": undefined,
  "1S": undefined,
  "1d": undefined,
  "1e3s": undefined,
  "Infinitys": undefined,
};

Deno.test("parseDuration() parses Go durations up to the maximum", () => {
  for (const [text, expected] of Object.entries(DURATIONS)) assertEquals(parseDuration(text, DAY_MS), expected, text);
});

Deno.test("parseInteger() parses digits, bounds included", () => {
  for (const [text, expected] of Object.entries({ "1": 1, "10": 10, "007": 7 })) {
    assertEquals(parseInteger(text, 1, 10), expected, text);
  }
  for (const text of ["0", "11", "-1", "+1", "1.5", "1e1", "0x5", "", " 1", "1 ", "five", "9".repeat(400)]) {
    assertEquals(parseInteger(text, 1, 10), undefined, text);
  }
});

Deno.test("splitHostPort() splits at the last colon, brackets removed, and needs one outside of them", () => {
  assertEquals(splitHostPort("host:1"), { host: "host", port: "1" });
  assertEquals(splitHostPort("[::1]:1"), { host: "::1", port: "1" });
  assertEquals(splitHostPort(":"), { host: "", port: "" });
  for (const text of ["", "host", "[::1]", "::1", "a:b:c", "[::1]x:1"]) {
    assertEquals(splitHostPort(text), undefined, text);
  }
});

Deno.test("splitHostPort() takes an IPv4-mapped address, in any spelling, for the IPv4 address", () => {
  const mapped = {
    "::ffff:127.0.0.1": "127.0.0.1",
    "::FFFF:c0a8:10a": "192.168.1.10",
    "0:0:0:0:0:ffff:0:0": "0.0.0.0",
  };
  for (const [host, ipv4] of Object.entries(mapped)) {
    assertEquals(splitHostPort(`[${host}]:1`), { host: ipv4, port: "1" }, host);
  }
  for (const host of ["::", "::1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1", "fe80::1%eth0"]) {
    assertEquals(splitHostPort(`[${host}]:1`), { host, port: "1" }, host);
  }
});

Deno.test("parseSubnets() parses addresses and CIDR blocks of both families", () => {
  const [first, second] = [
    { address: "10.0.0.7", prefix: 32, family: "ipv4" } as const,
    { address: "fd00::", prefix: 8, family: "ipv6" } as const,
  ];
  assertEquals(parseSubnets("10.0.0.7, fd00::/8"), [first, second]);
  assertEquals(parseSubnets("fd00::/8,,10.0.0.7/32"), [second, first]);
  assertEquals(parseSubnets("::1"), [{ address: "::1", prefix: 128, family: "ipv6" }]);
  assertEquals(parseSubnets("0.0.0.0/0"), [{ address: "0.0.0.0", prefix: 0, family: "ipv4" }]);
  assertEquals(parseSubnets(","), []);
});

Deno.test("parseSubnets() rejects names, ports, zones and lengths that a family does not have", () => {
  const lengths = [
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.0/ 8",
    "/8",
    "10.0.0.0/x",
  ];
  const addresses = [
    "localhost",
    "10.0.0",
    "010.0.0.1",
    "fe80::1%eth0",
    "fe80::%1/10",
    "[::1]",
    "10.0.0.1:80",
    "10.0.0.1 ::1",
  ];
  for (const text of [...lengths, ...addresses, "10.0.0.1,x"]) assertEquals(parseSubnets(text), undefined, text);
});

Deno.test("parseBoolean() takes true and false", () => {
  assertEquals(["true", "false", "True", "1", ""].map(parseBoolean), [true, false, undefined, undefined, undefined]);
});
