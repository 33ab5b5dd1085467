/**
 * Splits a stream of bytes at the ends of its messages: line feeds (NDJSON) or blank lines (server-sent events).
 *
 * @module
 */

import { ByteQueue } from "./byte_queue.ts";

/** What ends a message. Lines end with `\n` or `\r\n`. */
export type Separator = "line" | "blank_line";

/** A part of a stream. */
export interface Part {
  /** One or more whole messages, their ends included; or part of one that is over the limit. */
  readonly bytes: Uint8Array;
  /** Set for part of a message over the limit. Absent: whole messages. */
  readonly oversized?: "start" | "middle" | "end";
}

const LF = 10;
const CR = 13;

/** Bytes after which a message begins. */
const END: readonly [number, number] = [LF, LF];

/** Collects bytes until messages are whole, up to a limit per message. */
export class MessageSplitter {
  readonly #separator: Separator;
  readonly #limitBytes: number;
  /** Bytes of the unfinished message. */
  readonly #held = new ByteQueue();
  #isOversized = false;
  /** The two bytes before the next push. */
  #before = END;

  /** @param limitBytes Bytes that are held of one unfinished message. */
  constructor(separator: Separator, limitBytes: number) {
    this.#separator = separator;
    this.#limitBytes = limitBytes;
  }

  /**
   * Takes the next bytes of the stream.
   *
   * @returns What they completed, in order. Arrays may share memory with `bytes`: what is kept must be copied.
   */
  push(bytes: Uint8Array): Part[] {
    if (this.#isWhole(bytes)) {
      this.#before = END;
      return [{ bytes }];
    }
    const parts: Part[] = [];
    let start = 0;
    if (this.#isOversized) {
      start = firstEnd(bytes, 0, this.#separator, this.#before);
      this.#isOversized = start === 0;
      if (this.#isOversized) parts.push({ bytes, oversized: "middle" });
      else parts.push({ bytes: bytes.subarray(0, start), oversized: "end" });
    }
    if (!this.#isOversized) {
      const end = Math.max(start, lastEnd(bytes, bytes.length, this.#separator, this.#before));
      if (end > start) parts.push({ bytes: this.#held.take(bytes.subarray(start, end)) });
      this.#held.add(bytes.subarray(end));
      if (this.#held.bytes > this.#limitBytes) {
        this.#isOversized = true;
        parts.push({ bytes: this.#held.take(), oversized: "start" });
      }
    }
    if (bytes.length > 0) this.#before = [byteAt(bytes, bytes.length - 2, this.#before), bytes.at(-1) as number];
    return parts;
  }

  /** Ends the stream and returns the message that has no end; empty where there is none. */
  end(): Uint8Array {
    return this.#held.take();
  }

  /**
   * Whether the next bytes are whole messages, as Ollama sends them. There is nothing to split then, which saves
   * some of the CPU time of paced streams (bench/RESULTS.md).
   */
  #isWhole(bytes: Uint8Array): boolean {
    return !this.#isOversized && this.#held.bytes === 0 && bytes.at(-1) === LF &&
      isEnd(bytes, bytes.length - 1, this.#separator, this.#before);
  }
}

/**
 * Index after the first message that ends at or after an index; 0 where none does.
 *
 * @param before The two bytes in front of `bytes`. Default: the end of a message.
 */
export function firstEnd(
  bytes: Uint8Array,
  from: number,
  separator: Separator,
  before = END,
): number {
  let at = bytes.indexOf(LF, from);
  while (at >= 0 && !isEnd(bytes, at, separator, before)) at = bytes.indexOf(LF, at + 1);
  return at + 1;
}

/** Index after the last message that ends before an index; 0 where none does. */
export function lastEnd(
  bytes: Uint8Array,
  until: number,
  separator: Separator,
  before = END,
): number {
  for (let at = until - 1; at >= 0; at--) {
    at = bytes.lastIndexOf(LF, at);
    if (at < 0 || isEnd(bytes, at, separator, before)) return at + 1;
  }
  return 0;
}

/** Whether the line feed at an index ends a message. */
function isEnd(bytes: Uint8Array, at: number, separator: Separator, before: readonly [number, number]): boolean {
  if (separator === "line") return true;
  const previous = byteAt(bytes, at - 1, before);
  return previous === LF || previous === CR && byteAt(bytes, at - 2, before) === LF;
}

/** The byte at an index, which may be -1 or -2. */
function byteAt(bytes: Uint8Array, index: number, before: readonly [number, number]): number {
  return index >= 0 ? bytes[index] as number : before[index + 2] as number;
}
