import { assertEquals } from "@std/assert";
import { RateLimiter } from "../../../lib/web/rate_limit.ts";

Deno.test("RateLimiter allows a burst, then one request per interval", () => {
  let now = 1000;
  const limiter = new RateLimiter({ intervalMs: 100, burst: 3 }, () => now);
  assertEquals([limiter.take(), limiter.take(), limiter.take()], [0, 0, 0]);
  assertEquals(limiter.take(), 100);
  now += 60;
  assertEquals(limiter.take(), 40, "rejected requests take no tokens");
  now += 40;
  assertEquals([limiter.take(), limiter.take()], [0, 100]);
});

Deno.test("RateLimiter accumulates no more tokens than the burst", () => {
  let now = 0;
  const limiter = new RateLimiter({ intervalMs: 10, burst: 2 }, () => now);
  now += 3_600_000;
  assertEquals([limiter.take(), limiter.take(), limiter.take()], [0, 0, 10]);
});

Deno.test("RateLimiter works with intervals below the clock resolution", () => {
  const limiter = new RateLimiter({ intervalMs: 0.001, burst: 1 }, () => 5);
  assertEquals([limiter.take(), limiter.take()], [0, 0.001]);
});
