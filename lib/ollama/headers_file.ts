/**
 * The file of headers for the exporter's own status requests, such as the token of a proxy in front of Ollama.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import { readNamedText } from "../settings/text_file.ts";

/** Minimum time between two reads of the file, in milliseconds. */
const READ_INTERVAL_MS = 1000;

const MILLISECONDS_PER_SECOND = 1000;

/** Headers of one connection (RFC 9110, 7.6.1), and those that `fetch` or the probes set. */
const RESERVED = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["accept-encoding", "content-length", "expect", "host"],
]);

/** Options of {@linkcode HeadersFile.open}. */
interface HeadersFileOptions {
  readonly path: string;
  /**
   * Called when the file was read again: with the error if there is another one than the last time, and with
   * `undefined` if the headers have changed or the file is valid again; after {@linkcode HeadersFile.reload} always.
   */
  readonly onReload: (error: string | undefined) => void;
}

/**
 * The file. When headers are asked for, it is read again, at most once a second. While it is invalid, the previous
 * headers stay in use.
 */
export class HeadersFile {
  readonly #options: HeadersFileOptions;
  #text: string;
  #headers: Headers;
  /** Time of the next read, by `performance.now()`. */
  #nextReadAt = performance.now() + READ_INTERVAL_MS;
  /** Read in progress. */
  #reading: Promise<void> | undefined;
  /** Error of the last read; `undefined` if it succeeded. */
  #error: string | undefined;
  #loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;

  private constructor(options: HeadersFileOptions, text: string) {
    this.#options = options;
    this.#text = text;
    this.#headers = parseHeaders(text, options.path);
  }

  /**
   * Reads the file.
   *
   * @throws {UserError} If it cannot be read or is invalid, with a line for each problem. The file is never quoted.
   */
  static async open(options: HeadersFileOptions): Promise<HeadersFile> {
    return new HeadersFile(options, await readNamedText(options.path));
  }

  /** Returns the headers of a request. Never rejects: after an error they are the previous ones. */
  async headers(): Promise<Headers> {
    if (performance.now() >= this.#nextReadAt) await this.#refresh(false);
    return new Headers(this.#headers);
  }

  /** Whether the last read succeeded; otherwise the previous headers are in use. */
  get isCurrent(): boolean {
    return this.#error === undefined;
  }

  /** Time of the last successful read that was the first one, found a change or was requested; Unix, in seconds. */
  get loadedAtSeconds(): number {
    return this.#loadedAtSeconds;
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
      if (isChanged) this.#headers = parseHeaders(text, path);
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
}

/** @throws {UserError} With a line for each problem. */
function parseHeaders(text: string, path: string): Headers {
  const headers = new Headers();
  const problems: string[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [, name, value = ""] = /^([\w!#$%&'*+.^`|~-]+):[ \t]*([!-~](?:[\t -~]*[!-~])?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) problems.push(`Line ${index + 1}: expected \`Name: value\` in ASCII`);
    else if (RESERVED.has(name.toLowerCase())) problems.push(`Line ${index + 1}: the header ${name} cannot be set`);
    else headers.append(name, value);
  }
  if (problems.length === 0 && [...headers].length === 0) problems.push("No headers found");
  if (problems.length > 0) throw new UserError(problems.map((problem) => `${path}: ${problem}`).join("\n"));
  return headers;
}
