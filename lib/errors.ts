/**
 * Errors that the user can fix, and errors in words.
 *
 * @module
 */

/** A mistake in settings, files or arguments. The message has one line per mistake and is shown without a stack. */
export class UserError extends Error {
  override readonly name = "UserError";
}

/** Collects problems of several steps, so that they are reported together. */
export class Problems {
  readonly #lines: string[];

  /** @param lines Problems found before. */
  constructor(lines: readonly string[]) {
    this.#lines = [...lines];
  }

  /** Adds a problem. */
  add(line: string): void {
    this.#lines.push(line);
  }

  /**
   * Waits for the result of a step.
   *
   * @param name What the user has to change, as a prefix of each problem.
   * @returns `undefined` if the step has rejected with a {@linkcode UserError}, whose lines are added.
   * @throws {Error} Any other error of the step.
   */
  async collect<T>(name: string, step: Promise<T>): Promise<T | undefined> {
    try {
      return await step;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      this.#lines.push(...error.message.split("\n").map((line) => `${name}: ${line}`));
      return undefined;
    }
  }

  /** @throws {UserError} If there are problems, with a line for each. */
  end(): void {
    if (this.#lines.length > 0) throw new UserError(this.#lines.join("\n"));
  }
}

/** Causes of an error that {@linkcode describe} follows, itself included. */
const MAX_CAUSES = 4;

/** Message of a thrown value, without its causes. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a file could not be opened. Deno's messages repeat its path, and name flags that an executable does not have. */
export function fileErrorOf(error: unknown): string {
  if (error instanceof Deno.errors.NotCapable) return "Outside the permissions of the exporter";
  return messageOf(error).replace(/ \(os error \d+\)(?:: .*)?$/s, "");
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
