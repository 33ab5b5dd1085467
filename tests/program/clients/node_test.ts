/** Node's fetch, and the packages ollama and openai on it. */

import { assertEquals } from "@std/assert";
import sdk from "../sdk/deno.json" with { type: "json" };
import { run, testOrSkip } from "../../support/deployment.ts";
import { cacheOf, CLIENT_MS, pathOf, Stage, TEXT, TOOL_CALL } from "./matrix.ts";

const { ollama, openai } = sdk.imports;

/** Installs the packages beside a copy of the client, for Node looks for them there. Returns why not, if it fails. */
async function install(folder: string): Promise<string | undefined> {
  const packages = [ollama, openai].map((name) => name.replace("npm:", ""));
  const flags = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"];
  const options = { cwd: folder, timeoutMs: CLIENT_MS };
  const { code, stderr } = await run("npm", ["install", "--prefix", folder, ...flags, ...packages], options);
  return code === 0 ? undefined : `npm install fails: ${stderr}`;
}

const FOLDER = cacheOf("node");

testOrSkip(await install(FOLDER), "Node's fetch, ollama and openai chat, stream both ways, and cancel", async () => {
  const client = `${FOLDER}/client.mjs`;
  await Deno.copyFile(pathOf("client.mjs"), client);
  await using stage = await Stage.start();
  assertEquals(await stage.run("node", [client]), {
    "fetch: chat, streamed": TEXT,
    "fetch: upload without length": 201,
    "fetch: cancelled before the response": "AbortError",
    "fetch: left in the stream": "Hi",
    "fetch: timeout": "TimeoutError",
    "ollama: chat": TEXT,
    "ollama: chat, streamed": TEXT,
    "ollama: embed": 2,
    "ollama: list": ["llama3.2:latest", "qwen3:latest", "nomic-embed-text:latest"],
    "ollama: tools": [{ id: "call_ab12cd34", function: { index: 0, ...TOOL_CALL } }],
    "ollama: unknown model": "ResponseError 404",
    "ollama: cancelled before the response": "AbortError",
    "ollama: left in the stream": ["Hi", "AbortError"],
    "openai: chat": TEXT,
    "openai: chat, streamed": TEXT,
    "openai: unknown model": "NotFoundError 404",
    "openai: cancelled before the response": "APIUserAbortError",
    "openai: left in the stream": "Hi",
  });
  assertEquals(await stage.figures(), {
    outcomes: {
      "chat client_closed": 5,
      "chat client_error": 1,
      "chat ok": 4,
      "embed ok": 1,
      "openai_chat client_closed": 2,
      "openai_chat client_error": 1,
      "openai_chat ok": 2,
    },
    requests: {
      "GET /api/tags 200": 1,
      "POST /api/blobs/:digest 201": 1,
      "POST /api/chat 200": 6,
      "POST /api/chat 404": 1,
      "POST /api/chat 499": 3,
      "POST /api/embed 200": 1,
      "POST /v1/chat/completions 200": 3,
      "POST /v1/chat/completions 404": 1,
      "POST /v1/chat/completions 499": 1,
    },
    generatedTokens: 26,
    cancelled: 6,
  });
});
