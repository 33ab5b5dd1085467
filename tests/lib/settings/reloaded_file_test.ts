import { assert, assertEquals, assertRejects } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { contentLines, ReloadedFile, type ReloadedFileOptions } from "../../../lib/settings/reloaded_file.ts";
import { readNamedText } from "../../../lib/settings/text_file.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";
import { TestClock } from "../../support/test_clock.ts";

const SECOND_MS = 1000;

/** A file with one number per line. */
class NumbersFile extends ReloadedFile<number[]> {
  static async open(options: ReloadedFileOptions): Promise<NumbersFile> {
    return new NumbersFile(options, await readNamedText(options.path), (text, problems) => {
      const lines = contentLines(text);
      for (const [number, line] of lines) if (!/^\d+$/.test(line)) problems.push(`Line ${number}: expected a number`);
      return lines.map(([, line]) => Number(line));
    });
  }

  async numbers(): Promise<number[]> {
    await this.refresh();
    return this.value;
  }
}

/** A file that is opened with this text, and how it was reloaded. */
async function opened(folder: TemporaryFolder, text: string): Promise<{
  path: string;
  file: NumbersFile;
  reloads: (string | undefined)[];
}> {
  const path = folder.write("numbers", text);
  const reloads: (string | undefined)[] = [];
  return { path, file: await NumbersFile.open({ path, onReload: (error) => reloads.push(error) }), reloads };
}

/** Runs a step, and returns its result and how often it has read a file. */
async function readsDuring<T>(step: () => Promise<T>): Promise<[T, number]> {
  const { readFile } = Deno;
  let reads = 0;
  Deno.readFile = (path) => {
    reads++;
    return readFile(path);
  };
  try {
    return [await step(), reads];
  } finally {
    Deno.readFile = readFile;
  }
}

Deno.test("contentLines() numbers lines, and leaves out blank ones and comments", () => {
  assertEquals(contentLines("# one\r\ntwo\r\n\r\n \t\n  # five\nsix # not a comment\n"), [
    [2, "two"],
    [6, "six # not a comment"],
  ]);
  assertEquals(contentLines(""), []);
});

Deno.test("ReloadedFile reports all problems of the text that it is opened with, each with the path", async () => {
  using folder = new TemporaryFolder();
  const error = await assertRejects(() => opened(folder, "a\n1\nb"), UserError);
  const path = `${folder.path}/numbers`;
  assertEquals(error.message, `${path}: Line 1: expected a number\n${path}: Line 3: expected a number`);
});

Deno.test("ReloadedFile.refresh() reads the file again, at most once a second", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const { file, reloads } = await opened(folder, "1");
  folder.write("numbers", "2");
  clock.now += SECOND_MS - 1;
  assertEquals([await file.numbers(), reloads], [[1], []]);
  clock.now += 1;
  const asked = (): Promise<number[][]> => Promise.all([file.numbers(), file.numbers(), file.numbers()]);
  assertEquals(await readsDuring(asked), [[[2], [2], [2]], 1], "those at once share a read");
  assertEquals(reloads, [undefined]);
  folder.write("numbers", "3");
  assertEquals(await file.numbers(), [2]);
  clock.now += SECOND_MS;
  assertEquals([await file.numbers(), reloads.length], [[3], 2]);
  clock.now += SECOND_MS;
  assertEquals([await file.numbers(), reloads.length], [[3], 2], "an unchanged file is no reload");
});

Deno.test("ReloadedFile.refresh() keeps the previous value while the file is invalid, and reports each error once", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const { path, file, reloads } = await opened(folder, "1");
  const numbersAfter = async (change: () => void): Promise<number[]> => {
    change();
    clock.now += SECOND_MS;
    return await file.numbers();
  };
  for (let count = 0; count < 3; count++) assertEquals(await numbersAfter(() => folder.write("numbers", "a")), [1]);
  Deno.removeSync(path);
  for (let count = 0; count < 3; count++) assertEquals(await numbersAfter(() => {}), [1]);
  assertEquals(reloads, [`${path}: Line 1: expected a number`, `${path}: No such file or directory`]);
  assertEquals(await numbersAfter(() => folder.write("numbers", "1")), [1]);
  assertEquals(reloads.slice(2), [undefined], "it is valid again, unchanged");
});

Deno.test("ReloadedFile.reload() reads the file at once, and reports that nothing has changed", async () => {
  using folder = new TemporaryFolder();
  const { path, file, reloads } = await opened(folder, "1");
  const loadedAt = file.loadedAtSeconds;
  await file.reload();
  assertEquals([reloads, file.isCurrent], [[undefined], true]);
  assert(file.loadedAtSeconds >= loadedAt);
  folder.write("numbers", "a");
  await Promise.all([file.reload(), file.reload()]);
  assertEquals([new Set(reloads), file.isCurrent], [new Set([undefined, `${path}: Line 1: expected a number`]), false]);
  assertEquals(await file.numbers(), [1]);
});

Deno.test("ReloadedFile.reload() reads the file after a read in progress, which may have missed the change", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const { file } = await opened(folder, "1");
  const { readFile } = Deno;
  Deno.readFile = async (path) => {
    Deno.readFile = readFile;
    const bytes = await readFile(path);
    folder.write("numbers", "2");
    return bytes;
  };
  clock.now += SECOND_MS;
  const reading = file.numbers();
  await file.reload();
  assertEquals([await reading, await file.numbers()], [[1], [2]]);
});
