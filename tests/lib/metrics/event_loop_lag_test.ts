/** Lateness of the event loop, by a clock and a timer that the test controls. */

import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { EventLoopLag } from "../../../lib/metrics/event_loop_lag.ts";
import { MetricRegistry } from "../../../lib/metrics/registry.ts";
import { delay, Scrape, until } from "../../support/helpers.ts";
import { TestClock, TestTimers } from "../../support/test_clock.ts";

const NAME = "ollama_exporter_event_loop_lag_seconds";

async function scrape(registry: MetricRegistry<void>): Promise<Scrape> {
  return new Scrape(await registry.expose("text"));
}

Deno.test("EventLoopLag observes how late its timer is, never less than 0, every 250 ms", async () => {
  using clock = new TestClock();
  using timers = new TestTimers(250);
  const registry = new MetricRegistry<void>();
  using _lag = new EventLoopLag(registry);
  assertEquals((await scrape(registry)).value(`${NAME}_count`), 0);
  // Due at 250, 550, 3800 and, after one that is early, 4049.
  for (const now of [300, 3550, 3799, 4049]) {
    clock.now = now;
    timers.fire();
  }
  const { text } = await scrape(registry);
  const found = new Scrape(text);
  const buckets = { "0.001": 2, "0.025": 2, "0.05": 3, "2.5": 3, "5": 4 };
  for (const [le, count] of Object.entries(buckets)) assertEquals(found.value(`${NAME}_bucket`, { le }), count, le);
  assertEquals([found.value(`${NAME}_count`), found.value(`${NAME}_sum`)], [4, 0.05 + 3]);
});

Deno.test("EventLoopLag sees a blocked event loop, until it is disposed of", async () => {
  const registry = new MetricRegistry<void>();
  const lag = new EventLoopLag(registry);
  const blockedUntil = performance.now() + 400;
  while (performance.now() < blockedUntil);
  const sum = async (): Promise<number> => (await scrape(registry)).value(`${NAME}_sum`) ?? 0;
  await until(async () => await sum() > 0, "the lag is observed");
  // The timer was due 150 ms before the loop was free.
  assertGreaterOrEqual(await sum(), 0.14);
  lag[Symbol.dispose]();
  const count = async (): Promise<number | undefined> => (await scrape(registry)).value(`${NAME}_count`);
  const before = await count();
  await delay(600);
  assertEquals(await count(), before);
});
