/**
 * Errors that the user can fix, and errors in words.
 *
 * @module
 */

/** A mistake in settings, files or arguments. The message has one line per mistake and is shown without a stack. */
export class UserError extends Error {
  override readonly name = "UserError";
}

/** Causes of an error that {@linkcode describe} follows, itself included. */
const MAX_CAUSES = 4;

/** Message of a thrown value, without its causes. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Messages of an error and its causes, outermost first, on one line. */
export function describe(error: unknown): string {
  const parts: string[] = [];
  for (let cause = error; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined) {
    parts.push(messageOf(cause));
    if (parts.length === MAX_CAUSES) break;
  }
  return parts.join(": ");
}
