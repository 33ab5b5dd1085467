/** Long strings are cut and vectors emptied wherever the bytes are cut, and nothing else is. */

import { assert, assertEquals } from "@std/assert";
import { join } from "../../../lib/bytes/byte_queue.ts";
import { LongValueSkipper, STRING_LIMIT_BYTES } from "../../../lib/bytes/long_value_skipper.ts";
import { bytesOf, random } from "../../support/fixtures.ts";

/** What is left of a text that comes in chunks of a size. */
function left(text: string, size: number): string {
  const bytes = bytesOf(text);
  const skipper = new LongValueSkipper();
  const kept: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) kept.push(...skipper.push(bytes.subarray(at, at + size)));
  return new TextDecoder().decode(join(kept));
}

const LONG = "x".repeat(STRING_LIMIT_BYTES);

const CASES: readonly (readonly [text: string, left: string])[] = [
  ['{"embeddings":[[0.01,-0.02],[-1e-7,2]],"n":8}', '{"embeddings":[[],[]],"n":8}'],
  ['{"embeddings":[[-1]],"model":"m"}', '{"embeddings":[[]],"model":"m"}'],
  ['{"embedding":[]}', '{"embedding":[]}'],
  ['{"embeddings":[],"n":[1]}', '{"embeddings":[],"n":[]}'],
  [
    '{"data":[{"embedding":[0.5],"index":0},{"embedding":[5],"index":1}],"usage":{"prompt_tokens":8}}',
    '{"data":[{"embedding":[],"index":0},{"embedding":[],"index":1}],"usage":{"prompt_tokens":8}}',
  ],
  ['{"data":[{"embedding":"AAAA","index":0}],"model":"m"}', '{"data":[{"embedding":"AAAA","index":0}],"model":"m"}'],
  ['{"text":"an array: [1,2]","a":["[1",[1,2]]}', '{"text":"an array: [1,2]","a":["[1",[]]}'],
  ['{"text":"\\"[1]\\\\","a":[1]}', '{"text":"\\"[1]\\\\","a":[]}'],
  [`{"a":"${LONG}","b":[1]}`, `{"a":"${LONG}","b":[]}`],
  [`{"a":"${LONG}y[1]\\"\\\\","b":[1],"c":"d"}`, `{"a":"${LONG}","b":[],"c":"d"}`],
  [`{"a":"${LONG}\\\\\\\\\\"","b":2}`, `{"a":"${LONG}","b":2}`],
  ['{"error":"x"}', '{"error":"x"}'],
  ["[1,2", "["],
  ["", ""],
];

Deno.test("LongValueSkipper cuts long strings, empties vectors and keeps the rest, at every chunk size", () => {
  for (const [text, expected] of CASES) {
    const bound = text.length < STRING_LIMIT_BYTES ? text.length + 1 : 40;
    for (let size = 1; size <= bound; size++) assertEquals(left(text, size), expected, `${size}: ${text}`);
    assertEquals(left(text, text.length + 1), expected, text);
  }
});

Deno.test("LongValueSkipper never cuts an escape sequence", () => {
  const next = random(7);
  const pieces = ['\\"', "\\\\", "\\n", "\\u00e9", "\\uD83E\\uDD99", "x", "é", "u", "[", "1"];
  for (let round = 0; round < 400; round++) {
    let text = "x".repeat(STRING_LIMIT_BYTES - Math.floor(next() * 12));
    for (let count = 0; count < 30; count++) text += pieces[Math.floor(next() * pieces.length)];
    const result = JSON.parse(left(`{"a":"${text}","b":[1,2],"c":3}`, 1 + Math.floor(next() * 50)));
    assertEquals([result.b, result.c], [[], 3], text);
    assert(result.a.length <= STRING_LIMIT_BYTES, text);
  }
});
