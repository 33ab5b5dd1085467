/** Wrong passwords at speed, against the program as users start it: what is proxied does not feel them. */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { hashSync } from "bcryptjs";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { CHAT, Scrape } from "../support/helpers.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** At the usual cost; one comparison takes as long as some tokens. */
const HASH = hashSync("secret", 10);
const TOKENS = 100;
const TOKEN_MS = 20;
/** How many try at once. */
const STRANGERS = 32;
/** How much more memory the program may take: threads and sockets, and nothing for each password. */
const GROWTH_BYTES = 100 * 1024 * 1024;

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}, wrong passwords at speed stop no stream and no scraper, and fill no memory`, async () => {
    using folder = new TemporaryFolder();
    const file = folder.write("web.yml", `basic_auth_users: {alice: ${JSON.stringify(HASH)}}\n`);
    await using fake = await startFakeOllama({ tokens: TOKENS, tokenDelayMs: TOKEN_MS, startMs: 0 });
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
    const before = await residentBytes();
    let isStreaming = true;
    const statuses = new Map<number, number>();
    const tries = Array.from({ length: STRANGERS }, async (_, stranger) => {
      for (let number = 0; isStreaming; number++) {
        const { status } = await scrape(`wrong ${stranger} ${number}`);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    const response = await fetch(`${url}/api/chat`, { method: "POST", body: JSON.stringify(CHAT) });
    let pieces = 0;
    let apart = 0;
    let last = performance.now();
    for await (const _ of response.body ?? []) {
      pieces++;
      if (performance.now() - last > TOKEN_MS / 4) apart++;
      last = performance.now();
      // The scraper that was let in before is let in all the time.
      if (pieces % 10 === 0) assertEquals((await scrape("secret")).status, 200);
    }
    isStreaming = false;
    await Promise.all(tries);
    // Where passwords were compared between tokens, several of these would come at once.
    assertGreater(apart, TOKENS / 2);
    assertEquals([...statuses.keys()].sort(), [401, 429]);
    assert((statuses.get(429) ?? 0) > (statuses.get(401) ?? 0), `${[...statuses]}`);
    assertLess(await residentBytes() - before, GROWTH_BYTES);
    assertEquals((await scrape("wrong")).status, 401);
  });
}
