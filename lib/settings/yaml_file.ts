/**
 * YAML configuration files, validated key by key.
 *
 * Scalars are kept as text (YAML's failsafe schema), since a user name may be `null` or `0x10`.
 *
 * @module
 */

import { isAbsolute, join } from "node:path";
import { parse } from "@std/yaml/parse";
import { fileErrorOf, messageOf, UserError } from "../errors.ts";
import { parseInteger } from "./parse.ts";
import { readText } from "./text_file.ts";

/** Maximum length of a value quoted in an error message, in characters. */
export const QUOTE_LIMIT_CHARACTERS = 80;

/**
 * Reads a YAML file.
 *
 * @returns Strings, arrays and mappings; `null` for an empty document or value.
 * @throws {UserError} If the file cannot be read or is not YAML. Syntax errors have line and column but never quote the
 * file, which may contain passwords. The cause is {@linkcode Deno.errors.NotFound} if the file does not exist.
 */
export async function readYaml(path: string): Promise<unknown> {
  try {
    return parseYaml(await readText(path));
  } catch (error) {
    throw new UserError(`${path}: ${fileErrorOf(error)}`, { cause: error });
  }
}

function parseYaml(text: string): unknown {
  try {
    return parse(text, { schema: "failsafe" });
  } catch (error) {
    // The position is followed by a quote of the line.
    const [, reason, line, column] = /^(.*?) at line (\d+), column (\d+)/s.exec(messageOf(error)) ?? [];
    if (reason === undefined) throw new Error(`Not valid YAML: ${messageOf(error)}`);
    throw new Error(`Line ${line}, column ${column}: ${reason.replace(/"[^"]*"|!<[^>]*>/g, "…")}`);
  }
}

/** Reads a value and reports problems to the checker. `key` is the path of its key, such as `rate_limit.burst`. */
export type ValueReader<T> = (value: unknown, key: string, checker: Checker) => T;

/** Values by key, as the readers returned them; keys absent from the file are absent here. */
type Values<Readers> = { [Name in keyof Readers]?: Readers[Name] extends ValueReader<infer T> ? T : never };

/** Validates the values of a file and collects all problems, to be reported together. */
export class Checker {
  readonly #path: string;
  readonly #problems: string[] = [];

  /** Starts the validation of the file at `path`, which prefixes each problem. */
  constructor(path: string) {
    this.#path = path;
  }

  /** Adds a problem. */
  add(problem: string): void {
    this.#problems.push(`${this.#path}: ${problem}`);
  }

  /** Adds the problem that a value is invalid, quoting it. An empty `key` stands for the whole file. */
  reject(value: unknown, key: string, accepts: string): void {
    this.add(`${key && `${key}: `}expected ${accepts}, got ${quoted(value)}`);
  }

  /** Returns the entries of a mapping. Anything else has none; unless it is empty, it is a problem. */
  entries(value: unknown, key: string): [string, unknown][] {
    if (isMapping(value)) return Object.entries(value);
    if (value !== null) this.reject(value, key, "a mapping");
    return [];
  }

  /** Reads a mapping with a reader per key. Any other key is a problem. */
  mapping<Readers extends Record<string, ValueReader<unknown>>>(
    value: unknown,
    key: string,
    readers: Readers,
  ): Values<Readers> {
    const values: Record<string, unknown> = {};
    for (const [name, inner] of this.entries(value, key)) {
      const path = key === "" ? name : `${key}.${name}`;
      const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
      if (reader !== undefined) values[name] = reader(inner, path, this);
      else this.add(`unknown key ${path}: expected one of ${Object.keys(readers).join(", ")}`);
    }
    return values as Values<Readers>;
  }

  /**
   * Ends the validation.
   *
   * @throws {UserError} If there were problems, with a line for each.
   */
  end(): void {
    if (this.#problems.length > 0) throw new UserError(this.#problems.join("\n"));
  }
}

/**
 * Makes a reader of a scalar.
 *
 * @param accepts Accepted values, for the problem.
 * @param parse Returns `undefined` if the text is invalid.
 */
export function scalar<T>(accepts: string, parse: (text: string) => T | undefined): ValueReader<T | undefined> {
  return (value, key, checker) => {
    const parsed = typeof value === "string" ? parse(value) : undefined;
    if (parsed === undefined) checker.reject(value, key, accepts);
    return parsed;
  };
}

/** Makes a reader of a file path, relative to `folder`. */
export function filePath(folder: string): ValueReader<string | undefined> {
  return scalar("a path", (text) => text === "" ? undefined : isAbsolute(text) ? text : join(folder, text));
}

/** Makes a reader of an integer between `min` and `max`, inclusive. */
export function integer(min: number, max: number): ValueReader<number | undefined> {
  return scalar(`an integer from ${min} to ${max}`, (text) => parseInteger(text, min, max));
}

/** Reports whether a value is a mapping. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quoted(value: unknown): string {
  if (value === null) return "nothing";
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "a mapping";
  const text = JSON.stringify(value);
  return text.length > QUOTE_LIMIT_CHARACTERS ? `${text.slice(0, QUOTE_LIMIT_CHARACTERS)}…` : text;
}
