/** Go's net/http, which Ollama's own command line uses. */

import { assertEquals } from "@std/assert";
import { run, testWith } from "../../support/deployment.ts";
import { cacheOf, CLIENT_MS, pathOf, Stage, TEXT } from "./matrix.ts";

/** Compiles the client, and returns its path. */
async function build(): Promise<string> {
  const output = `${cacheOf("go")}/client`;
  const env = { ...Deno.env.toObject(), GOCACHE: cacheOf("go/build"), GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local" };
  const built = await run("go", ["build", "-o", output, pathOf("client.go")], { env, timeoutMs: CLIENT_MS });
  assertEquals(built.code, 0, built.stderr);
  return output;
}

testWith(["go"], "Go's net/http chats, streams both ways, keeps its connection, and cancels", async () => {
  await using stage = await Stage.start();
  assertEquals(await stage.run(await build(), []), {
    "chat": TEXT,
    "chat, streamed": `HTTP/1.1 ${TEXT}`,
    "chat, unknown model": `404 {"error":"model 'none' not found"}`,
    "one connection for three requests": [false, true, true],
    "upload without length": 201,
    "upload with length": 201,
    "upload of a model in chunks": 201,
    "chat, cancelled before the response": true,
    "chat, left in the stream": "Hi",
    "chat, timeout": true,
  });
  assertEquals(await stage.figures(), {
    outcomes: { "chat client_closed": 3, "chat client_error": 1, "chat ok": 2 },
    requests: {
      "GET /api/tags 200": 3,
      "POST /api/blobs/:digest 201": 3,
      "POST /api/chat 200": 3,
      "POST /api/chat 404": 1,
      "POST /api/chat 499": 2,
    },
    generatedTokens: 10,
    cancelled: 2,
  });
});
