/** Declarations and expositions of all types of metrics, in both formats. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Declaration, MetricRegistry } from "../../../lib/metrics/registry.ts";
import { faultsOf } from "../../support/exposition.ts";
import { TestClock } from "../../support/test_clock.ts";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

/** Returns the lines of a metric, without the timestamps of exemplars. */
function linesOf(text: string, name: string): string[] {
  return text.split("\n").filter((line) => line.includes(name)).map((line) => line.replace(/( # {.*} \S+) \S+$/, "$1"));
}

Deno.test("MetricRegistry.counter() keeps its name in both formats, repeatedly and concurrently", async () => {
  const registry = new MetricRegistry<void>();
  registry.counter("a_total", "Things.").inc(2);
  registry.counter("b_total", "Others.", "kind").inc({ kind: 'x"\\\n' }, 0);
  const text = ["# HELP a_total Things.", "# TYPE a_total counter", "a_total 2"];
  const openMetrics = ["# HELP a Things.", "# TYPE a counter", "a_total 2"];
  for (const format of ["text", "openMetrics", "openMetrics", "text"] as const) {
    const exposition = await registry.expose(format);
    assertEquals(exposition.split("\n").slice(0, 3), format === "text" ? text : openMetrics);
    assert(exposition.includes('\nb_total{kind="x\\"\\\\\\n"} 0\n'), exposition);
    assertEquals(exposition.endsWith("\n# EOF\n"), format === "openMetrics");
    assertEquals(faultsOf(exposition), []);
  }
  const both = await Promise.all([
    registry.expose("openMetrics"),
    registry.expose("text"),
    registry.expose("openMetrics"),
  ]);
  assertEquals(both.map((exposition) => linesOf(exposition, "a_total").length), [1, 3, 1]);
});

Deno.test("MetricRegistry.readCounter() reads the value at each exposition, in either format", async () => {
  const registry = new MetricRegistry<void>();
  let reads = 0;
  registry.readCounter("read_total", "Reads.", () => 10 * ++reads);
  assertEquals(linesOf(await registry.expose("text"), "read_total").at(-1), "read_total 10");
  assertEquals(linesOf(await registry.expose("openMetrics"), "read_total"), ["read_total 20"]);
  assertEquals(linesOf(await registry.expose("text"), "read_total").at(-1), "read_total 30");
});

Deno.test("MetricRegistry.gauge() computes its samples from the state of each exposition", async () => {
  const registry = new MetricRegistry<number>();
  registry.gauge("now", "Now.", ["part"], (now) => [[{ part: `p${now}` }, now]]);
  registry.gauge("plain", "Plain.", [], (now) => now === 0 ? [] : [[{}, -now / 2]]);
  for (const now of [1, 2]) {
    for (const format of ["text", "openMetrics"] as const) {
      const text = await registry.expose(format, now);
      assertEquals(linesOf(text, "now{"), [`now{part="p${now}"} ${now}`]);
      assertEquals(linesOf(text, "plain").at(-1), `plain ${-now / 2}`);
      assertEquals(faultsOf(text.replace(/-/g, "")), []);
    }
  }
  assertEquals(linesOf(await registry.expose("text", 0), "plain").at(-1), "# TYPE plain gauge");
});

Deno.test("MetricRegistry.expose() computes all gauges at one moment", async () => {
  // Every metric takes a slice of its own.
  using _clock = new TestClock({ stepMs: 1000 });
  const registry = new MetricRegistry<void>();
  let moment = 0;
  registry.gauge("a", "First.", [], () => [[{}, moment]]);
  registry.counter("b_total", "Between.");
  registry.gauge("c", "Last.", [], () => [[{}, moment]]);
  const exposition = registry.expose("text");
  moment = 1;
  const text = await exposition;
  assertEquals([linesOf(text, "a ").at(-1), linesOf(text, "c ").at(-1)], ["a 0", "c 0"]);
});

Deno.test("MetricRegistry.tracedHistogram() has exemplars in OpenMetrics, and only for observations with a trace ID", async () => {
  const registry = new MetricRegistry<void>();
  const traced = registry.tracedHistogram("t_seconds", "Times.", [1, 2], "route");
  traced.observe({ route: "a" }, 0.5, undefined);
  traced.observe({ route: "a" }, 1.5, TRACE_ID);
  traced.observe({ route: "b" }, 5, TRACE_ID);
  const exemplar = (value: number) => ` # {trace_id="${TRACE_ID}"} ${value}`;
  const lines = (bucket: string, infinite: string) => [
    "# HELP t_seconds Times.",
    "# TYPE t_seconds histogram",
    't_seconds_bucket{le="1",route="a"} 1',
    `t_seconds_bucket{le="2",route="a"} 2${bucket}`,
    't_seconds_bucket{le="+Inf",route="a"} 2',
    't_seconds_sum{route="a"} 2',
    't_seconds_count{route="a"} 2',
    't_seconds_bucket{le="1",route="b"} 0',
    't_seconds_bucket{le="2",route="b"} 0',
    `t_seconds_bucket{le="+Inf",route="b"} 1${infinite}`,
    't_seconds_sum{route="b"} 5',
    't_seconds_count{route="b"} 1',
  ];
  assertEquals(linesOf(await registry.expose("openMetrics"), "t_seconds"), lines(exemplar(1.5), exemplar(5)));
  assertEquals(linesOf(await registry.expose("text"), "t_seconds"), lines("", ""));
});

Deno.test("MetricRegistry.declarations lists all metrics in the order of their declaration", async () => {
  const registry = new MetricRegistry<void>();
  assertEquals(registry.declarations, []);
  registry.tracedHistogram("d_seconds", "Times.", [1], "route");
  registry.counter("a_total", "Things.", "model", "api");
  registry.readCounter("read_total", "Reads.", () => 1);
  registry.gauge("g", "Gauge.", [], () => []);
  registry.histogram("h_tokens", "Tokens.", [1], "model");
  const expected: Declaration[] = [
    { name: "d_seconds", type: "histogram", help: "Times.", labels: ["route"] },
    { name: "a_total", type: "counter", help: "Things.", labels: ["model", "api"] },
    { name: "read_total", type: "counter", help: "Reads.", labels: [] },
    { name: "g", type: "gauge", help: "Gauge.", labels: [] },
    { name: "h_tokens", type: "histogram", help: "Tokens.", labels: ["model"] },
  ];
  assertEquals(registry.declarations, expected);
  await registry.expose("openMetrics");
  assertEquals(registry.declarations, expected);
});

Deno.test("MetricRegistry rejects a duplicate name, and shares nothing with other registries", async () => {
  const [one, two] = [new MetricRegistry<void>(), new MetricRegistry<void>()];
  one.counter("a_total", "Things.").inc(5);
  two.counter("a_total", "Things.");
  assertThrows(() => one.gauge("a_total", "Again.", [], () => []), Error, "a_total");
  assertEquals(linesOf(await two.expose("text"), "a_total").at(-1), "a_total 0");
});

Deno.test("MetricRegistry.expose() yields to the event loop while it renders many series", async () => {
  const registry = new MetricRegistry<void>();
  for (let index = 0; index < 40; index++) {
    const histogram = registry.histogram(`h${index}`, "Many.", [1, 2, 3, 4, 5, 6, 7, 8, 9], "model");
    for (let model = 0; model < 200; model++) histogram.observe({ model: `m${model}` }, model);
  }
  let turns = 0;
  const watch = setInterval(() => turns++, 0);
  const exposition = await registry.expose("text");
  clearInterval(watch);
  assertEquals(exposition.split("\n").filter((line) => line.includes('le="+Inf"')).length, 40 * 200);
  assert(turns >= 2, `${turns} turns`);
});
