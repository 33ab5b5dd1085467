/** Quantiles of small samples. */

import { assertEquals } from "@std/assert";
import { quantilesOf, rounded } from "../../../lib/status/quantiles.ts";

Deno.test("quantilesOf() returns values that were measured", () => {
  assertEquals(quantilesOf([]), undefined);
  assertEquals(quantilesOf([0.0123456]), { median: 0.01235, p95: 0.01235 }, "to four digits");
  assertEquals(quantilesOf([7]), { median: 7, p95: 7 });
  assertEquals(quantilesOf(Array.from({ length: 20 }, (_, index) => index + 1)), { median: 10, p95: 19 });
});

Deno.test("rounded() keeps six digits", () => {
  assertEquals([rounded(1 / 3), rounded(1234567)], [0.333333, 1234570]);
});
