import { assertEquals } from "@std/assert";
import { pause } from "../../../lib/metrics/pause.ts";

Deno.test("pause() takes a millisecond, in which the event loop runs", async () => {
  const order: string[] = [];
  setTimeout(() => order.push("a timer of a millisecond"), 1);
  await pause();
  assertEquals(order, ["a timer of a millisecond"]);
});
