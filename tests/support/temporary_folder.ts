/**
 * Files for tests of code that reads files.
 *
 * @module
 */

import { assertRejects } from "@std/assert";
import { UserError } from "../../lib/errors.ts";

/** A folder that is removed at the end of its block. */
export class TemporaryFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync();

  /** Writes a file, and returns its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = `${this.path}/${name}`;
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Returns the problems that `load` reports for a file, one per line, without its path. */
export async function problemsOf(path: string, load: (path: string) => Promise<unknown>): Promise<string[]> {
  const { message } = await assertRejects(() => load(path), UserError);
  return message.split("\n").map((line) => line.replace(`${path}: `, ""));
}
