/**
 * Prints the flags of the task `start`, its permissions and V8 options, which the tasks `dev` and `compile` share.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };

/** The flags that `deno task start` runs the program with. */
export const START_FLAGS: readonly string[] = denoJson.tasks.start.command.split(" ")
  .filter((argument) => argument.startsWith("--"));

// deno-lint-ignore no-console -- a task reads them from standard output
if (import.meta.main) console.log(START_FLAGS.join(" "));
