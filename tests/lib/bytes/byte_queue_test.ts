/** Copies of bytes, in one piece when they are taken. */

import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
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

Deno.test("ByteQueue takes at most twice the memory of its bytes, whatever the sizes of the parts", () => {
  for (const size of [1, 7, 1000, 100_000]) {
    const queue = new ByteQueue();
    const part = new Uint8Array(128 * 1024).fill(97).subarray(0, size);
    for (let bytes = 0; bytes < 200_000; bytes += size) {
      const capacity = queue.capacityWith(size);
      queue.add(part);
      assertEquals(queue.capacityWith(0), capacity);
      assertLessOrEqual(capacity, 2 * queue.bytes);
    }
    const { bytes } = queue;
    const taken = queue.take();
    assertLessOrEqual(taken.buffer.byteLength, 2 * bytes);
    assertEquals(textOf(taken), "a".repeat(bytes));
  }
});

Deno.test("ByteQueue of an expected size does not grow beyond it ahead of time", () => {
  const queue = new ByteQueue(1000);
  for (let bytes = 0; bytes < 1000; bytes += 10) {
    queue.add(new Uint8Array(10));
    assertLessOrEqual(queue.capacityWith(0), 1000);
  }
  queue.add(new Uint8Array(10));
  assertEquals(queue.take().length, 1010);
});

Deno.test("join() concatenates", () => {
  assertEquals(textOf(join([bytesOf("a"), bytesOf(""), bytesOf("bc")])), "abc");
  assertEquals(join([]).length, 0);
});
