/** Figures of the status page. */

import { assertEquals } from "@std/assert";
import { bytes, clock, count, perSecond, remaining, seconds, share } from "../../../lib/status/page/units.js";

const NO_VALUE = { text: "–", exact: "" };

function shows(
  name: string,
  of: (value: number) => { text: string; exact: string },
  rows: [number, string, string][],
): void {
  Deno.test(`${name} formats human-readable units with the exact value`, () => {
    for (const [value, text, exact] of rows) assertEquals(of(value), { text, exact });
  });
}

shows("seconds()", seconds, [
  [0, "0 s", "0 s"],
  [0.0000042, "4.20 µs", "0.000004 s"],
  [0.001, "1.00 ms", "0.001 s"],
  [0.137214, "137 ms", "0.137214 s"],
  [0.9994, "999 ms", "0.9994 s"],
  [0.9996, "1.00 s", "0.9996 s"],
  [2.411, "2.41 s", "2.411 s"],
  [59.94, "59.9 s", "59.94 s"],
  [59.96, "1 min 0 s", "59.96 s"],
  [72, "1 min 12 s", "72 s"],
  [3599.7, "1 h 0 min", "3,599.7 s"],
  [7500, "2 h 5 min", "7,500 s"],
  [172_799, "2 d 0 h", "172,799 s"],
  [300_000, "3 d 11 h", "300,000 s"],
]);

shows("bytes()", bytes, [
  [0, "0 B", "0 bytes"],
  [999, "999 B", "999 bytes"],
  [1000, "1.00 kB", "1,000 bytes"],
  [3338801804, "3.34 GB", "3,338,801,804 bytes"],
  [5e15, "5000 TB", "5,000,000,000,000,000 bytes"],
]);

shows("count()", count, [
  [0, "0", "0"],
  [9999, "9,999", "9,999"],
  [10000, "10.0k", "10,000"],
  [999_600, "1.00M", "999,600"],
  [1234567, "1.23M", "1,234,567"],
]);

shows("perSecond()", (value) => perSecond(value, "tokens"), [
  [0, "0/s", "0 tokens per second"],
  [0.001, "< 0.01/s", "0.001 tokens per second"],
  [0.0167, "0.02/s", "0.0167 tokens per second"],
  [0.25, "0.3/s", "0.25 tokens per second"],
  [42.125, "42.1/s", "42.125 tokens per second"],
  [1234, "1.23k/s", "1,234 tokens per second"],
]);

Deno.test("share() does not round to 0% or 100%", () => {
  const texts = [[0, 7], [0, 0], [1, 1000], [1, 3], [999, 1000], [5, 5]].map(([part, whole]) =>
    share(part, whole).text
  );
  assertEquals(texts, ["0%", "0%", "< 1%", "33%", "> 99%", "100%"]);
});

Deno.test("remaining() formats the time until expiry, never and due", () => {
  const now = Date.parse("2026-08-21T12:00:00Z") / 1000;
  assertEquals(remaining(now + 272.4, now), { text: "4 min 32 s", exact: "2026-08-21T12:04:32.400Z" });
  assertEquals(remaining(now + 0.2, now).text, "1 s");
  assertEquals(remaining(now - 5, now).text, "due");
  assertEquals(remaining(now + 9.2e9, now), { text: "never", exact: "kept until Ollama stops" });
});

Deno.test("Missing values are shown as a dash, not as 0", () => {
  for (const format of [seconds, bytes, count]) assertEquals(format(undefined), NO_VALUE);
  assertEquals(perSecond(undefined, "tokens"), NO_VALUE);
  assertEquals(remaining(undefined, 0), NO_VALUE);
});

Deno.test("clock() formats the time of day and the exact timestamp", () => {
  const { text, exact } = clock(Date.parse("2026-08-21T12:00:00.123Z"));
  assertEquals(exact, "2026-08-21T12:00:00.123Z");
  assertEquals(/^\d\d:\d\d:\d\d$/.test(text), true);
});
