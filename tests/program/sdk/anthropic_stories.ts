/** `@anthropic-ai/sdk`. */

import Anthropic from "@anthropic-ai/sdk";
import { all, errorOf, MESSAGES, MODEL, type Stories, TOOLS_HEADER } from "./stories.ts";

const REQUEST = { model: MODEL, max_tokens: 100, messages: MESSAGES };
const TOOLS = [{
  name: "get_time",
  input_schema: {
    type: "object" as const,
    required: ["tz"],
    properties: { tz: { type: "string" } },
  },
}];

function client(baseURL: string, defaultHeaders = {}): Anthropic {
  return new Anthropic({
    baseURL,
    apiKey: "none",
    maxRetries: 0,
    defaultHeaders,
  });
}

export const ANTHROPIC: Stories = {
  "messages": (url) => client(url).messages.create(REQUEST),
  "messages, streamed": async (url) => all(await client(url).messages.create({ ...REQUEST, stream: true })),
  "messages, gathered from a stream": (url) => client(url).messages.stream(REQUEST).finalMessage(),
  "messages with tools": (url) => client(url, TOOLS_HEADER).messages.create({ ...REQUEST, tools: TOOLS }),
  "messages with tools, streamed": async (url) =>
    all(
      await client(url, TOOLS_HEADER).messages.create({
        ...REQUEST,
        tools: TOOLS,
        stream: true,
      }),
    ),
  "messages, thinking, gathered from a stream": (url) =>
    client(url).messages.stream({ ...REQUEST, model: "qwen3" }).finalMessage(),
  "messages with a model that is not there": (url) =>
    errorOf(() => client(url).messages.create({ ...REQUEST, model: "none" })),
  "messages with a model that is not there, streamed": (url) =>
    errorOf(() => client(url).messages.create({ ...REQUEST, model: "none", stream: true })),
};
