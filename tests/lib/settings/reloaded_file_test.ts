import { assertEquals, assertRejects } from "@std/assert";
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
    return this.value.parsed;
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

Deno.test("ReloadedFile takes a text that has changed and is valid, and reports another one with its path", async () => {
  using clock = new TestClock();
  using folder = new TemporaryFolder();
  const { path, file, reloads } = await opened(folder, "1");
  const numbersAfter = async (change: () => void): Promise<number[]> => {
    change();
    clock.now += SECOND_MS;
    return await file.numbers();
  };
  assertEquals(await numbersAfter(() => folder.write("numbers", "2")), [2]);
  assertEquals(await numbersAfter(() => folder.write("numbers", "2")), [2], "the same text is no reload");
  assertEquals(await numbersAfter(() => folder.write("numbers", "a")), [2]);
  assertEquals(await numbersAfter(() => Deno.removeSync(path)), [2]);
  assertEquals(await numbersAfter(() => folder.write("numbers", "2")), [2]);
  assertEquals(reloads, [
    undefined,
    `${path}: Line 1: expected a number`,
    `${path}: No such file or directory`,
    undefined,
  ]);
});
