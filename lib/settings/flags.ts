/**
 * Flags of the command line, in Go's syntax.
 *
 * @module
 */

import { maskCredentials } from "./ollama_host.ts";
import { parseBoolean } from "./parse.ts";

/**
 * Parses `--flag=value` and `--flag value`, and `--flag` alone for a boolean that is `true`.
 *
 * @param known The flags without their dashes, and whether each is a boolean.
 * @param problems Gets a line for each argument that is unknown, lacks a value or is given more than once.
 * @returns Texts by flag.
 */
export function parseFlags(
  args: readonly string[],
  known: ReadonlyMap<string, boolean>,
  problems: string[],
): Map<string, string> {
  const flags = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const [, flag = "", inline] = /^--?([^=]+)(?:=(.*))?$/s.exec(args[index] ?? "") ?? [];
    const isBoolean = known.get(flag);
    if (isBoolean === undefined) {
      problems.push(`Unknown argument ${quoted(args[index] ?? "")}: see --help`);
      continue;
    }
    const isAlone = isBoolean && parseBoolean(args[index + 1] ?? "") === undefined;
    const value = inline ?? (isAlone ? "true" : args[++index]);
    if (value === undefined) problems.push(`--${flag}: missing value`);
    else if (flags.has(flag)) problems.push(`--${flag}: given more than once`);
    else flags.set(flag, value);
  }
  return flags;
}

/** Quotes a text of the user for a message, without its credentials. */
export function quoted(text: string): string {
  return JSON.stringify(maskCredentials(text));
}
