import { assert, assertEquals } from "@std/assert";
import { ClientKeys } from "../../../lib/clients/client_keys.ts";
import { until } from "../../support/helpers.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";
import { TestClock } from "../../support/test_clock.ts";

const SECOND_MS = 1000;

// As `printf %s KEY | sha256sum` prints them.
const ALICE = "099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c";
const BOB = "36c76b48bb2ee1d9d37140550e9d7ed7d395cf56f41050dc2a72e5291c0011f0";
const UMLAUT = "164af2efdbf2926ee7672d41d0a07f8e6d2720ce6919b5b563bebb8236b3c7a3";

const EXPECTED = "expected `SHA-256 name`: 64 hexadecimal digits, a space and a name of up to 64 printable characters";

function open(path: string, reloads: (string | undefined)[] = []): Promise<ClientKeys> {
  return ClientKeys.open({ path, onReload: (error) => reloads.push(error) });
}

/** Problems of a file with this text. */
async function problems(text: string): Promise<string[]> {
  using folder = new TemporaryFolder();
  return await problemsOf(folder.write("keys", text), open);
}

Deno.test("ClientKeys.nameOf() knows a key by its hash, from either header", async () => {
  using folder = new TemporaryFolder();
  const text = `# Team\r\n${ALICE} Alice\r\n\r\n${BOB.toUpperCase()}  \tBob & Co. \n${UMLAUT} Jürgen\n`;
  const keys = await open(folder.write("keys", text));
  const rows: [headers: HeadersInit, name: string | undefined][] = [
    [{ authorization: "Bearer sk-alice" }, "Alice"],
    [{ authorization: "bearer   sk-alice" }, "Alice"],
    [{ "x-api-key": "sk-bob" }, "Bob & Co."],
    [{ authorization: "Bearer sk-alice", "x-api-key": "sk-bob" }, "Alice"],
    [{ authorization: "Bearer dummy", "x-api-key": "sk-bob" }, "Bob & Co."],
    // UTF-8, as headers have it: one character per byte.
    [{ "x-api-key": "k\xc3\xa9y" }, "Jürgen"],
    [{ authorization: "Basic sk-alice" }, undefined],
    [{ authorization: "sk-alice" }, undefined],
    [{ authorization: "Bearer sk-mallory" }, undefined],
    [{ authorization: `Bearer ${ALICE}` }, undefined],
    [{ authorization: "Bearer " }, undefined],
    [{ "x-api-key": "" }, undefined],
    [{}, undefined],
  ];
  for (const [headers, name] of rows) assertEquals(keys.nameOf(new Headers(headers)), name, JSON.stringify(headers));
});

Deno.test("ClientKeys.open() reports each invalid line by its number, and quotes neither key nor hash", async () => {
  const names = ["", " ", "x".repeat(65), "a\tb", "a\x1bb"].map((name) => `${ALICE} ${name}`);
  const hashes = ["sk-hunter2 Bob", ALICE, `${ALICE}Bob`, `${ALICE}0 Bob`, `${ALICE.slice(1)} Bob`, ` ${BOB} Bob`];
  const lines = [...names, ...hashes, `Bob ${ALICE}`, `${ALICE.replace("0", "g")} Bob`];
  const found = await problems([`${BOB} Bob`, ...lines].join("\n"));
  assertEquals(found, lines.map((_, index) => `Line ${index + 2}: ${EXPECTED}`));
  assertEquals(await problems(`${ALICE} unknown\n${BOB} other\n`), [
    "Line 1: a client cannot be named `unknown`",
    "Line 2: a client cannot be named `other`",
  ]);
  assertEquals(await problems(`${ALICE} Alice\n\n${ALICE.toUpperCase()} Bob\n`), ["Line 3: the same key as in line 1"]);
  for (const text of ["", "\n", "# none\n"]) assertEquals(await problems(text), ["No keys found"]);
});

Deno.test("ClientKeys.nameOf() reads the file again in the background, and keeps the names while it is invalid", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const path = folder.write("keys", `${ALICE} Alice`);
  const reloads: (string | undefined)[] = [];
  const keys = await open(path, reloads);
  const name = (): string | undefined => keys.nameOf(new Headers({ "x-api-key": "sk-alice" }));
  folder.write("keys", `${ALICE} Alicia`);
  assertEquals(name(), "Alice");
  clock.now += SECOND_MS;
  assertEquals(name(), "Alice", "the request does not wait");
  await until(() => reloads.length === 1, "the file was read");
  assertEquals(name(), "Alicia");
  folder.write("keys", "sk-hunter2 Alice");
  clock.now += SECOND_MS;
  name();
  await until(() => reloads.length === 2, "the file was read");
  assertEquals([name(), keys.isCurrent], ["Alicia", false]);
  assertEquals(reloads, [undefined, `${path}: Line 1: ${EXPECTED}`]);
  assert(!String(reloads[1]).includes("hunter2"));
});
