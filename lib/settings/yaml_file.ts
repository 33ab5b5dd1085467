/**
 * Settings in YAML files: reads them within bounds, and checks them key by key.
 *
 * Every scalar stays the text that the file has (YAML's failsafe schema): a user may be called `null` or `0x10`.
 *
 * @module
 */

import { isAbsolute, join } from "node:path";
import { parse } from "@std/yaml/parse";
import { messageOf, UserError } from "../errors.ts";

/** Largest file that is read, in bytes: certificates with long chains stay far below. */
export const FILE_LIMIT_BYTES = 1_048_576;

/** Longest value that an error message quotes, in characters. */
export const QUOTE_LIMIT_CHARACTERS = 80;

/**
 * Reads a text file.
 *
 * @throws {Deno.errors.NotFound} Where there is none.
 * @throws {Error} Where it cannot be read, is no file, is too large or not UTF-8.
 */
export async function readText(path: string): Promise<string> {
  const { isFile, size } = await Deno.stat(path);
  // A pipe could be read once only, and a device for ever.
  if (!isFile) throw new Error("It is not a file");
  if (size > FILE_LIMIT_BYTES) throw new Error(`It has ${size} bytes; accepted: up to ${FILE_LIMIT_BYTES}`);
  const bytes = await Deno.readFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("It is not UTF-8");
  }
}

/**
 * Reads a YAML file: texts, lists and mappings; `null` where it has nothing.
 *
 * @throws {UserError} Where it cannot be read, or is not YAML: with line and column, and without quoting anything,
 * since it may be a password. The cause is {@linkcode Deno.errors.NotFound} where there is no such file.
 */
export async function readYaml(path: string): Promise<unknown> {
  try {
    return parseYaml(await readText(path));
  } catch (error) {
    throw new UserError(`${path}: ${messageOf(error)}`, { cause: error });
  }
}

function parseYaml(text: string): unknown {
  try {
    return parse(text, { schema: "failsafe" });
  } catch (error) {
    // After the position comes the line itself.
    const [, reason, line, column] = /^(.*?) at line (\d+), column (\d+)/s.exec(messageOf(error)) ?? [];
    if (reason === undefined) throw new Error(`It is not YAML: ${messageOf(error)}`);
    throw new Error(`Line ${line}, column ${column}: ${reason.replace(/"[^"]*"|!<[^>]*>/g, "…")}`);
  }
}

/** Reads the value of a key, which is given by its path (`rate_limit.burst`), and notes what is wrong with it. */
export type Reader<T> = (value: unknown, key: string, checker: Checker) => T;

/** What readers have read, by the key. */
export type Read<Readers> = { [Name in keyof Readers]?: Readers[Name] extends Reader<infer T> ? T : never };

/** Checks a file's values and gathers what is wrong with them, so that all of it can be told at once. */
export class Checker {
  readonly #path: string;
  readonly #problems: string[] = [];

  /**
   * Begins a check.
   *
   * @param path The file, which each problem names.
   */
  constructor(path: string) {
    this.#path = path;
  }

  /** Notes a problem: a sentence that begins with the path of the key. */
  add(problem: string): void {
    this.#problems.push(`${this.#path}: ${problem}`);
  }

  /** Notes that a value is not accepted, and quotes it. */
  refuse(value: unknown, key: string, accepts: string): void {
    this.add(`${key || "The file"} is ${quoted(value)}; accepted: ${accepts}`);
  }

  /** The entries of a mapping; none where it is empty, or something else, which is a problem. */
  entries(value: unknown, key: string): [string, unknown][] {
    if (isMapping(value)) return Object.entries(value);
    if (value !== null) this.refuse(value, key, "a mapping");
    return [];
  }

  /** Reads a mapping in which each key has its reader. Any other key is a problem. */
  mapping<Readers extends Record<string, Reader<unknown>>>(
    value: unknown,
    key: string,
    readers: Readers,
  ): Read<Readers> {
    const read: Record<string, unknown> = {};
    for (const [name, inner] of this.entries(value, key)) {
      const path = key === "" ? name : `${key}.${name}`;
      const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
      if (reader !== undefined) read[name] = reader(inner, path, this);
      else this.add(`${path} is not supported; supported: ${Object.keys(readers).join(", ")}`);
    }
    return read as Read<Readers>;
  }

  /**
   * Ends the check.
   *
   * @throws {UserError} Where anything was wrong, with a line for each problem.
   */
  end(): void {
    if (this.#problems.length > 0) throw new UserError(this.#problems.join("\n"));
  }
}

/**
 * A reader of a scalar.
 *
 * @param accepts What is accepted, for the problem.
 * @param parse Returns `undefined` for what is not accepted.
 */
export function scalar<T>(accepts: string, parse: (text: string) => T | undefined): Reader<T | undefined> {
  return (value, key, checker) => {
    const parsed = typeof value === "string" ? parse(value) : undefined;
    if (parsed === undefined) checker.refuse(value, key, accepts);
    return parsed;
  };
}

/** A reader of the path of a file, from the folder of the file that names it. */
export function filePath(folder: string): Reader<string | undefined> {
  return scalar("a path", (text) => text === "" ? undefined : isAbsolute(text) ? text : join(folder, text));
}

/** A reader of a whole number. */
export function wholeNumber(least: number, most: number): Reader<number | undefined> {
  return scalar(`a whole number from ${least} to ${most}`, (text) => {
    const value = Number(text);
    return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined;
  });
}

/** Whether a value is a mapping. */
export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function quoted(value: unknown): string {
  if (value === null) return "empty";
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "a mapping";
  const text = JSON.stringify(value);
  return text.length > QUOTE_LIMIT_CHARACTERS ? `${text.slice(0, QUOTE_LIMIT_CHARACTERS)}…` : text;
}
