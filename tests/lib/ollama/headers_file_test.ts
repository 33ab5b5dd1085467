import { assert, assertEquals, assertRejects } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { HeadersFile } from "../../../lib/ollama/headers_file.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";
import { TestClock } from "../../support/test_clock.ts";

const SECOND_MS = 1000;

function open(path: string, reloads: (string | undefined)[] = []): Promise<HeadersFile> {
  return HeadersFile.open({ path, onReload: (error) => void reloads.push(error) });
}

/** Headers of a file with this text. */
async function headersOf(text: string): Promise<[string, string][]> {
  using folder = new TemporaryFolder();
  return [...await (await open(folder.write("headers", text))).headers()];
}

/** Problems of a file with this text. */
async function problems(text: string | Uint8Array): Promise<string[]> {
  using folder = new TemporaryFolder();
  return await problemsOf(folder.write("headers", text), open);
}

Deno.test("HeadersFile.open() reads a header per line, and skips blank lines and comments", async () => {
  assertEquals(
    await headersOf("# For the proxy\r\nAuthorization: Bearer a.b=\r\n\r\n  # and\r\nX-Key:a: b # c\t\r\n"),
    [["authorization", "Bearer a.b="], ["x-key", "a: b # c"]],
  );
  assertEquals(await headersOf("\ufeffCookie: a=1\nAccept: x\nAccept: y"), [["accept", "x, y"], ["cookie", "a=1"]]);
});

Deno.test("HeadersFile.open() reports each invalid line by its number, and quotes none", async () => {
  const secret = "hunter2";
  const invalid = [secret, `: ${secret}`, "X-Empty:", "X-Blank:  ", `X Key: ${secret}`, ` X-Key: ${secret}`];
  const bytes = [`X-Key: ä${secret}`, `X-Key: ${secret}\0`, `X-K\u00e4y: ${secret}`, `X-Key : ${secret}`];
  const lines = [...invalid, ...bytes];
  assertEquals(
    await problems(lines.join("\n")),
    lines.map((_, index) => `Line ${index + 1}: expected \`Name: value\` in ASCII`),
  );
  for (const text of ["", "\n\n", "# Authorization: x\n"]) assertEquals(await problems(text), ["No headers found"]);
});

Deno.test("HeadersFile.open() rejects headers of the connection and those that the exporter sets", async () => {
  const connection = ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"];
  const set = ["Host", "content-length", "EXPECT", "Accept-Encoding"];
  const names = [...connection, ...set];
  assertEquals(
    await problems(`X-Key: x\n${names.map((name) => `${name}: hunter2`).join("\n")}`),
    names.map((name, index) => `Line ${index + 2}: the header ${name} cannot be set`),
  );
});

Deno.test("HeadersFile.open() rejects a file that cannot be read", async () => {
  using folder = new TemporaryFolder();
  assertEquals(await problemsOf(folder.path, open), ["Is a directory"]);
  assertEquals(await problemsOf(`${folder.path}/none`, open), ["No such file or directory"]);
  assertEquals(await problems(Uint8Array.of(0xe4)), ["Not valid UTF-8"]);
  assertEquals((await problems("x".repeat(2 ** 20 + 1)))[0]?.split(":")[0], "File too large");
});

Deno.test("HeadersFile.headers() reads the file again, and keeps the previous headers while it is invalid", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const path = folder.write("headers", "X-Key: 1");
  const reloads: (string | undefined)[] = [];
  const file = await open(path, reloads);
  for (const text of ["X-Key: 2", "hunter2"]) {
    folder.write("headers", text);
    clock.now += SECOND_MS;
    assertEquals((await file.headers()).get("x-key"), "2");
  }
  assertEquals(reloads, [undefined, `${path}: Line 1: expected \`Name: value\` in ASCII`]);
});

Deno.test("HeadersFile.headers() returns headers that the caller may change", async () => {
  using folder = new TemporaryFolder();
  const file = await open(folder.write("headers", "X-Key: 1"));
  (await file.headers()).set("x-key", "2");
  assertEquals((await file.headers()).get("x-key"), "1");
  const error = await assertRejects(() => open(folder.write("headers", "hunter2")), UserError);
  assert(!String(error.stack).includes("hunter2"));
});
