/**
 * Cuts a stream of bytes where its messages end: at line feeds (NDJSON) or at blank lines (SSE).
 *
 * @module
 */

import { ByteQueue } from "./byte_queue.ts";

/** What parts the messages of a stream: a line's end, or a blank line. */
export type Separator = "line" | "blank_line";

/**
 * Takes what a {@linkcode MessageSplitter} cuts. The arrays may share memory with what was pushed: what is kept must be
 * copied.
 */
export interface SplitterSink {
  /** One or more whole messages, with their ends. */
  whole(messages: Uint8Array): void;
  /** Bytes of a message that is over the limit, as they come; `begins` is true of the first of them. */
  long(bytes: Uint8Array, begins: boolean): void;
}

const LF = 10;
const CR = 13;
const NOTHING = new Uint8Array(0);

/** Gathers bytes until messages are whole, up to a limit. Lines may end in `\n` or `\r\n`, and be cut anywhere. */
export class MessageSplitter {
  readonly #separator: Separator;
  readonly #limitBytes: number;
  readonly #sink: SplitterSink;
  readonly #held = new ByteQueue();
  #isLong = false;
  /** The last two bytes before the next push. */
  #last = 0;
  #lastButOne = 0;

  /** @param limitBytes Most bytes of one message that are held. */
  constructor(separator: Separator, limitBytes: number, sink: SplitterSink) {
    this.#separator = separator;
    this.#limitBytes = limitBytes;
    this.#sink = sink;
  }

  /** Takes the next bytes. */
  push(bytes: Uint8Array): void {
    const rest = this.#isLong ? this.#passLong(bytes) : 0;
    if (!this.#isLong) this.#cut(bytes, rest);
    this.#lastButOne = this.#byte(bytes, bytes.length - 2);
    this.#last = this.#byte(bytes, bytes.length - 1);
  }

  /** Ends the stream and returns the message that had no end, which is empty where there was none. */
  end(): Uint8Array {
    return this.#held.take(NOTHING);
  }

  /** Returns the index at which the next message begins. */
  #passLong(bytes: Uint8Array): number {
    const end = this.#firstEnd(bytes);
    this.#isLong = end === 0;
    this.#sink.long(end === 0 ? bytes : bytes.subarray(0, end), false);
    return end;
  }

  #cut(bytes: Uint8Array, start: number): void {
    const end = Math.max(start, this.#lastEnd(bytes));
    if (end > start) this.#sink.whole(this.#held.take(bytes.subarray(start, end)));
    this.#held.add(bytes.subarray(end));
    if (this.#held.bytes <= this.#limitBytes) return;
    this.#isLong = true;
    this.#sink.long(this.#held.take(NOTHING), true);
  }

  /** Index behind the last end of a message; 0 where there is none. */
  #lastEnd(bytes: Uint8Array): number {
    let at = bytes.lastIndexOf(LF);
    while (at > 0 && !this.#endsMessage(bytes, at)) at = bytes.lastIndexOf(LF, at - 1);
    return at >= 0 && this.#endsMessage(bytes, at) ? at + 1 : 0;
  }

  /** Index behind the first end of a message; 0 where there is none. */
  #firstEnd(bytes: Uint8Array): number {
    let at = bytes.indexOf(LF);
    while (at >= 0 && !this.#endsMessage(bytes, at)) at = bytes.indexOf(LF, at + 1);
    return at + 1;
  }

  #endsMessage(bytes: Uint8Array, at: number): boolean {
    if (this.#separator === "line") return true;
    const before = this.#byte(bytes, at - 1);
    return before === LF || before === CR && this.#byte(bytes, at - 2) === LF;
  }

  /** The byte at an index of what is pushed, from -2 on. */
  #byte(bytes: Uint8Array, index: number): number {
    if (index >= 0) return bytes[index] as number;
    return index === -1 ? this.#last : this.#lastButOne;
  }
}
