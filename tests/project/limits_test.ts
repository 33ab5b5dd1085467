/** The table of limits has all that lib/ declares; request line and headers are limited over both listeners. */

import { assert, assertEquals } from "@std/assert";
import { SETTINGS, WEB_SERVERS } from "../../lib/settings/settings.ts";
import { HEAD_LIMIT_BYTES, HEADERS_LIMIT } from "../../lib/listen/node_listener.ts";
import { ALL_LIMITS } from "../../tools/limits.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { answering, startExporterOn } from "../support/helpers.ts";
import { RawClient } from "../support/raw_client.ts";
import { readSourceFiles } from "../support/source_files.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Servers differ in the bytes that they count. */
const TOLERANCE_BYTES = 64;
/** More headers than `node:http` keeps by default, dropping the rest. */
const MANY_HEADERS = 3000;

Deno.test("ALL_LIMITS has each limit that lib/ names, with its value", () => {
  const declared = readSourceFiles("lib/")
    .flatMap(({ text }) => [...text.matchAll(/\bconst (\w+_LIMIT(?:_\w+)?|\w+_TIMEOUT_MS) =/g)])
    .map(([, name = ""]) => name);
  assert(declared.length > 0);
  const settings = Object.values(SETTINGS).map(({ variable }) => variable);
  const named = ALL_LIMITS.map(({ name }) => name).filter((name) => !settings.includes(name));
  assertEquals(named.toSorted(), declared.toSorted());
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
  Deno.test(`over ${server}: request line and headers are accepted up to the limit, and rejected beyond it`, async () => {
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
    // The Host header is one more.
    assertEquals(await statusOf(many(HEADERS_LIMIT - 1)), 200);
    assertEquals(fake.lastRequest().headers(`x${HEADERS_LIMIT - 2}`), ["1"]);
    assertEquals([await statusOf(many(HEADERS_LIMIT)), await statusOf(many(MANY_HEADERS))], [refused, refused]);
    assertEquals(fake.requestCount, 2);
  });
}
