/**
 * Names of clients: what may be a value of the label `client`.
 *
 * @module
 */

/** Maximum length of a client's name, in UTF-16 code units. Shortened it could be the name of another client. */
export const CLIENT_LIMIT_CHARACTERS = 64;

/** Control and format characters, line and paragraph separators, and what is no character. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

/** Whether a text can be the name of a client: printable, not blank, and within the limit. */
export function isClientName(text: string): boolean {
  return text.length <= CLIENT_LIMIT_CHARACTERS && text.trim() !== "" && !UNPRINTABLE.test(text);
}
