/** Thousands of connections that say nothing hinder nobody, and leave nothing open when they are gone. */

import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { run } from "../support/deployment.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { ANY_PORT, Scrape, until } from "../support/helpers.ts";
import { Program } from "../support/program.ts";

/** What this process and the program need beside the connections. */
const SPARE_DESCRIPTORS = 200;
/** As many as are wanted, or fewer where the machine allows no more descriptors to a process. */
const CONNECTIONS = Math.min(10_000, await mostDescriptors() - SPARE_DESCRIPTORS);
/** Most memory that the program may take for each of them, twice of what it took when it was measured. */
const CONNECTION_BYTES = 20 * 1024;
/** How many are opened at once: the kernel keeps only some hundred waiting. */
const AT_ONCE = 250;

/** Connections that may be left: those to Ollama, and the last of this process. */
const KEPT_CONNECTIONS = 10;

/** Deno raises its own limit to this one. */
async function mostDescriptors(): Promise<number> {
  const { stdout } = await run("sh", ["-c", "ulimit -Hn"]);
  return stdout.trim() === "unlimited" ? Infinity : Number(stdout);
}

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}, ${CONNECTIONS} idle connections hinder nobody, and leave nothing open`, async () => {
    await using fake = await startFakeOllama({ startMs: 0 });
    await using program = new Program({ variables: { OLLAMA_HOST: fake.url, WEB_SERVER: server } });
    const port = await program.port();
    const url = `http://127.0.0.1:${port}`;
    const residentBytes = async (): Promise<number> =>
      new Scrape(await (await fetch(`${url}/metrics`)).text()).value("process_resident_memory_bytes") ?? NaN;
    // Reading that folder itself takes more permissions than the tests have.
    const countOpen = async (): Promise<number> =>
      (await run("ls", [`/proc/${program.pid}/fd`])).stdout.trim().split("\n").length;
    const bytesBefore = await residentBytes();
    const openBefore = await countOpen();
    const conns: Deno.TcpConn[] = [];
    while (conns.length < CONNECTIONS) {
      const count = Math.min(AT_ONCE, CONNECTIONS - conns.length);
      conns.push(...await Promise.all(Array.from({ length: count }, () => Deno.connect({ ...ANY_PORT, port }))));
    }
    const direct = await (await fetch(`${fake.url}/api/version`)).text();
    assertEquals(await (await fetch(`${url}/api/version`)).text(), direct);
    assertLess(await residentBytes() - bytesBefore, CONNECTIONS * CONNECTION_BYTES);
    assertGreater(await countOpen(), CONNECTIONS);
    for (const conn of conns) conn.close();
    await until(async () => await countOpen() <= openBefore + KEPT_CONNECTIONS, "the connections are closed");
    assertEquals(program.lines.filter((line) => line.includes("level=ERROR")), []);
  });
}
