/**
 * The file of CA certificates that sign the certificate of an https upstream.
 *
 * @module
 */

import { UserError } from "../errors.ts";
import { readNamedText } from "../settings/text_file.ts";

/**
 * Reads a CA file: certificates in PEM, with any text around them.
 *
 * @returns The text, for `Deno.createHttpClient`, which adds its certificates to the built-in ones.
 * @throws {UserError} If the file cannot be read, or has no certificate, or one that is invalid.
 */
export async function loadCaFile(path: string): Promise<string> {
  const pem = await readNamedText(path);
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new UserError(`${path}: No PEM certificate found`);
  try {
    // The client parses the certificates when it is created. A text without any is not an error there.
    Deno.createHttpClient({ caCerts: [pem] }).close();
  } catch {
    throw new UserError(`${path}: Invalid PEM certificate`);
  }
  return pem;
}
