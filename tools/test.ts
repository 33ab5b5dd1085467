/**
 * `deno task test`: runs `deno test` and prints failed tests, skipped tests and the summary. On a terminal it prints a
 * dot for every test as well; elsewhere Deno would give each dot a line of its own.
 *
 * Arguments are those of `deno test`.
 *
 * @module
 */

import { TextLineStream } from "@std/streams/text-line-stream";

/** Lines of files, of tests that have passed, `parse() reads a number ... ok (3ms)`, and of tests with steps. */
const QUIET = /^running \d+ tests? from | \.\.\.$| \.\.\. ok \(\S+\)$/;

const isTerminal = Deno.stdout.isTerminal();
const child = new Deno.Command(Deno.execPath(), {
  args: ["test", "--quiet", ...isTerminal ? ["--reporter=dot"] : [], ...Deno.args],
  env: isTerminal ? {} : { NO_COLOR: "1" },
  stdout: isTerminal ? "inherit" : "piped",
}).spawn();
if (!isTerminal) {
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  // deno-lint-ignore no-console -- a tool's output
  for await (const line of lines) if (!QUIET.test(line)) console.log(line);
}
Deno.exitCode = (await child.status).code;
