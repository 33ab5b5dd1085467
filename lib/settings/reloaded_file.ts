/**
 * Files that settings name and that are read again while the program runs.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import { readNamedText } from "./text_file.ts";

/** Minimum time between two reads of a file, in milliseconds. */
const READ_INTERVAL_MS = 1000;

const MILLISECONDS_PER_SECOND = 1000;

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

/**
 * A file. It is read again on demand, at most once a second, which needs neither timers nor file watchers. While it is
 * invalid, the previous value stays in use.
 */
export abstract class ReloadedFile<T> {
  readonly #options: ReloadedFileOptions;
  readonly #parse: Parse<T>;
  #text: string;
  #value: T;
  /** Time of the next read, by `performance.now()`. */
  #nextReadAt = performance.now() + READ_INTERVAL_MS;
  /** Read in progress. */
  #reading: Promise<void> | undefined;
  /** Error of the last read; `undefined` if it succeeded. */
  #error: string | undefined;
  #loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;

  /**
   * @param text The file's text.
   * @throws {UserError} If it is invalid, with a line for each problem.
   */
  protected constructor(options: ReloadedFileOptions, text: string, parse: Parse<T>) {
    this.#options = options;
    this.#parse = parse;
    this.#text = text;
    this.#value = this.#valueOf(text);
  }

  /** Value of the last valid text. */
  protected get value(): T {
    return this.#value;
  }

  /** Whether the last read succeeded; otherwise the previous value is in use. */
  get isCurrent(): boolean {
    return this.#error === undefined;
  }

  /** Time of the last successful read that was the first one, found a change or was requested; Unix, in seconds. */
  get loadedAtSeconds(): number {
    return this.#loadedAtSeconds;
  }

  /** Reads the file if the last read is a second ago. Never rejects. */
  protected async refresh(): Promise<void> {
    if (performance.now() >= this.#nextReadAt) await this.#refresh(false);
  }

  /** Reads the file now, and reports the result also if nothing has changed. Never rejects. */
  async reload(): Promise<void> {
    // A read in progress may have read the file before the change for which another one is requested.
    await this.#reading;
    await this.#refresh(true);
  }

  #refresh(isRequested: boolean): Promise<void> {
    return this.#reading ??= this.#read(isRequested).finally(() => {
      this.#reading = undefined;
      this.#nextReadAt = performance.now() + READ_INTERVAL_MS;
    });
  }

  async #read(isRequested: boolean): Promise<void> {
    const { path, onReload } = this.#options;
    const lastError = this.#error;
    try {
      const text = await readNamedText(path);
      const isChanged = text !== this.#text;
      if (isChanged) this.#value = this.#valueOf(text);
      this.#text = text;
      this.#error = undefined;
      if (!isChanged && !isRequested && lastError === undefined) return;
      this.#loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;
      onReload(undefined);
    } catch (error) {
      this.#error = messageOf(error);
      if (isRequested || this.#error !== lastError) onReload(this.#error);
    }
  }

  /** @throws {UserError} With the path and a line for each problem. */
  #valueOf(text: string): T {
    const problems: string[] = [];
    const value = this.#parse(text, problems);
    if (problems.length === 0) return value;
    throw new UserError(problems.map((problem) => `${this.#options.path}: ${problem}`).join("\n"));
  }
}

/** The lines of a text with their numbers, without blank ones and comments, which begin with `#`. */
export function contentLines(text: string): [number: number, line: string][] {
  return text.split(/\r?\n/)
    .map((line, index): [number, string] => [index + 1, line])
    .filter(([, line]) => !/^\s*(#|$)/.test(line));
}
