/** Streams that are open while a program stops. */

import type { FakeOllama } from "../fake_ollama/mod.ts";
import type { Gate } from "./helpers.ts";
import { RawClient } from "./raw_client.ts";

/** The fake Ollama begins an answer, and ends it when the gate opens. */
export function holdStreams(fake: FakeOllama, gate: Gate): void {
  fake.behaviour.script = async ({ method }, connection) => {
    if (method !== "POST") return;
    await connection.readBody();
    await connection.write(
      "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    await connection.write("6\r\nbegin\n\r\n");
    await gate.opened;
    await connection.writeLast("4\r\nend\n\r\n0\r\n\r\n");
  };
}

/** Whether this port of the machine accepts no connections. */
export async function isRefused(port: number): Promise<boolean> {
  try {
    using client = await RawClient.connect(port);
    await client.request("GET /-/healthy");
    await client.response();
    return false;
  } catch {
    return true;
  }
}
