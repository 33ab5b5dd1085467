/**
 * Calls the server whose URL is the argument with clients from npm in Node.js, and prints the status of each call as a
 * line of JSON. All names are resolved to 127.0.0.1.
 *
 * @module
 */

// deno-lint-ignore-file explicit-function-return-type no-console -- JavaScript for Node.js, which writes to its console.

import dns from "node:dns";
import { Ollama } from "ollama";
import OpenAI from "openai";

const { lookup } = dns;
dns.lookup = (_name, options, done) => lookup("127.0.0.1", options, done);

const [, , url] = process.argv;
const messages = [{ role: "user", content: "Hello" }];
const ollama = new Ollama({ host: url });
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

/** Each call throws an error with a status, or returns the status 200 when all of its response has come. */
const CALLS = {
  "fetch GET": () => statusOf("/api/version"),
  "fetch POST": () => statusOf("/api/chat", { method: "POST", body: JSON.stringify({ model: "llama3.2", messages }) }),
  "fetch metrics": () => statusOf("/metrics"),
  "ollama list": () => ollama.list(),
  "ollama chat": async () => drain(await ollama.chat({ model: "llama3.2", messages, stream: true })),
  "openai models": async () => drain(await openai.models.list()),
  "openai chat": async () => drain(await openai.chat.completions.create({ model: "llama3.2", messages, stream: true })),
};

async function statusOf(path, init) {
  const response = await fetch(url + path, init);
  await response.text();
  return response.status;
}

async function drain(items) {
  for await (const _ of items);
}

for (const [name, call] of Object.entries(CALLS)) {
  const status = await call().then(
    (result) => typeof result === "number" ? result : 200,
    (error) => error.status ?? error.status_code ?? String(error),
  );
  console.log(JSON.stringify([name, status]));
}
