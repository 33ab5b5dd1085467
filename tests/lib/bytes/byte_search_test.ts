import { assertEquals } from "@std/assert";
import { ByteSearch } from "../../../lib/bytes/byte_search.ts";
import { bytesOf, random } from "../../support/fixtures.ts";

Deno.test("ByteSearch finds each needle at every position", () => {
  const words = ['"done":true', '"error"', "x", '"tool_calls"'];
  for (const needles of [words, ...words.map((word) => [word])]) {
    const search = new ByteSearch(...needles);
    for (const needle of needles) {
      for (let before = 0; before < 30; before++) {
        for (let after = 0; after < 30; after++) {
          const text = ".".repeat(before) + needle + ".".repeat(after);
          assertEquals(search.in(bytesOf(text)), true, `${JSON.stringify(needles)} in ${text}`);
        }
      }
    }
  }
});

Deno.test("ByteSearch finds no partial needle", () => {
  const search = new ByteSearch('"done":true', '"error"');
  const texts = [
    "",
    '"',
    '"done":tru',
    '"error',
    'done":true',
    'error"',
    '"erro""done":false',
    '"done" :true',
    '"ERROR"',
  ];
  for (const text of texts) assertEquals(search.in(bytesOf(text)), false, text);
});

Deno.test("ByteSearch reads no bytes of the buffer outside the array", () => {
  const search = new ByteSearch("needle");
  const bytes = bytesOf("..needle..");
  assertEquals(search.in(bytes.subarray(2, 8)), true);
  assertEquals(search.in(bytes.subarray(3)), false);
  assertEquals(search.in(bytes.subarray(0, 7)), false);
});

Deno.test("ByteSearch finds what includes() finds, in random texts of few letters", () => {
  const next = random(20261122);
  const text = (length: number): string => Array.from({ length }, () => "ab\u00e9"[Math.floor(next() * 3)]).join("");
  let found = 0;
  for (let run = 0; run < 20_000; run++) {
    const needles = Array.from({ length: 1 + Math.floor(next() * 4) }, () => text(1 + Math.floor(next() * 6)));
    const haystack = text(Math.floor(next() * 40));
    const bytes = bytesOf(haystack);
    const expected = needles.some((needle) => haystack.includes(needle));
    const search = new ByteSearch(...needles);
    assertEquals(search.in(bytes), expected, `${needles} in ${haystack}`);
    const from = Math.floor(next() * 10);
    const places = needles.map((needle) => indexOf(bytes, bytesOf(needle), from)).filter((place) => place >= 0);
    assertEquals(search.indexIn(bytes, from), places.length === 0 ? -1 : Math.min(...places), `${needles} ${haystack}`);
    if (expected) found++;
  }
  assertEquals(found > 2000 && found < 18_000, true, `${found} of 20000 were found: the test must see both`);
});

Deno.test("ByteSearch accepts a needle of 255 bytes", () => {
  const needle = "n".repeat(254) + "!";
  const search = new ByteSearch(needle);
  assertEquals(search.in(bytesOf(`${"n".repeat(1000)}!`)), true);
  assertEquals(search.in(bytesOf("n".repeat(1000))), false);
});

function indexOf(bytes: Uint8Array, needle: Uint8Array, from: number): number {
  for (let start = from; start + needle.length <= bytes.length; start++) {
    if (needle.every((byte, index) => bytes[start + index] === byte)) return start;
  }
  return -1;
}
