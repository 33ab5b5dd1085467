import { assertEquals } from "@std/assert";
import { parseGoDuration, RateLimiter } from "../../../lib/web/rate_limit.ts";

Deno.test("RateLimiter allows a burst, then one in each interval", () => {
  let now = 1000;
  const limiter = new RateLimiter({ intervalMs: 100, burst: 3 }, () => now);
  assertEquals([limiter.take(), limiter.take(), limiter.take()], [0, 0, 0]);
  assertEquals(limiter.take(), 100);
  now += 60;
  assertEquals(limiter.take(), 40, "what is refused does not count");
  now += 40;
  assertEquals([limiter.take(), limiter.take()], [0, 100]);
});

Deno.test("RateLimiter saves up no more than the burst", () => {
  let now = 0;
  const limiter = new RateLimiter({ intervalMs: 10, burst: 2 }, () => now);
  now += 3_600_000;
  assertEquals([limiter.take(), limiter.take(), limiter.take()], [0, 0, 10]);
});

Deno.test("RateLimiter keeps count where requests come faster than the clock ticks", () => {
  const limiter = new RateLimiter({ intervalMs: 0.001, burst: 1 }, () => 5);
  assertEquals([limiter.take(), limiter.take()], [0, 0.001]);
});

Deno.test("parseGoDuration() reads what Go writes, and nothing else", () => {
  const table: Record<string, number | undefined> = {
    "0": 0,
    "0s": 0,
    "1s": 1000,
    "1.5s": 1500,
    ".5s": 500,
    "2.s": 2000,
    "1m30s": 90_000,
    "1h": 3_600_000,
    "250ms": 250,
    "1us": 0.001,
    "1µs": 0.001,
    "1000ns": 0.001,
    "24h": 86_400_000,
    "24h1ns": undefined,
    ["9".repeat(400) + "h"]: undefined,
    "": undefined,
    "1": undefined,
    "s": undefined,
    ".s": undefined,
    "1 s": undefined,
    "1s ": undefined,
    "1s2": undefined,
    "x1s": undefined,
    "-1s": undefined,
    "1d": undefined,
    "1e3s": undefined,
  };
  for (const [text, expected] of Object.entries(table)) assertEquals(parseGoDuration(text), expected, text);
});
