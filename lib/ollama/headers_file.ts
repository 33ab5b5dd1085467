/**
 * The file of headers for the exporter's own status requests, such as the token of a proxy in front of Ollama.
 *
 * @module
 */

import { contentLines, ReloadedFile, type ReloadedFileOptions } from "../settings/reloaded_file.ts";
import { readNamedText } from "../settings/text_file.ts";

/** Headers of one connection (RFC 9110, 7.6.1), and those that `fetch` or the probes set. */
const RESERVED = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["accept-encoding", "content-length", "expect", "host"],
]);

/** The file. It is read again when headers are asked for. */
export class HeadersFile extends ReloadedFile<Headers> {
  /**
   * Reads the file.
   *
   * @throws {UserError} If it cannot be read or is invalid, with a line for each problem. The file is never quoted.
   */
  static async open(options: ReloadedFileOptions): Promise<HeadersFile> {
    return new HeadersFile(options, await readNamedText(options.path), parseHeaders);
  }

  /** Returns the headers of a request. Never rejects: after an error they are the previous ones. */
  async headers(): Promise<Headers> {
    await this.refresh();
    return new Headers(this.value.parsed);
  }
}

function parseHeaders(text: string, problems: string[]): Headers {
  const headers = new Headers();
  for (const [number, line] of contentLines(text)) {
    const [, name, value = ""] = /^([\w!#$%&'*+.^`|~-]+):[ \t]*([!-~](?:[\t -~]*[!-~])?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined) problems.push(`Line ${number}: expected \`Name: value\` in ASCII`);
    else if (RESERVED.has(name.toLowerCase())) problems.push(`Line ${number}: the header ${name} cannot be set`);
    else headers.append(name, value);
  }
  if (problems.length === 0 && [...headers].length === 0) problems.push("No headers found");
  return headers;
}
