/**
 * JSON with everything in it in which a scanner could lose its way.
 *
 * @module
 */

import { random } from "./fixtures.ts";

/** Strings in which a scanner could lose its way. */
const STRINGS = [
  "",
  "model",
  "a b",
  '"',
  "\\",
  '\\"',
  "\\\\",
  "}{][",
  '{"stream":true}',
  '"choices":[]',
  ",:",
  "\n\r\t\b\f\0",
  "é日本🦙",
  "\ud83e",
  "\u2028",
  "x".repeat(200),
];
/** JSON.parse of V8 15.0 may take the key `\"` for an earlier `\\`, so that no key here has a backslash. */
const KEYS = STRINGS.filter((text) => !text.includes("\\"));
const NUMBERS = ["0", "-0", "1e308", "-1.5E-7", "9007199254740993", "12345678901234567890", "0.1"];
const SPACES = ["", "", "", " ", "\n", "\r\n\t", "   "];

/** Writes JSON that looks random and is the same for each seed, white space and needless escapes included. */
export class JsonWriter {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = random(seed);
  }

  /** An integer from 0 up to, but not including, the bound. */
  below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** A string, with or without escapes where they are not needed. */
  string(text = this.pick(STRINGS)): string {
    const json = JSON.stringify(text);
    if (this.below(3) > 0) return json;
    return '"' + text.replace(/[^]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")) + '"';
  }

  /** Any value; `depth` bounds how deep it is nested. */
  value(depth: number): string {
    switch (this.below(depth > 0 ? 6 : 4)) {
      case 0:
        return this.string();
      case 1:
        return this.pick(NUMBERS);
      case 2:
        return this.pick(["true", "false", "null"]);
      case 3:
        return this.pick(["{}", "[]", "[[]]", '{"":{}}']);
      case 4:
        return this.#list("[", "]", () => this.value(depth - 1));
      default:
        return this.object(depth - 1);
    }
  }

  /** An object whose values are at most so deep. */
  object(depth: number): string {
    const key = () => this.string(this.pick(KEYS)) + this.space();
    return this.#list("{", "}", () => `${key()}:${this.space()}${this.value(depth)}`);
  }

  #list(open: string, close: string, item: () => string): string {
    const items = Array.from({ length: this.below(6) }, () => this.space() + item() + this.space());
    return open + (items.join(",") || this.space()) + close;
  }

  /** White space, mostly none. */
  space(): string {
    return this.pick(SPACES);
  }
}
