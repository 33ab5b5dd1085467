import { assertEquals } from "@std/assert";
import { CLIENT_LIMIT_CHARACTERS, isClientName } from "../../../lib/clients/client_name.ts";

Deno.test("isClientName() accepts printable names up to the limit", () => {
  for (const name of ["a", "Jürgen Müller", "研究室", 'a"b\\c', "x".repeat(CLIENT_LIMIT_CHARACTERS)]) {
    assertEquals(isClientName(name), true, name);
  }
  for (const name of ["", " ", "x".repeat(CLIENT_LIMIT_CHARACTERS + 1)]) assertEquals(isClientName(name), false, name);
});

Deno.test("isClientName() rejects what does not print, or changes the direction of what does", () => {
  for (const code of [0, 9, 10, 13, 27, 0x7f, 0x85, 0x9b, 0x200b, 0x2028, 0x2029, 0x202e, 0xd800, 0xfeff, 0xe000]) {
    assertEquals(isClientName(`a${String.fromCharCode(code)}b`), false, code.toString(16));
  }
});
