/** A server that accepts any model name cannot exhaust memory with metrics. */

import { assert, assertEquals } from "@std/assert";
import { answering, delay, startExporter } from "../support/helpers.ts";
import { startFakeOllama } from "../fake_ollama/mod.ts";

const NAMES = 20_000;
const LIMIT = 50;
const AT_ONCE = 50;
/** Maximum size of /metrics with this many models of one API; it has 854 kB. */
const SIZE_LIMIT_BYTES = 900_000;

/** Returns a response with the requested model. */
function answerFor(model: string): string {
  const body = JSON.stringify({ model, message: { content: "" }, done: true, done_reason: "stop", eval_count: 1 });
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

Deno.test(`createExporter() reports ${NAMES} model names as the limit, "other" and "unknown"`, async () => {
  await using fake = await startFakeOllama({ keptRequests: 0 });
  fake.behaviour.script = async (request, connection) => {
    if (request.method !== "POST") return await answering("")(request, connection);
    await connection.readBody();
    await connection.writeLast(answerFor(JSON.parse(request.text).model));
    return true;
  };
  await using exporter = startExporter(fake, { modelLimit: LIMIT });
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < NAMES) {
      const response = await exporter.post("/api/chat", { model: `model-${next++}`, stream: false, messages: [] });
      assertEquals(response.status, 200);
      await response.body?.cancel();
    }
  }));
  await delay(0);
  const scrape = await exporter.scrape();
  const models = scrape.labelValues("model");
  assert(models.length <= LIMIT + 2, `${models.length} models`);
  assert(models.includes("other"));
  assertEquals(scrape.value("ollama_requests_total"), NAMES);
  assert(scrape.text.length < SIZE_LIMIT_BYTES, `/metrics has ${scrape.text.length} bytes`);
});
