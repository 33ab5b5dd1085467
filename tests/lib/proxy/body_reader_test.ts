/** A body, read into memory that is used again. */

import { assert, assertEquals } from "@std/assert";
import { BodyReader, type Bytes, READ_BYTES } from "../../../lib/proxy/body_reader.ts";
import { RELEASE_BYTES } from "../../../lib/http.ts";
import { bytesOf, liveBody } from "../../support/fixtures.ts";

Deno.test("BodyReader.read() uses the memory that it gets back, and doubles it up to a limit while chunks fill it", async () => {
  const { body, source } = liveBody();
  const reader = new BodyReader(body);
  const sizes: number[] = [];
  for (let index = 0; index < 12; index++) {
    source.enqueue(new Uint8Array(READ_BYTES));
    const { value } = await reader.read();
    assert(value !== undefined);
    sizes.push(value.buffer.byteLength);
    reader.reuse(value);
  }
  assertEquals([sizes[0], sizes[1], sizes[7], sizes[11]], [1024, 2048, READ_BYTES, READ_BYTES]);
  await reader.cancel("done");
});

Deno.test("BodyReader.release() leaves the rest to another reader", async () => {
  const source = [bytesOf("a"), bytesOf("b")] as Bytes[];
  // No byte stream, as some of `Deno.serve` are none.
  const body: ReadableStream<Bytes> = ReadableStream.from(source);
  const reader = new BodyReader(body);
  assertEquals((await reader.read()).value, bytesOf("a"));
  reader.release();
  assertEquals((await new BodyReader(body).read()).value, bytesOf("b"));
});

Deno.test("BodyReader.reuse() releases a large chunk of a stream that cannot be read into a buffer", async () => {
  const large = new Uint8Array(RELEASE_BYTES);
  const small = new Uint8Array(1);
  const reader = new BodyReader(ReadableStream.from([large, small]));
  for (const { length } of [large, small]) {
    const { value } = await reader.read();
    assertEquals(value?.length, length);
    reader.reuse(value as Bytes);
  }
  assertEquals([large.buffer.byteLength, small.buffer.byteLength], [0, 1]);
});
