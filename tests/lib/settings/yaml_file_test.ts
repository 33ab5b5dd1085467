import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import {
  Checker,
  FILE_LIMIT_BYTES,
  filePath,
  readText,
  readYaml,
  scalar,
  wholeNumber,
} from "../../../lib/settings/yaml_file.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

Deno.test("readYaml() leaves scalars as the file has them", async () => {
  using folder = new TemporaryFolder();
  const text = "null: 1\n0x10: true\nyes: 2024-01-01\na:\nb: ~\nc: ''\nd: [x, 2]\n<<: {e: f}\n__proto__: g\n";
  assertEquals(
    JSON.stringify(await readYaml(folder.write("a.yml", `\ufeff${text}`))),
    '{"null":"1","0x10":"true","yes":"2024-01-01","a":null,"b":"~","c":"","d":["x","2"],"<<":{"e":"f"},"__proto__":"g"}',
  );
  assertEquals(await readYaml(folder.write("b.yml", "# Nothing yet\n")), null);
});

Deno.test("readYaml() says where a file is no YAML, and quotes nothing of it", async () => {
  using folder = new TemporaryFolder();
  const table: Record<string, string> = {
    "a: 1\nb: c: secret\n":
      "Line 2, column 5: Cannot read block as explicit mapping pair is incomplete: a key node is " +
      "missed or followed by a non-tabulated empty line",
    "a: 1\na: secret\n": "Line 2, column 1: Cannot store mapping pair: duplicated key",
    "a: *secret": "Line 1, column 11: Cannot read alias: unidentified alias …",
    "a: !secret x": "Line 1, column 13: Cannot resolve unknown tag …",
    "a: [secret":
      "Line 2, column 1: Cannot read flow collection: unexpected end of the stream within a flow collection",
    "a: 1\n---\nb: 2\n": "Line 2, column 1: Found more than 1 document in the stream: expected a single document",
    ["[".repeat(100_000)]: "It is not YAML: Maximum call stack size exceeded",
  };
  for (const [text, problem] of Object.entries(table)) {
    assertEquals(await problemsOf(folder.write("a.yml", text), readYaml), [problem]);
  }
});

Deno.test("readText() reads UTF-8 files of a bounded size only", async () => {
  using folder = new TemporaryFolder();
  const full = folder.write("full", "ä".repeat(FILE_LIMIT_BYTES / 2));
  assertEquals((await readText(full)).length, FILE_LIMIT_BYTES / 2);
  const tooLarge = folder.write("large", "x".repeat(FILE_LIMIT_BYTES + 1));
  await assertRejects(() => readText(tooLarge), Error, "It has 1048577 bytes; accepted: up to 1048576");
  await assertRejects(() => readText(folder.write("latin1", Uint8Array.of(0xe4))), Error, "It is not UTF-8");
  await assertRejects(() => readText(folder.path), Error, "It is not a file");
  await assertRejects(() => readText("/dev/zero"), Error, "It is not a file");
  await assertRejects(() => readText(`${folder.path}/none`), Deno.errors.NotFound);
});

Deno.test("readYaml() tells a missing file from others by its cause", async () => {
  using folder = new TemporaryFolder();
  const missing = await assertRejects(() => readYaml(`${folder.path}/none`), UserError, "none: No such file");
  assertInstanceOf(missing.cause, Deno.errors.NotFound);
  const other = await assertRejects(() => readYaml(folder.path), UserError, `${folder.path}: It is not a file`);
  assertEquals(other.cause instanceof Deno.errors.NotFound, false);
});

/** What a check of a value notes. */
function problems(check: (checker: Checker) => void): string[] {
  const checker = new Checker("a.yml");
  check(checker);
  const { message } = assertThrows(() => checker.end(), UserError);
  return message.split("\n");
}

Deno.test("Checker gathers all that is wrong, by the path of the key", () => {
  const value = {
    level: "loud",
    file: { path: "", size: "x", "constructor": "y" },
    list: ["z"],
    none: null,
    toString: "",
  };
  const readers = {
    level: scalar("`A`, `B`", (text) => text === "A" || text === "B" ? text : undefined),
    file: (value: unknown, key: string, checker: Checker) =>
      checker.mapping(value, key, { path: filePath("/etc"), size: wholeNumber(1, 9) }),
    list: (value: unknown, key: string, checker: Checker) => checker.mapping(value, key, {}),
    none: wholeNumber(1, 9),
  };
  assertEquals(problems((checker) => checker.mapping(value, "", readers)), [
    'a.yml: level is "loud"; accepted: `A`, `B`',
    'a.yml: file.path is ""; accepted: a path',
    'a.yml: file.size is "x"; accepted: a whole number from 1 to 9',
    "a.yml: file.constructor is not supported; supported: path, size",
    "a.yml: list is a list; accepted: a mapping",
    "a.yml: none is empty; accepted: a whole number from 1 to 9",
    "a.yml: toString is not supported; supported: level, file, list, none",
  ]);
  assertEquals(problems((checker) => checker.mapping("x".repeat(100), "", {})), [
    `a.yml: The file is "${"x".repeat(79)}…; accepted: a mapping`,
  ]);
});

Deno.test("Checker gives what was read, and no key that was not there", () => {
  const checker = new Checker("a.yml");
  const readers = { path: filePath("/etc"), size: wholeNumber(0, 9), other: wholeNumber(0, 9) };
  assertEquals(checker.mapping({ path: "a/b", size: "9" }, "", readers), { path: "/etc/a/b", size: 9 });
  assertEquals(checker.mapping(null, "", readers), {});
  checker.end();
});

Deno.test("filePath() is relative to a folder", () => {
  const checker = new Checker("a.yml");
  const table: Record<string, string> = { "a": "/etc/x/a", "../a": "/etc/a", "./a": "/etc/x/a", "/a": "/a" };
  for (const [text, path] of Object.entries(table)) assertEquals(filePath("/etc/x")(text, "key", checker), path);
  assertEquals(filePath(".")("a", "key", checker), "a");
});

Deno.test("wholeNumber() takes digits only, and the bounds themselves", () => {
  const read = (text: string): number | undefined => wholeNumber(1, 10)(text, "key", new Checker("a.yml"));
  assertEquals(["1", "10", "007"].map(read), [1, 10, 7]);
  for (const text of ["0", "11", "-1", "1.5", "1e1", "0x5", "", " 1", "five"]) {
    assertEquals(read(text), undefined, text);
  }
});
