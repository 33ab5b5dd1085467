/** Thousands of idle connections: others are served, and nothing stays open afterwards. */

import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { run } from "../support/deployment.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { ANY_PORT, Scrape, until } from "../support/helpers.ts";
import { Program } from "../support/program.ts";

/** Descriptors that this process and the program need in addition to the connections. */
const SPARE_DESCRIPTORS = 200;
/** Number of connections, limited by the descriptors that a process may have. */
const CONNECTIONS = Math.min(10_000, await maxDescriptors() - SPARE_DESCRIPTORS);
/** Maximum memory per connection, twice the measured value. */
const CONNECTION_BYTES = 20 * 1024;
/** Connections opened at once; the kernel queues only some hundred. */
const AT_ONCE = 250;

/** Maximum number of connections afterwards: to Ollama, and the last of this process. */
const KEPT_CONNECTIONS = 10;

/** Returns the hard limit of descriptors, to which Deno raises its soft limit. */
async function maxDescriptors(): Promise<number> {
  const { stdout } = await run("sh", ["-c", "ulimit -Hn"]);
  return stdout.trim() === "unlimited" ? Infinity : Number(stdout);
}

for (const server of WEB_SERVERS) {
  Deno.test(`createExporter() over ${server} serves others during ${CONNECTIONS} idle connections, and closes all of them`, async () => {
    await using fake = await startFakeOllama({ startMs: 0 });
    await using program = new Program({ variables: { OLLAMA_HOST: fake.url, WEB_SERVER: server } });
    const port = await program.port();
    const url = `http://127.0.0.1:${port}`;
    const residentBytes = async (): Promise<number> =>
      new Scrape(await (await fetch(`${url}/metrics`)).text()).value("process_resident_memory_bytes") ?? NaN;
    // Reading the folder directly requires permissions that the tests do not have.
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
