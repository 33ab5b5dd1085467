import { assertStrictEquals } from "@std/assert";
import * as index from "prom-client";
import * as classes from "../../../lib/metrics/prom_client.ts";

Deno.test("The classes are those of prom-client's index, whose types they have", () => {
  for (const name of ["Counter", "Gauge", "Histogram", "Registry"] as const) {
    assertStrictEquals<unknown>(classes[name], index[name], name);
  }
});
