/**
 * Text files that settings name and that are read again while the program runs.
 *
 * @module
 */

import { UserError } from "../errors.ts";
import { Reloaded } from "./reloaded.ts";
import { readNamedText } from "./text_file.ts";

/** Options of a {@linkcode ReloadedFile} that its users give. */
export interface ReloadedFileOptions {
  readonly path: string;
  /**
   * Called when the file was read again: with the error if there is another one than the last time, and with
   * `undefined` if its text has changed or is valid again; after {@linkcode ReloadedFile.reload} always.
   */
  readonly onReload: (error: string | undefined) => void;
}

/** Returns the value of a text. Adds a line to `problems` for each mistake; the value is not used then. */
type Parse<T> = (text: string, problems: string[]) => T;

/** A text and its value. */
interface Parsed<T> {
  readonly text: string;
  readonly parsed: T;
}

/** A file. */
export abstract class ReloadedFile<T> extends Reloaded<Parsed<T>> {
  readonly #options: ReloadedFileOptions;
  readonly #parse: Parse<T>;

  /**
   * @param text The file's text.
   * @throws {UserError} If it is invalid, with a line for each problem.
   */
  protected constructor(options: ReloadedFileOptions, text: string, parse: Parse<T>) {
    super(parsed(options.path, text, parse));
    this.#options = options;
    this.#parse = parse;
  }

  protected override async load(previous: Parsed<T>): Promise<Parsed<T>> {
    const { path } = this.#options;
    const text = await readNamedText(path);
    return text === previous.text ? previous : parsed(path, text, this.#parse);
  }

  protected override reloaded(error: string | undefined): void {
    this.#options.onReload(error);
  }
}

/** @throws {UserError} With the path and a line for each problem. */
function parsed<T>(path: string, text: string, parse: Parse<T>): Parsed<T> {
  const problems: string[] = [];
  const value = parse(text, problems);
  if (problems.length === 0) return { text, parsed: value };
  throw new UserError(problems.map((problem) => `${path}: ${problem}`).join("\n"));
}

/** The lines of a text with their numbers, without blank ones and comments, which begin with `#`. */
export function contentLines(text: string): [number: number, line: string][] {
  return text.split(/\r?\n/)
    .map((line, index): [number, string] => [index + 1, line])
    .filter(([, line]) => !/^\s*(#|$)/.test(line));
}
