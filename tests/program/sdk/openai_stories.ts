/** `openai`. */

import OpenAI from "openai";
import { all, EMBEDDER, errorOf, MESSAGES, MODEL, type Stories, TOOLS_HEADER } from "./stories.ts";

const PARAMETERS = {
  type: "object",
  required: ["tz"],
  properties: { tz: { type: "string" } },
};
const TOOLS = [{
  type: "function" as const,
  function: { name: "get_time", parameters: PARAMETERS },
}];
const CHAT = { model: MODEL, messages: MESSAGES };
const ASKING = { stream_options: { include_usage: true } };
const PROMPT = { model: MODEL, prompt: "Hello" };
const INPUT = { model: MODEL, input: "Hello" };

function client(url: string, defaultHeaders = {}): OpenAI {
  return new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: "none",
    maxRetries: 0,
    defaultHeaders,
  });
}

async function transcribed(url: string): Promise<unknown> {
  const file = new File(["sound"], "sound.wav");
  return await client(url).audio.transcriptions.create({ model: MODEL, file });
}

export const OPENAI: Stories = {
  "chat": (url) => client(url).chat.completions.create(CHAT),
  "chat, streamed": async (url) => all(await client(url).chat.completions.create({ ...CHAT, stream: true })),
  "chat with usage, streamed": async (url) =>
    all(
      await client(url).chat.completions.create({
        ...CHAT,
        stream: true,
        ...ASKING,
      }),
    ),
  "chat, gathered from a stream": (url) => client(url).chat.completions.stream(CHAT).finalChatCompletion(),
  "chat with usage, gathered from a stream": async (url) => {
    const stream = client(url).chat.completions.stream({ ...CHAT, ...ASKING });
    return {
      completion: await stream.finalChatCompletion(),
      usage: await stream.totalUsage(),
    };
  },
  "chat with tools": (url) =>
    client(url, TOOLS_HEADER).chat.completions.create({
      ...CHAT,
      tools: TOOLS,
    }),
  "chat with tools, streamed": async (url) =>
    all(
      await client(url, TOOLS_HEADER).chat.completions.create({
        ...CHAT,
        tools: TOOLS,
        stream: true,
      }),
    ),
  "chat with tools, gathered from a stream": async (url) => {
    const stream = client(url, TOOLS_HEADER).chat.completions.stream({
      ...CHAT,
      tools: TOOLS,
    });
    return await stream.finalMessage();
  },
  "chat, thinking, streamed": async (url) =>
    all(
      await client(url).chat.completions.create({
        ...CHAT,
        model: "qwen3",
        stream: true,
      }),
    ),
  "chat with a model that is not there": (url) =>
    errorOf(() => client(url).chat.completions.create({ ...CHAT, model: "none" })),
  "chat with a model that is not there, streamed": (url) =>
    errorOf(() =>
      client(url).chat.completions.create({
        ...CHAT,
        model: "none",
        stream: true,
      })
    ),
  "chat without messages, streamed": (url) =>
    errorOf(() =>
      client(url).chat.completions.create({
        ...CHAT,
        messages: [],
        stream: true,
      })
    ),
  "completions": (url) => client(url).completions.create(PROMPT),
  "completions, streamed": async (url) => all(await client(url).completions.create({ ...PROMPT, stream: true })),
  "completions with usage, streamed": async (url) =>
    all(
      await client(url).completions.create({
        ...PROMPT,
        stream: true,
        ...ASKING,
      }),
    ),
  "embeddings": (url) => client(url).embeddings.create({ model: EMBEDDER, input: ["a", "b"] }),
  "embeddings as numbers": (url) =>
    client(url).embeddings.create({
      model: EMBEDDER,
      input: "a",
      encoding_format: "float",
    }),
  "responses": (url) => client(url).responses.create(INPUT),
  "responses, streamed": async (url) => all(await client(url).responses.create({ ...INPUT, stream: true })),
  "responses, gathered from a stream": (url) => client(url).responses.stream(INPUT).finalResponse(),
  "responses with tools, streamed": async (url) => {
    const tools = [{
      type: "function" as const,
      name: "get_time",
      parameters: PARAMETERS,
      strict: false,
    }];
    return all(
      await client(url, TOOLS_HEADER).responses.create({
        ...INPUT,
        tools,
        stream: true,
      }),
    );
  },
  "transcriptions": transcribed,
  "models": async (url) => (await client(url).models.list()).data,
  "a model": (url) => client(url).models.retrieve(MODEL),
};
