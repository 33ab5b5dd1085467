/** The scanner finds in the bytes of an object what JSON.parse finds in its text. */

import { assert, assertEquals } from "@std/assert";
import {
  KEY_LIMIT_BYTES,
  type Member,
  MEMBERS_LIMIT,
  type ScannedObject,
  scanObject,
  VALUE_LIMIT_BYTES,
  valueOf,
} from "../../../lib/bytes/json_scan.ts";
import { bytesOf, random } from "../../support/fixtures.ts";
import { JsonWriter } from "../../support/random_json.ts";

const SEEDS = 300;

function scan(text: string, from = 0): ScannedObject | undefined {
  return scanObject(bytesOf(text), from);
}

/** Keys and decoded values, in order. */
function membersOf(text: string): [string, unknown][] | undefined {
  const bytes = bytesOf(text);
  return scanObject(bytes)?.members.map((member) => [member.key, valueOf(bytes, member)]);
}

/** What the bytes between two indexes say. */
function between(text: string, start: number, end: number): string {
  return new TextDecoder().decode(bytesOf(text).subarray(start, end));
}

Deno.test("scanObject() finds the members that JSON.parse finds, in random objects", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const writer = new JsonWriter(seed);
    const space = writer.space();
    const text = space + writer.object(4);
    const rest = writer.pick(["", " ", "\n{}", "garbage", '"', "}"]);
    const found = scan(text + rest);
    assert(found !== undefined, text);
    assertEquals(found.start, space.length, text);
    // The last of equal keys counts, as in JSON.parse. A key that is too long is given as an empty one.
    const isLong = (member: Member): boolean => member.valueEnd - member.valueStart > VALUE_LIMIT_BYTES;
    const long = new Set(found.members.filter(isLong).map(({ key }) => key));
    const values = new Map(membersOf(text));
    for (const [key, value] of Object.entries(JSON.parse(text))) {
      if (key !== "" && key.length < 20 && !long.has(key)) {
        assertEquals(values.get(key), value, `${JSON.stringify(key)} in ${text}`);
      }
    }
  }
});

Deno.test("scanObject() returns the positions of keys and values", () => {
  const text = ' \n{ "a" : 1 ,"Bé":\t{"x":[]}, "c":"}" \r\n}';
  const members = scan(text)?.members ?? [];
  assertEquals(members.map(({ key }) => key), ["a", "bé", "c"]);
  const keys = members.map(({ keyStart, valueStart }) => between(text, keyStart, valueStart));
  assertEquals(keys, ['"a" : ', '"Bé":\t', '"c":']);
  const values = members.map(({ valueStart, valueEnd }) => between(text, valueStart, valueEnd));
  assertEquals(values, ["1", '{"x":[]}', '"}"']);
});

Deno.test("scanObject() starts at the given index", () => {
  const text = 'data: {"a":1}\n\n';
  assertEquals(scan(text), undefined);
  assertEquals(scan(text, 5)?.start, 6);
  assertEquals(scan(text, 6)?.start, 6);
  assertEquals(scan(text, 7), undefined);
  assertEquals(scan(text, 1000), undefined);
});

Deno.test("scanObject() finds no object in one that is cut anywhere", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const bytes = bytesOf(new JsonWriter(seed).object(3));
    for (let end = 0; end < bytes.length; end++) assertEquals(scanObject(bytes.subarray(0, end)), undefined);
    assert(scanObject(bytes) !== undefined);
  }
});

Deno.test("scanObject() finds no object where there is none", () => {
  const texts = [
    "",
    " ",
    "null",
    "[]",
    '[{"a":1}]',
    '"{}"',
    "1",
    "{",
    "{,}",
    "{]",
    "{a:1}",
    "{'a':1}",
    '{"a"}',
    '{"a" 1}',
    '{"a":}',
    '{"a":,"b":1}',
    '{"a":1 "b":2}',
    '{"a":1;"b":2}',
    '{"a":"x":"b":2}',
    '{"a":1,}',
    '{"a":1,,"b":2}',
    '{"a":1]',
    '{"a":[1}',
    '{"a":"\\"}',
    '\ufeff{"a":1}',
    "--boundary\r\nContent-Disposition: form-data",
    "\x28\xb5\x2f\xfd\x24\x05",
  ];
  for (const text of texts) assertEquals(scan(text), undefined, text);
});

Deno.test("scanObject() ends without throwing on random bytes", () => {
  const next = random(1);
  for (let round = 0; round < 2000; round++) {
    const length = Math.floor(next() * 60);
    const bytes = Uint8Array.from({ length }, () => bytesOf('{}[]":,\\ae1 \n\xff')[Math.floor(next() * 16)] ?? 0);
    bytes[0] = "{".charCodeAt(0);
    const found = scanObject(bytes);
    for (const member of found?.members ?? []) valueOf(bytes, member);
  }
});

Deno.test("scanObject() returns keys in lower case, folded as Go does", () => {
  const text = '{"Model":1,"STREAM":2,"\\u004dODEL":3,"ſtream":4,"to\u212aens":5}';
  assertEquals(scan(text)?.members.map(({ key }) => key), ["model", "stream", "model", "stream", "tokens"]);
});

Deno.test("scanObject() returns members with a repeated key, in order", () => {
  assertEquals(membersOf('{"a":1,"b":2,"A":3,"a":null}'), [["a", 1], ["b", 2], ["a", 3], ["a", null]]);
});

Deno.test("scanObject() decodes escaped keys, but none over the limit", () => {
  const escaped = [..."stream_options"].map((char) => "\\u00" + char.charCodeAt(0).toString(16)).join("");
  assertEquals(membersOf(`{"${escaped}":1,"b":2}`), [["stream_options", 1], ["b", 2]]);
  // The quotes count.
  const longest = "x".repeat(KEY_LIMIT_BYTES - 2);
  assertEquals(membersOf(`{"${longest}":1,"b":2}`), [[longest, 1], ["b", 2]]);
  assertEquals(membersOf(`{"${longest}x":1,"b":2}`), [["", 1], ["b", 2]]);
});

Deno.test("scanObject() finds as many members as the limit, and no object beyond", () => {
  const objectOf = (members: number) => `{${Array.from({ length: members }, (_, index) => `"${index}":1`)}}`;
  assertEquals(scan(objectOf(MEMBERS_LIMIT))?.members.length, MEMBERS_LIMIT);
  assertEquals(scan(objectOf(MEMBERS_LIMIT + 1)), undefined);
});

Deno.test("valueOf() decodes a value at the limit, and none beyond", () => {
  const [longest, longer] = [VALUE_LIMIT_BYTES - 2, VALUE_LIMIT_BYTES - 1].map((length) => "x".repeat(length));
  assertEquals(membersOf(`{"a":"${longest}","b":"${longer}"}`), [["a", longest], ["b", undefined]]);
});

Deno.test("scanObject() accepts any nesting depth, without recursion", () => {
  const depth = 200_000;
  const text = `{"a":${"[".repeat(depth)}${"]".repeat(depth)},"b":${'{"c":'.repeat(depth)}1${"}".repeat(depth)}}`;
  assertEquals(scan(text)?.members.map(({ key }) => key), ["a", "b"]);
});

Deno.test("scanObject() gets through long strings: in time quadratic in their length it would not end", () => {
  const millions = 4_000_000;
  for (const filling of ["\\\\", '\\"', "\\n", "x", "é"]) {
    const text = `{"a":"${filling.repeat(millions / filling.length)}","b":1}`;
    assertEquals(scan(text)?.members.map(({ key }) => key), ["a", "b"]);
  }
});

Deno.test("valueOf() parses a value, and returns undefined for what is not JSON", () => {
  const text = '{"a":"\\u00e9","b":tru,"c":1:2,"d":"a\nb","e":[1}}';
  assertEquals(membersOf(text), [["a", "é"], ["b", undefined], ["c", undefined], ["d", undefined], ["e", undefined]]);
});
