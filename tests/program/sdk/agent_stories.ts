/** Vercel's AI SDK, `ai`, as an agent that calls a tool and goes on with its result. */

import { createOpenAICompatible, type OpenAICompatibleProvider } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { AGENT_HEADER, all, EMBEDDER, MODEL, type Stories } from "./stories.ts";

const TOOLS = {
  get_time: tool({
    description: "The time",
    inputSchema: z.object({ tz: z.string() }),
    execute: ({ tz }) => `12:00 in ${tz}`,
  }),
};

function provider(
  url: string,
  includeUsage: boolean,
): OpenAICompatibleProvider {
  return createOpenAICompatible({
    name: "ollama",
    baseURL: `${url}/v1`,
    includeUsage,
    headers: AGENT_HEADER,
  });
}

function request(
  url: string,
  includeUsage: boolean,
): Parameters<typeof generateText<typeof TOOLS>>[0] {
  return {
    model: provider(url, includeUsage)(MODEL),
    prompt: "What time is it?",
    tools: TOOLS,
    stopWhen: stepCountIs(3),
    maxRetries: 0,
  };
}

async function generated(url: string): Promise<unknown> {
  const { text, steps, totalUsage } = await generateText(request(url, false));
  return { text, totalUsage, steps: steps.map(summaryOf) };
}

async function streamed(url: string, includeUsage: boolean): Promise<unknown> {
  const result = streamText(request(url, includeUsage));
  const pieces = await all(result.textStream);
  const steps = await result.steps;
  return {
    pieces,
    totalUsage: await result.totalUsage,
    steps: steps.map(summaryOf),
  };
}

/** What a step brought, without the ids and times that the agent itself makes up. */
function summaryOf(
  step: Awaited<ReturnType<typeof generateText<typeof TOOLS>>>["steps"][number],
): unknown {
  const {
    text,
    finishReason,
    usage,
    toolCalls,
    toolResults,
    response: { id, modelId, timestamp },
  } = step;
  return {
    text,
    finishReason,
    usage,
    toolCalls,
    toolResults,
    id,
    modelId,
    timestamp,
  };
}

async function embedded(url: string): Promise<unknown> {
  const model = provider(url, false).embeddingModel(EMBEDDER);
  const { embeddings, usage } = await embedMany({
    model,
    values: ["a", "b"],
    maxRetries: 0,
  });
  return { embeddings, usage };
}

export const AGENT: Stories = {
  "an agent": generated,
  "an agent, streamed": (url) => streamed(url, false),
  "an agent with usage, streamed": (url) => streamed(url, true),
  "vectors": embedded,
};
