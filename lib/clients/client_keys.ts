/**
 * The file of clients' API keys. It has hashes of the keys only, so that whoever reads it cannot use them.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { OTHER_CLIENT, UNKNOWN_CLIENT } from "../observation.ts";
import { contentLines, ReloadedFile, type ReloadedFileOptions } from "../settings/reloaded_file.ts";
import { readNamedText } from "../settings/text_file.ts";
import { CLIENT_LIMIT_CHARACTERS, isClientName } from "./client_name.ts";

/** Names of clients by the SHA-256 of their keys, in lowercase hexadecimal digits. */
type Names = ReadonlyMap<string, string>;

/** Form of a line, for error messages. */
const EXPECTED =
  `\`SHA-256 name\`: 64 hexadecimal digits, a space and a name of up to ${CLIENT_LIMIT_CHARACTERS} printable characters`;

/** The file. It is read again when a name is asked for, in the background. */
export class ClientKeys extends ReloadedFile<Names> {
  /**
   * Reads the file.
   *
   * @throws {UserError} If it cannot be read or is invalid, with a line for each problem. The file is never quoted.
   */
  static async open(options: ReloadedFileOptions): Promise<ClientKeys> {
    return new ClientKeys(options, await readNamedText(options.path), parseKeys);
  }

  /**
   * Returns the name of the client whose key these headers have: `Authorization: Bearer`, as sent by OpenAI's clients
   * and Ollama's, or else `x-api-key`, as sent by Anthropic's.
   *
   * @returns `undefined` if there is no key or the file does not have it.
   */
  nameOf(headers: Pick<Headers, "get">): string | undefined {
    // Not awaited: no request waits for a file. Those that arrive meanwhile get the previous names.
    this.refresh();
    const bearer = /^bearer +(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    return this.#nameOf(bearer) ?? this.#nameOf(headers.get("x-api-key"));
  }

  /** The time of the lookup tells a client nothing of other keys: it depends on the hash, which nobody can choose. */
  #nameOf(key: string | null | undefined): string | undefined {
    if (key === null || key === undefined) return undefined;
    // A header has one character per byte.
    return this.value.parsed.get(createHash("sha256").update(key, "latin1").digest("hex"));
  }
}

function parseKeys(text: string, problems: string[]): Names {
  const names = new Map<string, string>();
  const numbers = new Map<string, number>();
  for (const [number, line] of contentLines(text)) {
    const [, hash = "", name = ""] = /^([\da-f]{64})[ \t]+(.*?)[ \t]*$/i.exec(line) ?? [];
    const key = hash.toLowerCase();
    const earlier = numbers.get(key);
    if (!isClientName(name)) problems.push(`Line ${number}: expected ${EXPECTED}`);
    else if (name === OTHER_CLIENT || name === UNKNOWN_CLIENT) {
      problems.push(`Line ${number}: a client cannot be named \`${name}\``);
    } else if (earlier !== undefined) problems.push(`Line ${number}: the same key as in line ${earlier}`);
    names.set(key, name);
    numbers.set(key, number);
  }
  if (names.size === 0) problems.push("No keys found");
  return names;
}
