/** Without file descriptors the exporter says so, and serves again when there are some. */

import { assert } from "@std/assert";
import { ROOT } from "./deployment.ts";
import { startFakeOllama } from "./fake_ollama.ts";
import { ANY_PORT, until } from "./helpers.ts";

const DESCRIPTORS = 100;

/** Connects to a port, if that is possible. */
function connect(port: number): Promise<Deno.TcpConn | undefined> {
  return Deno.connect({ ...ANY_PORT, port }).catch(() => undefined);
}

Deno.test("the program survives more connections than it has file descriptors", async () => {
  await using fake = await startFakeOllama();
  const port = (() => {
    using listener = Deno.listen(ANY_PORT);
    return listener.addr.port;
  })();
  const run = `ulimit -n ${DESCRIPTORS}; exec "$0" run --allow-all ${ROOT}/main.ts`;
  const child = new Deno.Command("sh", {
    args: ["-c", run, Deno.execPath()],
    env: { LISTEN_ADDRESS: `127.0.0.1:${port}`, OLLAMA_HOST: fake.url, WEB_SERVER: "deno" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = [child.stdout, child.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  });
  const isHealthy = async (): Promise<boolean> => {
    const response = await fetch(`http://127.0.0.1:${port}/-/healthy`).catch(() => undefined);
    await response?.body?.cancel();
    return response?.status === 200;
  };
  try {
    await until(isHealthy, "it serves");
    const conns = await Promise.all(Array.from({ length: 2 * DESCRIPTORS }, () => connect(port)));
    await until(() => said.includes("Too many open files"), "it says that it has no file descriptors");
    for (const conn of conns) conn?.close();
    await until(isHealthy, "it serves again");
    assert(/level=ERROR .*Too many open files/.test(said), said);
  } finally {
    child.kill("SIGTERM");
    await child.status;
    await Promise.all(reading);
  }
});
