/**
 * Runs all stories against the server whose address is the argument, and prints what came of each as a line of JSON.
 *
 * @module
 */

import { AGENT } from "./agent_stories.ts";
import { ANTHROPIC } from "./anthropic_stories.ts";
import { OLLAMA } from "./ollama_stories.ts";
import { OPENAI } from "./openai_stories.ts";

const CLIENTS = {
  "ollama": OLLAMA,
  "openai": OPENAI,
  "@anthropic-ai/sdk": ANTHROPIC,
  "ai": AGENT,
};

const [url = ""] = Deno.args;
for (const [client, stories] of Object.entries(CLIENTS)) {
  for (const [story, run] of Object.entries(stories)) {
    const result = await run(url);
    Deno.stdout.writeSync(
      new TextEncoder().encode(
        `${JSON.stringify({ client, story, result })}\n`,
      ),
    );
  }
}
