/**
 * Damages responses: garbage between messages, changed bytes in them, and cuts at any place.
 *
 * @module
 */

import { latin1, latin1Bytes } from "../fake_ollama/wire.ts";
import { type Fixture, random } from "./fixtures.ts";

/** Garbage between messages, and the number of parse errors that it causes if everything is parsed. */
export type Garbage = readonly [text: string, parseErrors: number];

/** Garbage for NDJSON. */
const LINES: readonly Garbage[] = [
  ["\n", 0],
  ["\r\n", 0],
  ["{}\n", 0],
  ["null\n", 0],
  ["[]\r\n", 0],
  ['"text"\n', 0],
  ["-1e308\n", 0],
  ['{"model":5,"message":"x","choices":{},"usage":[],"unknown":{"done":true}}\n', 0],
  ["not json\n", 1],
  [": comment\n", 1],
  ['{"done":tru}\n', 1],
  ['{"message":{"content":"\n', 1],
  ['"}}\r\n', 1],
  ["\0\x01\n", 1],
  ["\xff\xfe\n", 1],
  [`${"x".repeat(3000)}\n`, 1],
];

/** Garbage for SSE. */
const EVENTS: readonly Garbage[] = [
  ["\n", 0],
  ["\r\n\r\n", 0],
  [": comment\n\n", 0],
  [":\r\n\r\n", 0],
  ["event: ping\n\n", 0],
  ["id: 1\nretry: 5\n\n", 0],
  ["data\n\n", 0],
  ["data:\n\n", 0],
  ["data: \n\n", 0],
  ["nonsense\n\n", 0],
  ["\xff\xfe\n\n", 0],
  ["data:null\r\n\r\n", 0],
  ["data: []\n\n", 0],
  ['event: x\ndata: {\ndata: "unknown":\r\ndata:{}}\n: comment\n\n', 0],
  ['data: {"model":5,"choices":"x","unknown":{"type":"message_stop"}}\n\n', 0],
  ["data: not json\n\n", 1],
  ["data: [DONE\n\n", 1],
  ["data: {\ndata: [\n\n", 1],
  ['data: {"choices":[{"delta":{"content":"\n\n', 1],
  [`data: ${"x".repeat(3000)}\n\n`, 1],
];

/** A fixture with garbage in it. */
export interface Spoilt {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly parseErrors: number;
}

/** Damages bodies, from a seed. */
export class Spoiler {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = random(seed);
  }

  /** Returns an integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /** Returns garbage for one place between messages, mostly none. */
  garbage(kind: Fixture["kind"]): Garbage {
    const all = kind === "sse" ? EVENTS : LINES;
    return all[this.below(all.length * 3)] ?? ["", 0];
  }

  /** Adds garbage before messages, and changes line ends. */
  spoil({ kind, bytes }: Fixture): Spoilt {
    let parseErrors = 0;
    const parts: string[] = [];
    for (const message of messagesIn(kind, bytes)) {
      const [text, errors] = this.garbage(kind);
      parseErrors += errors;
      parts.push(text, this.below(4) === 0 ? message.replace(/\r?\n/g, "\r\n") : message);
    }
    return { bytes: latin1Bytes(parts.join("")), parseErrors };
  }

  /** Changes, inserts and deletes bytes. */
  damage(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const damaged = [...bytes];
    for (let count = 1 + this.below(8); count > 0; count--) {
      const byte = '{}[]",:\\\n\r0-e x\xff'.charCodeAt(this.below(17));
      damaged.splice(this.below(damaged.length + 1), this.below(3), ...(this.below(2) === 0 ? [byte] : []));
    }
    return Uint8Array.from(damaged.slice(0, this.below(3) === 0 ? this.below(damaged.length + 1) : undefined));
  }

  /** Cuts bytes into random pieces, some of them small. */
  *cut(bytes: Uint8Array<ArrayBuffer>): Generator<Uint8Array<ArrayBuffer>> {
    const most = [5, 50, 200, 800][this.below(4)] ?? 1;
    let start = 0;
    while (start < bytes.length) {
      const end = start + 1 + this.below(most);
      yield bytes.slice(start, end);
      start = end;
    }
  }
}

/** Returns the messages of a stream with their line ends, as text of one character per byte. */
export function messagesIn(kind: Fixture["kind"], bytes: Uint8Array): string[] {
  return latin1(bytes).split(kind === "sse" ? /(?<=\n\n)/ : /(?<=\n)/);
}
