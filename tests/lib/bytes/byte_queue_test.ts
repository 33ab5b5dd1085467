/** Copies of bytes, in one piece when they are taken. */

import { assert, assertEquals } from "@std/assert";
import { ByteQueue, join } from "../../../lib/bytes/byte_queue.ts";
import { bytesOf } from "../../support/fixtures.ts";

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

Deno.test("ByteQueue.take() returns copies of what was added, and empties the queue", () => {
  const queue = new ByteQueue();
  const part = bytesOf("ab");
  queue.add(part);
  part.fill(0);
  queue.add(bytesOf(""));
  queue.add(bytesOf("c"));
  assertEquals(queue.bytes, 3);
  assertEquals(textOf(queue.take(bytesOf("d"))), "abcd");
  assertEquals([queue.bytes, queue.take().length], [0, 0]);
  const last = bytesOf("e");
  assert(queue.take(last) === last);
  queue.add(bytesOf("f"));
  queue.clear();
  assertEquals([queue.bytes, queue.take(bytesOf("")).length], [0, 0]);
});

Deno.test("join() concatenates", () => {
  assertEquals(textOf(join([bytesOf("a"), bytesOf(""), bytesOf("bc")])), "abc");
  assertEquals(join([]).length, 0);
});
