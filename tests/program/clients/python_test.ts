/** Python's clients: httpx, ollama, openai and anthropic, in the versions of requirements.txt. */

import { assertEquals } from "@std/assert";
import { hasProgram, run, testOrSkip } from "../../support/deployment.ts";
import { cacheOf, CLIENT_MS, type Figures, pathOf, type Results, Stage, TEXT, TOOL_CALL } from "./matrix.ts";

const RESULTS: Results = {
  "httpx: chat, streamed": TEXT,
  "httpx: upload without length": 201,
  "httpx: cancelled before the response": "CancelledError",
  "httpx: left in the stream": "Hi",
  "httpx: timeout": "ReadTimeout",
  "ollama: chat": TEXT,
  "ollama: chat, streamed": TEXT,
  "ollama: tools": [TOOL_CALL],
  "ollama: embed": 2,
  "ollama: list, show and ps": [
    ["llama3.2:latest", "qwen3:latest", "nomic-embed-text:latest"],
    "llama",
    ["nomic-embed-text:latest", "llama3.2:latest"],
  ],
  "ollama: pull, streamed": "success",
  "ollama: create_blob": "sha256:83c4a",
  "ollama: unknown model": "ResponseError 404",
  "ollama: cancelled before the response": "CancelledError",
  "ollama: left in the stream": "Hi",
  "ollama: timeout": "ReadTimeout",
  "openai: chat": [TEXT, 5],
  "openai: chat, streamed": TEXT,
  "openai: tools": [TOOL_CALL.name],
  "openai: embeddings": 2,
  "openai: responses": TEXT,
  "openai: unknown model": "NotFoundError 404",
  "openai: cancelled before the response": "CancelledError",
  "openai: left in the stream": "Hi",
  "openai: timeout": "APITimeoutError",
  "anthropic: message": [TEXT, 5],
  "anthropic: message, streamed": TEXT,
  "anthropic: tools": [[TOOL_CALL.name, TOOL_CALL.arguments]],
  "anthropic: unknown model": "NotFoundError 404",
  "anthropic: cancelled before the response": "CancelledError",
  "anthropic: left in the stream": "Hi",
  "anthropic: timeout": "APITimeoutError",
};

const FIGURES: Figures = {
  outcomes: {
    "anthropic_messages client_closed": 3,
    "anthropic_messages client_error": 1,
    "anthropic_messages ok": 3,
    "chat client_closed": 6,
    "chat client_error": 1,
    "chat ok": 4,
    "embed ok": 1,
    "openai_chat client_closed": 3,
    "openai_chat client_error": 1,
    "openai_chat ok": 3,
    "openai_embeddings ok": 1,
    "openai_responses ok": 1,
  },
  requests: {
    "GET /api/ps 200": 1,
    "GET /api/tags 200": 1,
    "POST /api/blobs/:digest 201": 2,
    "POST /api/chat 200": 6,
    "POST /api/chat 404": 1,
    "POST /api/chat 499": 4,
    "POST /api/embed 200": 1,
    "POST /api/pull 200": 1,
    "POST /api/show 200": 1,
    "POST /v1/chat/completions 200": 4,
    "POST /v1/chat/completions 404": 1,
    "POST /v1/chat/completions 499": 2,
    "POST /v1/embeddings 200": 1,
    "POST /v1/messages 200": 4,
    "POST /v1/messages 404": 1,
    "POST /v1/messages 499": 2,
    "POST /v1/responses 200": 1,
  },
  generatedTokens: 43,
  cancelled: 8,
};

/** Prints what a virtual environment depends on. */
const INSTALLATION = "import sys; print(f'{sys.base_prefix}/{sys.implementation.cache_tag}')";

/** Runs a program. Throws what it printed if it fails. */
async function outputOf(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, { timeoutMs: CLIENT_MS });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout.trim();
}

/** Installs the packages in a virtual environment, and returns its Python. */
async function install(): Promise<string> {
  if (!hasProgram("python3")) throw new Error("no python3, Debian package python3-venv");
  const folder = cacheOf(`python${await outputOf("python3", "-c", INSTALLATION)}`);
  await outputOf("python3", "-m", "venv", folder);
  const python = `${folder}/bin/python`;
  const flags = ["--quiet", "--disable-pip-version-check", "--requirement", pathOf("requirements.txt")];
  await outputOf(python, "-m", "pip", "install", ...flags);
  return python;
}

const [python, reason] = await install().then(
  (path) => [path, undefined] as const,
  ({ message }: Error) => ["", message] as const,
);

testOrSkip(
  reason,
  "Python's clients chat, stream, call tools, upload, cancel, and get the errors that they know",
  async () => {
    await using stage = await Stage.start();
    assertEquals(await stage.run(python, [pathOf("client.py")]), RESULTS);
    assertEquals(await stage.figures(), FIGURES);
  },
);
