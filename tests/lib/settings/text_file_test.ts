import { assertEquals, assertRejects } from "@std/assert";
import { FILE_LIMIT_BYTES, readText } from "../../../lib/settings/text_file.ts";
import { TemporaryFolder } from "../../support/temporary_folder.ts";

Deno.test("readText() rejects large files, files that are not UTF-8 and what is not a regular file", async () => {
  using folder = new TemporaryFolder();
  const full = folder.write("full", "ä".repeat(FILE_LIMIT_BYTES / 2));
  assertEquals((await readText(full)).length, FILE_LIMIT_BYTES / 2);
  const tooLarge = folder.write("large", "x".repeat(FILE_LIMIT_BYTES + 1));
  await assertRejects(() => readText(tooLarge), Error, "File too large: 1048577 bytes, maximum 1048576");
  await assertRejects(() => readText(folder.write("latin1", Uint8Array.of(0xe4))), Error, "Not valid UTF-8");
  await assertRejects(() => readText(folder.path), Error, "Is a directory");
  await assertRejects(() => readText("/dev/zero"), Error, "Not a regular file");
  await assertRejects(() => readText(`${folder.path}/none`), Deno.errors.NotFound);
});
