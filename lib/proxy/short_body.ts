/**
 * Reads short bodies before they are forwarded: a body that is there as a whole is sent together with its head, at a
 * fraction of what a stream costs.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { Bytes } from "./body_reader.ts";

/** Maximum size of a body that is read before it is forwarded, in bytes. With larger ones the bytes are what costs. */
export const SHORT_BODY_BYTES = 16 * 1024;

/** Turns of the event loop within which a body arrives that was sent together with its head. */
const TURNS = 2;

/**
 * Reads a body of known length if it is there.
 *
 * @param body Body of a `fetch` response.
 * @param length Size of the body, in bytes.
 * @returns The whole body, or a stream of it where not all of it is there.
 */
export async function receive(body: ReadableStream<Bytes>, length: number): Promise<Bytes | ReadableStream<Bytes>> {
  if (length === 0) {
    await body.cancel();
    return new Uint8Array(0);
  }
  const reader = body.getReader({ mode: "byob" });
  const reading = reader.read(new Uint8Array(length));
  const value = await Promise.race([reading.then((result) => result.value, ignore), turns(TURNS)]);
  if (value?.length !== length) return continued(reader, reading);
  reader.cancel().catch(ignore);
  return value;
}

function turns(count: number): Promise<undefined> {
  return new Promise((resolve) => {
    const next = (): void => count-- > 0 ? void setImmediate(next) : resolve(undefined);
    next();
  });
}

/** The stream of a body of which one read is pending. */
function continued(
  reader: ReadableStreamBYOBReader,
  reading: Promise<ReadableStreamReadResult<Bytes>>,
): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>({
    async pull(controller): Promise<void> {
      const { done, value } = await reading;
      if (done) return controller.close();
      controller.enqueue(value);
      reading = reader.read(new Uint8Array(SHORT_BODY_BYTES));
      // Whoever pulls gets the error; until then it must not count as unhandled.
      reading.catch(ignore);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

function ignore(): undefined {
  return undefined;
}
