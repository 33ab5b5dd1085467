/**
 * JSON with everything that could confuse a scanner.
 *
 * @module
 */

import { random } from "./fixtures.ts";

/** Strings that could confuse a scanner. */
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
/** Keys have no backslash: JSON.parse of V8 15.0 may take the key `\"` for an earlier `\\`. */
const KEYS = STRINGS.filter((text) => !text.includes("\\"));
const NUMBERS = ["0", "-0", "1e308", "-1.5E-7", "9007199254740993", "12345678901234567890", "0.1"];
const SPACES = ["", "", "", " ", "\n", "\r\n\t", "   "];

/** Generates JSON from a seed, with white space and unnecessary escapes. */
export class JsonWriter {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = random(seed);
  }

  /** Returns an integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  /** Returns one of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** Returns a string, with or without unnecessary escapes. */
  string(text = this.pick(STRINGS)): string {
    const json = JSON.stringify(text);
    if (this.below(3) > 0) return json;
    return '"' + text.replace(/[^]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")) + '"';
  }

  /** Returns any value, nested at most `depth` deep. */
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

  /** Returns an object whose values are nested at most `depth` deep. */
  object(depth: number): string {
    const key = () => this.string(this.pick(KEYS)) + this.space();
    return this.#list("{", "}", () => `${key()}:${this.space()}${this.value(depth)}`);
  }

  #list(open: string, close: string, item: () => string): string {
    const items = Array.from({ length: this.below(6) }, () => this.space() + item() + this.space());
    return open + (items.join(",") || this.space()) + close;
  }

  /** Returns white space, mostly none. */
  space(): string {
    return this.pick(SPACES);
  }
}
