/** Every setting parses valid values and rejects invalid ones. */

import { assert, assertEquals } from "@std/assert";
import { type Config, SETTINGS } from "../../../lib/settings/settings.ts";

/** By setting: accepted texts with their values, and rejected texts. */
const PARSERS: {
  readonly [Name in keyof Config]?: { accepted: Record<string, Config[Name]>; rejected: readonly string[] };
} = {
  probeTimeoutMs: {
    accepted: { "1ms": 1, "3s": 3000, "1.5s": 1500, "2m": 120_000, "1h1m1s1ms": 3_661_001, "0.25h": 900_000 },
    rejected: ["0", "0s", "0ms", "3", "-3s", "1000h"],
  },
  shutdownTimeoutMs: {
    accepted: { "0": 0, "0s": 0, "30s": 30_000, "596h": 2_145_600_000 },
    rejected: ["", "30", "never", "597h", "2147483648ms"],
  },
  listenAddress: {
    accepted: {
      "0.0.0.0:8000": { hostname: "0.0.0.0", port: 8000 },
      ":8000": { hostname: "::", port: 8000 },
      "[::]:8000": { hostname: "::", port: 8000 },
      "[::1]:0": { hostname: "::1", port: 0 },
      "[::ffff:127.0.0.1]:8000": { hostname: "127.0.0.1", port: 8000 },
      "localhost:65535": { hostname: "localhost", port: 65535 },
    },
    rejected: [
      "8000",
      "localhost",
      "localhost:",
      ":65536",
      ":-1",
      ":http",
      "::1:80",
      "http://a:80",
      "a/b:80",
      "a b:80",
      "",
    ],
  },
  metricsPath: {
    accepted: { "/metrics": "/metrics", "/a/b": "/a/b", "/-": "/-", "/apis/x": "/apis/x", "/v1": "/v1" },
    rejected: [
      "",
      "/",
      "metrics",
      "/a?b",
      "/a#b",
      "/a b",
      "/%41",
      "/ä",
      "/a\n",
      "/-/healthy",
      "/-/ready",
      "/-/",
      "/api/chat",
      "/v1/models",
    ],
  },
  ollamaHost: {
    accepted: { "example.com": new URL("http://example.com:11434"), "https://x": new URL("https://x") },
    // Ports that `fetch` refuses to connect to.
    rejected: ["host:6000", "host:0", "host:10080", "http://host:22", "ftp://host"],
  },
  allowedHosts: {
    accepted: { "a": ["a"], "a,,b.c": ["a", "b.c"], ",": [] },
    rejected: ["*", "a.*", "*.*.a", "a b", "http://a", "a:1", "[::1]", "a..b", "ä"],
  },
  modelLabelLimit: {
    accepted: { "1": 1, "200": 200, "10000": 10_000, "007": 7 },
    rejected: ["0", "10001", "-1", "1.5", "1e3", "0x10", "ten", " 5", "5 "],
  },
  openaiStreamUsage: {
    accepted: { true: true, false: false },
    rejected: ["", "TRUE", "yes", "1", "true ", "constructor", "__proto__", "toString"],
  },
  logLevel: {
    accepted: {
      DEBUG: "DEBUG",
      info: "INFO",
      Warn: "WARN",
      WARNING: "WARN",
      warning: "WARN",
      error: "ERROR",
    },
    rejected: ["TRACE", "CRITICAL", "WARNINGS", "0", "INFO ", "NOTSET"],
  },
  logFormat: { accepted: { text: "text", json: "json" }, rejected: ["JSON", "logfmt", "xml"] },
};

Deno.test("SETTINGS parse valid values and reject invalid ones", () => {
  for (const [name, { accepted, rejected }] of Object.entries(PARSERS)) {
    const { parse } = SETTINGS[name as keyof Config];
    for (const [text, value] of Object.entries(accepted)) {
      assertEquals(parse(text) as unknown, value, `${name}: ${JSON.stringify(text)}`);
    }
    for (const text of rejected) assertEquals(parse(text), undefined, `${name}: ${JSON.stringify(text)}`);
  }
});

Deno.test("SETTINGS have valid defaults and unique, well-formed names", () => {
  const rows = Object.values(SETTINGS);
  for (const row of rows) {
    assert(row.default === "" || row.parse(row.default) !== undefined, row.variable);
    assert(/^[A-Z]+(_[A-Z]+)*$/.test(row.variable), row.variable);
    assert(/^[a-z]+(\.[a-z]+)+(-[a-z]+)*$/.test(row.flag), row.flag);
    assert(/^[A-Z].*\.$/.test(row.help), row.help);
  }
  assertEquals(new Set(rows.map(({ variable }) => variable)).size, rows.length);
  assertEquals(new Set(rows.map(({ flag }) => flag)).size, rows.length);
});
