/** The HttpClient of the JDK, which LangChain4j and Spring AI use. */

import { assertEquals } from "@std/assert";
import { testWith } from "../../support/deployment.ts";
import { pathOf, Stage, TEXT } from "./matrix.ts";

/** As the client reports it, with the escapes of JSON. */
const ESCAPED = TEXT.replaceAll("<", "\\u003c").replaceAll(">", "\\u003e");

testWith(["java"], "The JDK's HttpClient chats, streams, uploads, cancels, and offers upgrades in vain", async () => {
  await using stage = await Stage.start();
  assertEquals(await stage.run("java", [pathOf("Client.java")]), {
    "get": "200 HTTP_1_1 Ollama is running",
    "head": "200 ",
    "chat": ESCAPED,
    "chat, streamed": ESCAPED,
    "chat, streamed, asynchronous": ESCAPED,
    "chat, unknown model": `404 {"error":"model 'none' not found"}`,
    "upload without length": "201",
    "chat, cancelled before the response": "cancelled",
    "chat, left in the stream": "Hi",
    "chat, timeout": "HttpTimeoutException",
    "get afterwards": "200 HTTP_1_1 Ollama is running",
  });
  assertEquals(await stage.figures(), {
    outcomes: { "chat client_closed": 3, "chat client_error": 1, "chat ok": 3 },
    requests: {
      "GET / 200": 2,
      "HEAD /api/tags 200": 1,
      "POST /api/blobs/:digest 201": 1,
      "POST /api/chat 200": 4,
      "POST /api/chat 404": 1,
      "POST /api/chat 499": 2,
    },
    generatedTokens: 15,
    cancelled: 2,
  });
});
