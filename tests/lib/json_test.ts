import { assertEquals } from "@std/assert";
import { valueAt } from "../../lib/json.ts";

Deno.test("valueAt() follows keys and indexes, and returns undefined where there is nothing", () => {
  const json = { a: [{ b: 0 }, null], c: null, "": "empty" };
  const rows: [path: string[], value: unknown][] = [
    [[], json],
    [["a", "0", "b"], 0],
    [["a", "1"], null],
    [["a", "1", "b"], undefined],
    [["a", "2"], undefined],
    [["c"], null],
    [["c", "d"], undefined],
    [[""], "empty"],
    [["a", "0", "b", "c"], undefined],
  ];
  for (const [path, value] of rows) assertEquals(valueAt(json, ...path), value, path.join("."));
  for (const scalar of [null, undefined, 7, "text", true]) assertEquals(valueAt(scalar, "length"), undefined);
});
