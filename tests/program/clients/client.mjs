/** Node's fetch, and the packages ollama and openai on it. The argument is the server's URL. */

import { createInterface } from "node:readline";
import { Ollama } from "ollama";
import OpenAI from "openai";

const [, , url] = process.argv;
const model = "llama3.2";
const messages = [{ role: "user", content: "Hello" }];
const chat = { model, messages };
const large = { model, messages: [{ role: "user", content: "x".repeat(100_000) }] };
const unknown = { ...chat, model: "none" };
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Reports an event, and waits for a line on standard input. */
async function wait(name, event) {
  say({ case: name, event });
  await input.next();
}

/** Joins the texts of a stream, and says when the first has come. */
async function joined(name, texts) {
  let text = "";
  for await (const part of texts) {
    if (text === "" && part !== "") say({ case: name, event: "first" });
    text += part;
  }
  return text;
}

/** Leaves a stream at its first text. */
async function left(name, texts) {
  let text = "";
  for await (const part of texts) {
    text = part;
    if (text !== "") break;
  }
  await wait(name, "cancelled");
  return text;
}

function cancellation() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/** Cancels a request before its response. */
async function cancelled(name, request, cancel) {
  const outcome = request.then(() => "answered", nameOf);
  await wait(name, "sent");
  cancel();
  const result = await outcome;
  await wait(name, "cancelled");
  return result;
}

/** Returns the class of an error, or its name if the class is DOMException. */
function nameOf(error) {
  return error instanceof DOMException ? error.name : error.constructor.name;
}

function errorOf(request) {
  return request.then(() => "answered", (error) => `${nameOf(error)} ${error.status ?? error.status_code}`);
}

function post(behaviour, body, options = {}) {
  const headers = { "Content-Type": "application/json", "X-Fake-Ollama": behaviour };
  return fetch(`${url}/api/chat`, { method: "POST", headers, body: JSON.stringify(body), ...options });
}

async function* fetched() {
  const { body } = await post("hold", chat);
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line).message.content;
  }
}

function ollama(behaviour, options = {}) {
  return new Ollama({ host: url, headers: { "X-Fake-Ollama": behaviour }, ...options });
}

async function* ollamaTexts() {
  for await (const part of await ollama("hold").chat({ ...chat, stream: true })) yield part.message.content;
}

/** Leaves a stream with abort(): ending the loop does not cancel the response. */
async function ollamaLeft(name) {
  const stream = await ollama("hold").chat({ ...chat, stream: true });
  const texts = [];
  try {
    for await (const part of stream) {
      texts.push(part.message.content);
      stream.abort();
    }
  } catch (error) {
    texts.push(nameOf(error));
  }
  await wait(name, "cancelled");
  return texts;
}

function openai(behaviour) {
  const defaultHeaders = { "X-Fake-Ollama": behaviour };
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "ollama", maxRetries: 0, defaultHeaders }).chat.completions;
}

async function* openaiTexts() {
  for await (const chunk of await openai("hold").create({ ...chat, stream: true })) {
    yield chunk.choices[0]?.delta.content ?? "";
  }
}

const cases = {
  "fetch: chat, streamed": (name) => joined(name, fetched()),
  "fetch: upload without length": async () => {
    const bytes = new Uint8Array(1_000_000);
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", bytes)).toString("hex");
    const options = { method: "POST", body: new Blob([bytes]).stream(), duplex: "half" };
    return (await fetch(`${url}/api/blobs/sha256:${digest}`, options)).status;
  },
  "fetch: cancelled before the response": (name) => {
    const { signal, abort } = cancellation();
    return cancelled(name, post("hang", large, { signal }), abort);
  },
  "fetch: left in the stream": (name) => left(name, fetched()),
  "fetch: timeout": async (name) => {
    const outcome = await post("timeout", large, { signal: AbortSignal.timeout(1000) }).catch((error) => error.name);
    await wait(name, "cancelled");
    return outcome;
  },
  "ollama: chat": async () => (await ollama("").chat(chat)).message.content,
  "ollama: chat, streamed": (name) => joined(name, ollamaTexts()),
  "ollama: embed": async () =>
    (await ollama("").embed({ model: "nomic-embed-text", input: ["a", "b"] })).embeddings.length,
  "ollama: list": async () => (await ollama("").list()).models.map(({ name }) => name),
  "ollama: tools": async () => (await ollama("tools").chat(chat)).message.tool_calls,
  "ollama: unknown model": () => errorOf(ollama("").chat(unknown)),
  "ollama: cancelled before the response": (name) => {
    const { signal, abort } = cancellation();
    const client = ollama("hang", { fetch: (input, init) => fetch(input, { ...init, signal }) });
    return cancelled(name, client.chat(large), abort);
  },
  "ollama: left in the stream": ollamaLeft,
  "openai: chat": async () => (await openai("").create(chat)).choices[0].message.content,
  "openai: chat, streamed": (name) => joined(name, openaiTexts()),
  "openai: unknown model": () => errorOf(openai("").create(unknown)),
  "openai: cancelled before the response": (name) => {
    const { signal, abort } = cancellation();
    return cancelled(name, openai("hang").create(large, { signal }), abort);
  },
  "openai: left in the stream": (name) => left(name, openaiTexts()),
};

for (const [name, run] of Object.entries(cases)) say({ case: name, result: await run(name) });
process.exit();
