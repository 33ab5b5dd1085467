import { assertEquals } from "@std/assert";
import { parseFlags, quoted } from "../../../lib/settings/flags.ts";

const KNOWN = new Map([["level", false], ["quiet", true]]);

/** Command lines with their flags and problems. */
const CASES: [args: string[], flags: Record<string, string>, problems: string[]][] = [
  [[], {}, []],
  [["--level=a=b", "-quiet=false"], { level: "a=b", quiet: "false" }, []],
  [["--level", "--quiet"], { level: "--quiet" }, []],
  [["--quiet", "--level", "x"], { quiet: "true", level: "x" }, []],
  [["--quiet", "false"], { quiet: "false" }, []],
  [["--quiet", "true", "--level="], { quiet: "true", level: "" }, []],
  [["--quiet"], { quiet: "true" }, []],
  [["--quiet", "no"], { quiet: "true" }, ['Unknown argument "no": see --help']],
  [["--level"], {}, ["--level: missing value"]],
  [["--level=a", "--level=b"], { level: "a" }, ["--level: given more than once"]],
  [["--host=me:secret@gpu-1"], {}, ['Unknown argument "--host=***@gpu-1": see --help']],
];

Deno.test("parseFlags() returns the texts of flags, and adds a problem for each invalid argument", () => {
  for (const [args, flags, expected] of CASES) {
    const problems: string[] = [];
    assertEquals(Object.fromEntries(parseFlags(args, KNOWN, problems)), flags, args.join(" "));
    assertEquals(problems, expected);
  }
});

Deno.test("quoted() escapes control characters and masks credentials", () => {
  assertEquals(quoted("a\nb"), '"a\\nb"');
  assertEquals(quoted("http://me:secret@gpu-1/"), '"http://***@gpu-1/"');
});
