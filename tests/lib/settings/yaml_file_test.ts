import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { Checker, filePath, integer, readYaml, scalar } from "../../../lib/settings/yaml_file.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

Deno.test("readYaml() keeps scalars as text", async () => {
  using folder = new TemporaryFolder();
  const text = "null: 1\n0x10: true\nyes: 2024-01-01\na:\nb: ~\nc: ''\nd: [x, 2]\n<<: {e: f}\n__proto__: g\n";
  assertEquals(
    JSON.stringify(await readYaml(folder.write("a.yml", `\ufeff${text}`))),
    '{"null":"1","0x10":"true","yes":"2024-01-01","a":null,"b":"~","c":"","d":["x","2"],"<<":{"e":"f"},"__proto__":"g"}',
  );
  assertEquals(await readYaml(folder.write("b.yml", "# Nothing yet\n")), null);
});

Deno.test("readYaml() reports the position of a syntax error without quoting the file", async () => {
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
    ["[".repeat(100_000)]: "Not valid YAML: Maximum call stack size exceeded",
  };
  for (const [text, problem] of Object.entries(table)) {
    assertEquals(await problemsOf(folder.write("a.yml", text), readYaml), [problem]);
  }
});

Deno.test("readYaml() throws with the cause NotFound if the file does not exist", async () => {
  using folder = new TemporaryFolder();
  const missing = await assertRejects(() => readYaml(`${folder.path}/none`), UserError, "none: No such file");
  assertInstanceOf(missing.cause, Deno.errors.NotFound);
  const other = await assertRejects(() => readYaml(folder.path), UserError, `${folder.path}: Is a directory`);
  assertEquals(other.cause instanceof Deno.errors.NotFound, false);
});

/** Problems that a validation reports. */
function problems(check: (checker: Checker) => void): string[] {
  const checker = new Checker("a.yml");
  check(checker);
  const { message } = assertThrows(() => checker.end(), UserError);
  return message.split("\n");
}

Deno.test("Checker reports all problems at once, each with the path of its key", () => {
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
      checker.mapping(value, key, { path: filePath("/etc"), size: integer(1, 9) }),
    list: (value: unknown, key: string, checker: Checker) => checker.mapping(value, key, {}),
    none: integer(1, 9),
  };
  assertEquals(problems((checker) => checker.mapping(value, "", readers)), [
    'a.yml: level: expected `A`, `B`, got "loud"',
    'a.yml: file.path: expected a path, got ""',
    'a.yml: file.size: expected an integer from 1 to 9, got "x"',
    "a.yml: unknown key file.constructor: expected one of path, size",
    "a.yml: list: expected a mapping, got a list",
    "a.yml: none: expected an integer from 1 to 9, got nothing",
    "a.yml: unknown key toString: expected one of level, file, list, none",
  ]);
  assertEquals(problems((checker) => checker.mapping("x".repeat(100), "", {})), [
    `a.yml: expected a mapping, got "${"x".repeat(79)}…`,
  ]);
});

Deno.test("Checker.mapping() returns the keys present in the file only", () => {
  const checker = new Checker("a.yml");
  const readers = { path: filePath("/etc"), size: integer(0, 9), other: integer(0, 9) };
  assertEquals(checker.mapping({ path: "a/b", size: "9" }, "", readers), { path: "/etc/a/b", size: 9 });
  assertEquals(checker.mapping(null, "", readers), {});
  checker.end();
});

Deno.test("filePath() resolves relative paths against the folder", () => {
  const checker = new Checker("a.yml");
  const table: Record<string, string> = { "a": "/etc/x/a", "../a": "/etc/a", "./a": "/etc/x/a", "/a": "/a" };
  for (const [text, path] of Object.entries(table)) assertEquals(filePath("/etc/x")(text, "key", checker), path);
  assertEquals(filePath(".")("a", "key", checker), "a");
});

Deno.test("integer() rejects values out of bounds", () => {
  const read = (text: string): number | undefined => integer(1, 10)(text, "key", new Checker("a.yml"));
  assertEquals(["0", "1", "10", "11"].map(read), [undefined, 1, 10, undefined]);
});
