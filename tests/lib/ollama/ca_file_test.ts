import { assertEquals } from "@std/assert";
import { loadCaFile } from "../../../lib/ollama/ca_file.ts";
import { FILE_LIMIT_BYTES } from "../../../lib/settings/text_file.ts";
import { CA, FIRST, SECOND } from "../../support/certificates.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

Deno.test("loadCaFile() reads one or more certificates, with text around them", async () => {
  using folder = new TemporaryFolder();
  for (const text of [CA, `# Private CA\n${CA}\n# Others\n${FIRST.cert}${SECOND.cert}`, CA.replaceAll("\n", "\r\n")]) {
    assertEquals(await loadCaFile(folder.write("ca.pem", text)), text);
  }
});

Deno.test("loadCaFile() rejects files without certificates and with invalid ones, and names the file", async () => {
  using folder = new TemporaryFolder();
  const problems = (text: string | Uint8Array): Promise<string[]> =>
    problemsOf(folder.write("ca.pem", text), loadCaFile);
  const none = ["No PEM certificate found"];
  assertEquals(await problems(""), none);
  assertEquals(await problems("ca.pem\n"), none);
  assertEquals(await problems(FIRST.key), none);
  const invalid = ["Invalid PEM certificate"];
  assertEquals(await problems(CA.slice(0, -40)), invalid);
  assertEquals(await problems(CA.replace(/\nMII/, "\n!!!")), invalid);
  assertEquals(await problems(`${CA}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`), invalid);
  assertEquals(await problems(Uint8Array.of(0x30, 0x82)), ["Not valid UTF-8"]);
  assertEquals(await problems("x".repeat(FILE_LIMIT_BYTES + 1)), ["File too large: 1048577 bytes, maximum 1048576"]);
  assertEquals(await problemsOf(folder.path, loadCaFile), ["Is a directory"]);
  assertEquals(await problemsOf(`${folder.path}/none.pem`, loadCaFile), ["No such file or directory"]);
});
