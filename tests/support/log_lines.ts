/** Log lines: captured, parsed, and values that could break them. */

import { assert } from "@std/assert";
import { createLog, type Log } from "../../lib/log/log.ts";
import type { LogFormat, LogLevel } from "../../lib/settings/settings.ts";

/** Lines that `write` logs. */
export function linesOf(write: (log: Log) => void, format: LogFormat = "text", level: LogLevel = "DEBUG"): string[] {
  const lines: string[] = [];
  write(createLog({ level, format, write: (line) => lines.push(line) }));
  return lines;
}

/** Parses a logfmt line independently of the implementation. */
export function parseLogfmt(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  let rest = line;
  while (rest !== "") {
    const [whole, name, quoted, bare] = /^([a-z_]+)=(?:("(?:[^"\\]|\\.)*")|([^\s"=]*))(?: |$)/.exec(rest) ?? [];
    assert(whole !== undefined && name !== undefined, `not logfmt: ${JSON.stringify(rest)}`);
    fields[name] = quoted === undefined ? bare ?? "" : JSON.parse(quoted);
    rest = rest.slice(whole.length);
  }
  return fields;
}

/** Values that could break a line, a field or a terminal. */
export const LOG_VALUES = [
  "",
  " ",
  "plain",
  "two words",
  "line\nfeed",
  "\r\n",
  "tab\tand\0nul",
  "\x1b[31mred\x1b[0m",
  "\x7f\x80\x85\x9f",
  "\u2028 and \u2029",
  'quote" and \\ backslash',
  '" level=ERROR msg="forged',
  "a=b",
  "{}",
  "é日本🦙",
  "\ud800",
  "%s %d",
  "http://127.0.0.1:11434/a?b#c",
  "[::1]:8000",
  "undefined",
];
