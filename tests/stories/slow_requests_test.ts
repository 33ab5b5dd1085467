/** Slow requests in the log, over real sockets: never a prompt or a response. */

import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { type Script, startFakeOllama } from "../fake_ollama/mod.ts";
import { type Scrape, startExporterOn, type TestExporter } from "../support/helpers.ts";
import { parseLogfmt } from "../support/log_lines.ts";

const SECRET = "the-secret";
const CHAT = { model: "llama3.2", messages: [{ role: "user", content: SECRET }], options: { num_ctx: 2048 } };
const SILENCE_MS = 300;

/** An answer that takes a while, with the figures of a server that was busy for 7.5 s. */
const SLOW: Script = async ({ method }, connection) => {
  if (method !== "POST") return;
  await connection.readBody();
  await connection.write("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n");
  await connection.sleep(SILENCE_MS);
  await connection.write(`{"model":"llama3.2","message":{"content":"${SECRET}"},"done":false}\n`);
  await connection.write(
    '{"model":"llama3.2","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":26,' +
      '"eval_count":5,"total_duration":7500000000,"load_duration":4000000000,"prompt_eval_duration":1000000000,' +
      '"eval_duration":500000000}\n',
  );
  connection.close();
};

/** Lines about slow requests, once the scrape that follows has ended. */
async function slowLines(exporter: TestExporter): Promise<string[]> {
  const scrape: Scrape = await exporter.scrape();
  assertEquals(scrape.value("ollama_requests_total"), 1);
  return exporter.logLines.filter((line) => line.includes("Slow request"));
}

for (const server of ["deno", "node"] as const) {
  Deno.test(`A slow request is logged with its figures and without its text, over ${server}`, async () => {
    await using fake = await startFakeOllama({ script: SLOW });
    await using exporter = await startExporterOn(server, fake, { slowRequestMs: SILENCE_MS / 2 });
    await (await exporter.post("/api/chat?token=" + SECRET, CHAT)).text();
    await exporter.observation();
    const [line = "", ...more] = await slowLines(exporter);
    assertEquals(more, []);
    assert(!exporter.logLines.some((line) => line.includes(SECRET)), "the log has the text");
    const { time: _, duration_seconds, first_output_seconds, ...fields } = parseLogfmt(line);
    assertEquals(fields, {
      level: "WARN",
      msg: "Slow request",
      method: "POST",
      route: "/api/chat",
      model: "llama3.2",
      status: "200",
      outcome: "ok",
      prompt_tokens: "26",
      output_tokens: "5",
      load_seconds: "4",
      wait_seconds: "2",
      prompt_seconds: "1",
      generation_seconds: "0.5",
    });
    for (const seconds of [duration_seconds, first_output_seconds]) {
      assertGreaterOrEqual(Number(seconds), SILENCE_MS / 1000 - 0.001);
    }
  });

  Deno.test(`No request is logged as slow within the time or without the setting, over ${server}`, async () => {
    await using fake = await startFakeOllama({ script: SLOW });
    for (const options of [{}, { slowRequestMs: 3_600_000 }]) {
      await using exporter = await startExporterOn(server, fake, options);
      await (await exporter.post("/api/chat", CHAT)).text();
      await exporter.observation();
      assertEquals(await slowLines(exporter), []);
    }
  });
}
