/** Limits of what is held of request bodies, counted by what their bytes take. */

import { assert, assertEquals } from "@std/assert";
import { HELD_LIMIT_BYTES, HeldBody, type HeldTotal, READ_LIMIT_BYTES } from "../../../lib/proxy/held_body.ts";

Deno.test("HeldBody.add() takes as many bytes as one body may have, and none beyond", () => {
  for (const length of [undefined, 10, READ_LIMIT_BYTES + 1]) {
    const total: HeldTotal = { bytes: 0 };
    const body = new HeldBody(total, length);
    const limit = Math.min(length ?? Infinity, READ_LIMIT_BYTES);
    assert(body.add(new Uint8Array(limit)));
    assert(!body.add(new Uint8Array(1)));
    assertEquals([body.take().length, total.bytes], [limit, limit]);
  }
});

Deno.test("HeldBody.add() takes as many bytes as all bodies may have, and none beyond", () => {
  const total: HeldTotal = { bytes: HELD_LIMIT_BYTES - 3 };
  const body = new HeldBody(total);
  assert(!body.add(new Uint8Array(4)));
  assertEquals(total.bytes, HELD_LIMIT_BYTES - 3);
  assert(body.add(new Uint8Array(3)));
  assertEquals(total.bytes, HELD_LIMIT_BYTES);
  assert(!body.add(new Uint8Array(1)));
  assertEquals(body.take().length, 3);
});

Deno.test("HeldBody counts its memory, and after take() its bytes, until release()", () => {
  const total: HeldTotal = { bytes: 7 };
  const body = new HeldBody(total);
  for (let index = 0; index < 1000; index++) {
    assert(body.add(new Uint8Array(64 * 1024).subarray(0, 1)));
    assert(total.bytes - 7 >= index + 1 && total.bytes - 7 <= 2 * (index + 1), String(total.bytes));
  }
  const taken = body.take();
  assertEquals([taken.length, taken.buffer.byteLength, total.bytes - 7], [1000, 1000, 1000]);
  body.replace(3000);
  assertEquals(total.bytes - 7, 3000);
  body.release();
  body.release();
  assertEquals(total.bytes, 7);
});
