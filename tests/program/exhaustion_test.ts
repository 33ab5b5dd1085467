/** Without file descriptors the exporter logs it, and serves again once it has some. */

import { assert } from "@std/assert";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";
import { ANY_PORT, delay, until } from "../support/helpers.ts";
import { Program } from "../support/program.ts";

const DESCRIPTORS = 100;
/** How long the program has no descriptors. */
const STARVED_MS = 2500;
/** Maximum number of log lines: one at the beginning, one for each attempt to listen again. */
const MOST_LINES = 5;

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}, the program logs that it has no file descriptors, and serves again once it has some`, async () => {
    await using fake = await startFakeOllama();
    await using program = new Program({
      variables: { OLLAMA_HOST: fake.url, WEB_SERVER: server },
      descriptors: DESCRIPTORS,
    });
    const port = await program.port();
    const isHealthy = async (): Promise<boolean> => {
      const signal = AbortSignal.timeout(1000);
      const response = await fetch(`http://127.0.0.1:${port}/-/healthy`, { signal }).catch(() => undefined);
      await response?.body?.cancel();
      return response?.status === 200;
    };
    const connect = (): Promise<Deno.TcpConn | undefined> => Deno.connect({ ...ANY_PORT, port }).catch(() => undefined);
    const complaints = (): string[] => program.lines.filter((line) => line.includes("level=ERROR"));
    assert(await isHealthy());
    const conns = await Promise.all(Array.from({ length: 2 * DESCRIPTORS }, connect));
    await program.line("Too many open files");
    await delay(STARVED_MS);
    for (const conn of conns) conn?.close();
    await until(isHealthy, "it serves again");
    assert(complaints().length <= MOST_LINES, complaints().join("\n"));
  });
}
