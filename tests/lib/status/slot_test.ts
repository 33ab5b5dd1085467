/** Traffic of a few seconds is bounded, whatever is added. */

import { assertEquals } from "@std/assert";
import { FIGURES_LIMIT, SAMPLES, Slot } from "../../../lib/status/slot.ts";

Deno.test("Slot tells a bounded number of models apart, and sums up further ones as other", () => {
  const slot = new Slot(1);
  for (let count = 0; count < 3 * FIGURES_LIMIT; count++) slot.model(`m${count}`).requests++;
  slot.model("m0").requests++;
  assertEquals(slot.models.size, FIGURES_LIMIT + 1);
  assertEquals([slot.model("m0").requests, slot.model("other").requests], [2, 2 * FIGURES_LIMIT]);
});

Deno.test("Slot keeps a bounded number of values, in ascending order", () => {
  const slot = new Slot(1);
  const { firstToken } = slot.model("m");
  for (let value = 0; value < 1000; value++) {
    slot.firstToken.add(1000 - value);
    firstToken.add(value);
  }
  assertEquals(slot.firstToken.values.length, SAMPLES);
  for (const { values } of [slot.firstToken, firstToken]) assertEquals(values, values.toSorted((a, b) => a - b));
  assertEquals(firstToken.values.length < SAMPLES, true);
});
