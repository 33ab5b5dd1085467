/** The README's table of limits is the program's, and a head is bounded over both listeners. */

import { assertEquals } from "@std/assert";
import { SETTINGS, WEB_SERVERS } from "../../lib/settings/settings.ts";
import { HEAD_LIMIT_BYTES, HEADERS_LIMIT } from "../../lib/listen/node_listener.ts";
import { ALL_LIMITS } from "../../tools/limits.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, startExporterOn } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";
import { readSourceFiles } from "../support/source_files.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Servers count a little more or less than the bytes of the head. */
const TOLERANCE_BYTES = 64;
/** More headers than `node:http` keeps where nobody says how many there may be; it drops the rest. */
const MANY_HEADERS = 3000;

/** Constants in a folder and those below it that bound something. */
function constants(folder: string): string[] {
  return readSourceFiles(folder)
    .flatMap(({ text }) => [...text.matchAll(/\bconst (\w+_LIMIT(?:_\w+)?|\w+_TIMEOUT_MS) =/g)])
    .map(([, name = ""]) => name);
}

Deno.test("ALL_LIMITS has each limit that lib/ names, with its value", () => {
  const named = new Set(ALL_LIMITS.map(({ name }) => name));
  const found = new Set(constants("lib/"));
  assertEquals([...found].filter((name) => !named.has(name)), []);
  // A walk that finds less than the table has would prove nothing.
  const settings = new Set(Object.values(SETTINGS).map(({ variable }) => variable));
  assertEquals([...named].filter((name) => !found.has(name) && !settings.has(name)), []);
  const valueOf = (wanted: string): string | undefined => ALL_LIMITS.find(({ name }) => name === wanted)?.value;
  assertEquals(valueOf("MESSAGE_LIMIT_BYTES"), "8 MiB");
  assertEquals(valueOf("HEAD_LIMIT_BYTES"), "64 KiB");
  assertEquals(valueOf("KEY_LIMIT_BYTES"), "128 bytes");
  assertEquals(valueOf("LOG_VALUE_LIMIT_CHARACTERS"), "2,048 characters");
  assertEquals(valueOf("HEAD_TIMEOUT_MS"), "60 s");
  assertEquals(valueOf("VIEWER_LIMIT"), "8");
  assertEquals(valueOf("MODEL_LABEL_LIMIT"), "200, a setting");
});

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}: a head is taken up to the limit, and refused beyond it`, async () => {
    await using fake = await startFakeOllama({ script: answering(OK) });
    await using exporter = await startExporterOn(server, fake);
    const statusOf = async (headers: string): Promise<number> => {
      using client = await RawClient.connect(exporter.port);
      await client.send(`GET / HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
      return (await client.response("GET")).status;
    };
    const refused = server === "deno" ? 400 : 431;
    const long = (bytes: number): string => `X: ${"x".repeat(bytes)}\r\n`;
    assertEquals(await statusOf(long(HEAD_LIMIT_BYTES - TOLERANCE_BYTES)), 200);
    assertEquals(await statusOf(long(HEAD_LIMIT_BYTES + TOLERANCE_BYTES)), refused);
    const many = (count: number): string => Array.from({ length: count }, (_, index) => `X${index}: 1\r\n`).join("");
    // One more is the host.
    assertEquals(await statusOf(many(HEADERS_LIMIT - 1)), 200);
    assertEquals(fake.lastRequest().headers(`x${HEADERS_LIMIT - 2}`), ["1"]);
    assertEquals([await statusOf(many(HEADERS_LIMIT)), await statusOf(many(MANY_HEADERS))], [refused, refused]);
    assertEquals(fake.requestCount, 2);
  });
}
