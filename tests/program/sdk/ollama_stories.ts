/** `ollama` for JavaScript. */

import { Ollama } from "ollama";
import { all, EMBEDDER, errorOf, MESSAGES, MODEL, type Stories, TOOLS_HEADER } from "./stories.ts";

const TOOLS = [{
  type: "function",
  function: {
    name: "get_time",
    description: "The time",
    parameters: {
      type: "object",
      required: ["tz"],
      properties: { tz: { type: "string", description: "Zone" } },
    },
  },
}];

function client(host: string, headers = {}): Ollama {
  return new Ollama({ host, headers });
}

async function chatWithTools(url: string, stream: boolean): Promise<unknown> {
  const ollama = client(url, TOOLS_HEADER);
  const request = { model: MODEL, messages: MESSAGES, tools: TOOLS };
  return stream ? all(await ollama.chat({ ...request, stream: true })) : await ollama.chat(request);
}

/** A client that leaves in the middle of a stream. */
async function left(url: string): Promise<unknown> {
  const ollama = client(url);
  const stream = await ollama.generate({
    model: MODEL,
    prompt: "Hello",
    stream: true,
  });
  return await errorOf(async () => {
    for await (const _ of stream) stream.abort();
  });
}

export const OLLAMA: Stories = {
  "chat": (url) => client(url).chat({ model: MODEL, messages: MESSAGES }),
  "chat, streamed": async (url) =>
    all(
      await client(url).chat({
        model: MODEL,
        messages: MESSAGES,
        stream: true,
      }),
    ),
  "chat with tools": (url) => chatWithTools(url, false),
  "chat with tools, streamed": (url) => chatWithTools(url, true),
  "chat, thinking": async (url) =>
    all(
      await client(url).chat({
        model: "qwen3",
        messages: MESSAGES,
        stream: true,
      }),
    ),
  "chat with a model that is not there": (url) =>
    errorOf(() => client(url).chat({ model: "none", messages: MESSAGES })),
  "chat with a model that is not there, streamed": (url) =>
    errorOf(async () =>
      all(
        await client(url).chat({
          model: "none",
          messages: MESSAGES,
          stream: true,
        }),
      )
    ),
  "generate": (url) => client(url).generate({ model: MODEL, prompt: "Hello" }),
  "generate, streamed": async (url) =>
    all(
      await client(url).generate({
        model: MODEL,
        prompt: "Hello",
        stream: true,
      }),
    ),
  "generate, left": left,
  "generate, nothing but loading": (url) => client(url).generate({ model: MODEL, prompt: "" }),
  "embed": (url) => client(url).embed({ model: EMBEDDER, input: ["a", "b"] }),
  "embeddings": (url) => client(url).embeddings({ model: EMBEDDER, prompt: "a" }),
  "pull": (url) => client(url).pull({ model: "qwen3" }),
  "pull, streamed": async (url) => all(await client(url).pull({ model: "qwen3", stream: true })),
  "push, streamed": async (url) => all(await client(url).push({ model: MODEL, stream: true })),
  "create, streamed": async (url) => all(await client(url).create({ model: "mine", from: MODEL, stream: true })),
  "copy, show and delete": async (url) => {
    const ollama = client(url);
    const copied = await ollama.copy({ source: MODEL, destination: "copy" });
    const { details, capabilities } = await ollama.show({ model: "copy" });
    return {
      copied,
      details,
      capabilities,
      deleted: await ollama.delete({ model: "copy" }),
    };
  },
  "version": (url) => client(url).version(),
};
