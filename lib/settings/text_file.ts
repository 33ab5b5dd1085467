/**
 * Bounded reading of the text files that settings name.
 *
 * @module
 */

import { fileErrorOf, UserError } from "../errors.ts";

/** Maximum size of a file, in bytes; bundles of all public CA certificates are below it. */
export const FILE_LIMIT_BYTES = 1_048_576;

/**
 * Reads a text file.
 *
 * @throws {Deno.errors.NotFound} If it does not exist.
 * @throws {Error} If it cannot be read, is not a regular file, exceeds {@linkcode FILE_LIMIT_BYTES} or is not UTF-8.
 */
export async function readText(path: string): Promise<string> {
  const { isFile, isDirectory, size } = await Deno.stat(path);
  if (isDirectory) throw new Error("Is a directory");
  // A pipe can be read only once, a device forever.
  if (!isFile) throw new Error("Not a regular file");
  if (size > FILE_LIMIT_BYTES) throw new Error(`File too large: ${size} bytes, maximum ${FILE_LIMIT_BYTES}`);
  const bytes = await Deno.readFile(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("Not valid UTF-8");
  }
}

/**
 * Reads a text file as {@linkcode readText} does.
 *
 * @throws {UserError} With the path, if it cannot be read.
 */
export async function readNamedText(path: string): Promise<string> {
  try {
    return await readText(path);
  } catch (error) {
    throw new UserError(`${path}: ${fileErrorOf(error)}`);
  }
}
