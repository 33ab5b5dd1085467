/**
 * Minimal HTTP response parser of the load client.
 *
 * @module
 */

import { STAMP_DIGITS, STAMP_MARK } from "./payloads.ts";

const LF = 10;
const CR = 13;
const MARK = STAMP_MARK.charCodeAt(0);

/** End of a chunked body, after the line feed of its last chunk or of its head. */
const END = "\r\n0\r\n\r\n";
const END_BYTES = new TextEncoder().encode(END);

const decoder = new TextDecoder("latin1");

/** Called with the time at which a token was sent, in microseconds of the shared clock. */
export type TakeStamp = (microseconds: number) => void;

/**
 * Parses a response from raw bytes. A line feed counts as one of the body unless a carriage return precedes it: those
 * of heads and chunks have one, those of the bench's bodies do not.
 */
export class ResponseReader {
  /** Line feeds of the body so far. */
  lineFeeds = 0;
  /** Whether the response is complete. */
  done = false;
  /** Whether the server keeps the connection open. */
  keepAlive = true;
  readonly #stamp: TakeStamp | undefined;
  #head: string | undefined = "";
  /** Remaining bytes of the body; `undefined` if it is chunked. */
  #rest: number | undefined;
  /** Last bytes of a chunked body. */
  #end = new Uint8Array(END_BYTES.length);
  #last = 0;
  /** Digits of a time stamp that is split between reads. */
  #cut: string | undefined;

  /** @param stamp Default: time stamps are not read. */
  constructor(stamp?: TakeStamp) {
    this.#stamp = stamp;
  }

  /** Parses received bytes. */
  push(bytes: Uint8Array): void {
    if (this.#head !== undefined) {
      const length = this.#takeHead(bytes);
      if (length === undefined) return;
      this.#takeEnd(END_BYTES.subarray(0, 2));
      bytes = bytes.subarray(length);
    }
    if (this.#rest !== undefined) {
      this.#rest -= bytes.length;
      this.done = this.#rest <= 0;
      return;
    }
    this.#countLineFeeds(bytes);
    if (this.#stamp !== undefined) this.#findStamps(bytes, this.#stamp);
    this.#takeEnd(bytes);
    this.done = this.#last === LF && this.#end.every((byte, index) => byte === END_BYTES[index]);
  }

  /** Parses the head. Returns its length, or `undefined` if it is incomplete. */
  #takeHead(bytes: Uint8Array): number | undefined {
    const before = this.#head?.length ?? 0;
    const text = this.#head + decoder.decode(bytes.subarray(0, 4096));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#head = text;
      return undefined;
    }
    this.#head = undefined;
    const head = text.slice(0, end);
    if (!/^HTTP\/1\.1 20[01] /.test(head)) throw new Error(`unexpected response: ${text.slice(0, 400)}`);
    this.keepAlive = !/\r\nconnection: *close/i.test(head);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    this.#rest = length === undefined ? undefined : Number(length);
    return end + 4 - before;
  }

  #countLineFeeds(bytes: Uint8Array): void {
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      if ((at === 0 ? this.#last : bytes[at - 1]) !== CR) this.lineFeeds++;
    }
    this.#last = bytes[bytes.length - 1] ?? this.#last;
  }

  #takeEnd(bytes: Uint8Array): void {
    const end = this.#end;
    if (bytes.length < end.length) {
      end.copyWithin(0, bytes.length);
      end.set(bytes, end.length - bytes.length);
    } else end.set(bytes.subarray(bytes.length - end.length));
  }

  #findStamps(bytes: Uint8Array, take: TakeStamp): void {
    let at = 0;
    if (this.#cut !== undefined) {
      at = STAMP_DIGITS - this.#cut.length;
      this.#takeDigits(this.#cut + decoder.decode(bytes.subarray(0, at)), take);
    }
    for (at = bytes.indexOf(MARK, at); at >= 0; at = bytes.indexOf(MARK, at + STAMP_DIGITS)) {
      if (at + STAMP_DIGITS < bytes.length) take(digits(bytes, at + 1));
      else this.#takeDigits(decoder.decode(bytes.subarray(at + 1)), take);
    }
  }

  #takeDigits(text: string, take: TakeStamp): void {
    this.#cut = text.length < STAMP_DIGITS ? text : undefined;
    if (this.#cut === undefined) take(Number(text));
  }
}

function digits(bytes: Uint8Array, start: number): number {
  let value = 0;
  for (let index = start; index < start + STAMP_DIGITS; index++) value = value * 10 + (bytes[index] as number) - 48;
  return value;
}
