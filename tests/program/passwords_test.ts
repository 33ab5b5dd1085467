/** Many wrong passwords at once, against the program as users start it: proxied traffic is unaffected. */

import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { hashSync } from "bcryptjs";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, Gate, Scrape } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Of the usual cost: one comparison takes tens of milliseconds. */
const HASH = hashSync("secret", 10);
const TOKENS = 100;
const TOKEN = '{"message":{"content":"Hi"},"done":false}\n';
const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
/** Clients that try wrong passwords, all the time. */
const STRANGERS = 32;
/** How much more memory the program may take: for threads and sockets, and none for each password. */
const GROWTH_BYTES = 100 * 1024 * 1024;

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}, many wrong passwords delay no stream, block no scraper and fill no memory`, async () => {
    using folder = new TemporaryFolder();
    const file = folder.write("web.yml", `basic_auth_users: {alice: ${JSON.stringify(HASH)}}\n`);
    const statuses = new Map<number, number>();
    const count = (status: number): number => statuses.get(status) ?? 0;
    using gates = new DisposableStack();
    const received = Array.from({ length: TOKENS }, () => gates.use(new Gate()));
    let comparedInTransit = 0;
    await using fake = await startFakeOllama({
      script: async ({ path }, connection) => {
        if (path !== "/api/chat") return;
        await connection.readBody();
        await connection.write(HEAD);
        for (const { opened } of received) {
          const before = count(401);
          await connection.write(`${TOKEN.length.toString(16)}\r\n${TOKEN}\r\n`);
          await opened;
          comparedInTransit += count(401) - before;
        }
        await connection.writeLast("0\r\n\r\n");
      },
    });
    await using program = new Program({
      variables: { OLLAMA_HOST: fake.url, WEB_CONFIG_FILE: file, WEB_SERVER: server },
    });
    const url = `http://127.0.0.1:${await program.port()}`;
    const scrape = async (password: string): Promise<{ status: number; text: string }> => {
      const headers = { authorization: `Basic ${btoa(`alice:${password}`)}` };
      const response = await fetch(`${url}/metrics`, { headers });
      return { status: response.status, text: await response.text() };
    };
    const residentBytes = async (): Promise<number> => {
      const { status, text } = await scrape("secret");
      assertEquals(status, 200);
      return new Scrape(text).value("process_resident_memory_bytes") ?? NaN;
    };
    const bytesBefore = await residentBytes();
    let isStreaming = true;
    const tries = Array.from({ length: STRANGERS }, async (_, stranger) => {
      for (let number = 0; isStreaming; number++) {
        const { status } = await scrape(`wrong ${stranger} ${number}`);
        statuses.set(status, count(status) + 1);
      }
    });
    const response = await fetch(`${url}/api/chat`, { method: "POST", body: JSON.stringify(CHAT) });
    let tokens = 0;
    for await (const _ of response.body ?? []) {
      received[tokens++]?.open();
      // A scraper whose password has been accepted before is never turned away.
      if (tokens % 10 === 0) assertEquals((await scrape("secret")).status, 200);
    }
    isStreaming = false;
    await Promise.all(tries);
    assertEquals(tokens, TOKENS);
    // If passwords were compared on the stream's thread, each token would wait for comparisons.
    assertLess(comparedInTransit, TOKENS / 2);
    assertEquals([...statuses.keys()].sort(), [401, 429]);
    assertGreater(count(429), count(401));
    assertLess(await residentBytes() - bytesBefore, GROWTH_BYTES);
    assertEquals((await scrape("wrong")).status, 401);
  });
}
