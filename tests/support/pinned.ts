/**
 * Defines tests that need programs of tools/programs.ts.
 *
 * @module
 */

import { messageOf } from "../../lib/errors.ts";
import { program } from "../../tools/programs.ts";
import { testOrSkip } from "./deployment.ts";

/**
 * Defines a test that needs a program of tools/programs.ts, which is installed first. Where it cannot be, the test is
 * skipped, with the reason in its name; in CI it fails.
 */
export async function testWithPinned(
  name: string,
  title: string,
  test: (path: string) => Promise<void>,
): Promise<void> {
  const found = await program(name).then((path) => ({ path }), (error) => ({ reason: messageOf(error) }));
  const reason = "path" in found ? undefined : found.reason.split("\n", 1)[0];
  testOrSkip(reason, title, () => test("path" in found ? found.path : ""));
}
