import { assertEquals } from "@std/assert";
import { NAME_LIMIT_BYTES } from "../../../lib/model_name.ts";
import {
  any,
  at,
  count,
  equals,
  type FieldReader,
  filled,
  items,
  milliseconds,
  nanoseconds,
  present,
  sum,
  text,
  where,
} from "../../../lib/reading/field_readers.ts";

const MESSAGE = {
  name: "m",
  long: "x".repeat(NAME_LIMIT_BYTES),
  longer: "x".repeat(NAME_LIMIT_BYTES + 1),
  empty: "",
  nothing: null,
  zero: 0,
  three: 3,
  half: 0.5,
  minus: -1,
  huge: 2 ** 53,
  yes: true,
  no: false,
  deep: { er: { value: 7 } },
  list: [{ kind: "a", function: { name: "f" } }, { kind: "b", function: null }, { kind: "a" }, null, 5],
  none: [],
};

/** Readers, and what they find in the message. */
const READINGS: [what: string, reader: FieldReader<unknown>, value: unknown][] = [
  ["text", text("name"), "m"],
  ["the first path that is present", text("absent", "nothing", "name"), "m"],
  ["an empty text, which is present", text("empty", "name"), undefined],
  ["no text", text("three"), undefined],
  ["a text at the limit", text("long"), "x".repeat(NAME_LIMIT_BYTES)],
  ["a text over the limit, which is present", text("longer", "name"), undefined],
  ["count", count("three"), 3],
  ["a count of 0", count("zero"), 0],
  ["no count at all", count("absent", "deep.absent", "name.length.x"), undefined],
  ["null for a count", count("nothing"), undefined],
  ["a text for a count", count("name"), NaN],
  ["a fraction for a count", count("half"), NaN],
  ["less than nothing", count("minus"), NaN],
  ["more than a double counts", count("huge"), NaN],
  ["true for a count", count("yes"), NaN],
  ["nanoseconds", nanoseconds("three"), 3e-9],
  ["milliseconds", milliseconds("half"), 0.0005],
  ["less than no time", nanoseconds("minus"), NaN],
  ["more time than can be", milliseconds("huge"), NaN],
  ["a text for a time", milliseconds("name"), NaN],
  ["no time", milliseconds("absent"), undefined],
  ["sum", sum(count("three"), count("deep.er.value")), 10],
  ["a sum of what is there", sum(count("three"), count("absent")), 3],
  ["a sum of nothing", sum(count("absent"), count("nothing")), undefined],
  ["a sum with what is no count", sum(count("three"), count("name")), NaN],
  ["a path of two", count("deep.er.value"), 7],
  ["a path with an index", text("list.0.kind"), "a"],
  ["a path beyond a list", text("list.9.kind", "list.3.kind", "list.4.kind"), undefined],
  ["filled text", filled("empty", "name"), true],
  ["filled list", filled("list"), true],
  ["nothing filled", filled("empty", "none", "three", "deep", "absent"), false],
  ["equals", equals("name", "x", "m"), true],
  ["equals a boolean", equals("yes", true), true],
  ["equals nothing", equals("three", "3", true), false],
  ["present", present("no"), true],
  ["present as 0", present("zero"), true],
  ["null is not present", present("nothing"), false],
  ["any", any(equals("name", "x"), present("name")), true],
  ["not any", any(equals("name", "x"), present("absent")), false],
  ["items that have a member", items("function", undefined, "absent", "list"), 1],
  ["items that have a deep member", items("function.name", undefined, "list"), 1],
  ["items of a kind", items("kind", "a", "list"), 2],
  ["items of no kind", items("kind", "z", "list"), undefined],
  ["items of what is no list", items("kind", "a", "deep"), undefined],
  ["items of an empty list", items("kind", "a", "none"), undefined],
  ["where it is so", where(present("name"), count("three")), 3],
  ["where it is not so", where(present("absent"), count("three")), undefined],
];

Deno.test("Field readers return their value, undefined if it is absent, NaN if it is not usable", () => {
  for (const [what, reader, value] of READINGS) assertEquals(reader(MESSAGE), value, what);
});

Deno.test("Field readers return undefined for what is not an object", () => {
  for (const message of [undefined, null, true, 0, "name", "[DONE]", [], [[]]]) {
    for (const [what, reader] of READINGS) {
      const value = reader(message);
      assertEquals(value === undefined || value === false, true, `${what} in ${JSON.stringify(message)}`);
    }
  }
});

Deno.test("at() returns the value at a path, and undefined for null", () => {
  assertEquals(at(MESSAGE, ["deep", "er"]), { value: 7 });
  assertEquals(at(MESSAGE, []), MESSAGE);
  assertEquals(at(MESSAGE, ["nothing"]), undefined);
  assertEquals(at(MESSAGE, ["name", "length"]), undefined);
});
