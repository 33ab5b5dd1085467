/** curl, with the options that change what goes over the wire. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { testWith } from "../../support/deployment.ts";
import { CHAT } from "../../support/helpers.ts";
import { CLIENT_MS, Stage, TEXT } from "./matrix.ts";

const JSON_BODY = ["--data-binary", JSON.stringify(CHAT)];
const LARGE_BODY = ["--data-binary", JSON.stringify({ ...CHAT, options: { note: "x".repeat(100_000) } })];

/** A running curl. */
class Curl {
  readonly #child: Deno.ChildProcess;
  readonly #errors: Promise<string>;
  readonly #lines: ReadableStreamDefaultReader<string>;

  /** @param input Written to standard input. */
  constructor(args: readonly string[], input: BlobPart = "") {
    const options = ["--silent", "--show-error", "--no-buffer", "--write-out", "\n%{http_code}\n"];
    this.#child = new Deno.Command("curl", {
      args: [...options, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(CLIENT_MS),
    }).spawn();
    this.#errors = new Response(this.#child.stderr).text();
    const texts = this.#child.stdout.pipeThrough(new TextDecoderStream());
    this.#lines = texts.pipeThrough(new TextLineStream()).getReader();
    // curl may end before it has read everything.
    new Blob([input]).stream().pipeTo(this.#child.stdin).catch(() => {});
  }

  /** Returns the next line of its output. */
  async line(): Promise<string> {
    return (await this.#lines.read()).value ?? "";
  }

  /** Cancels as Ctrl-C does. */
  interrupt(): void {
    this.#child.kill("SIGINT");
  }

  /** Waits for its end, and returns the lines that were not read. */
  async end(): Promise<{ code: number; lines: string[]; errors: string }> {
    const lines: string[] = [];
    for (let next = await this.#lines.read(); !next.done; next = await this.#lines.read()) lines.push(next.value);
    const { code } = await this.#child.status;
    return { code, lines: lines.filter((line) => line !== ""), errors: await this.#errors };
  }
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => JSON.parse(line).message.content).join("");
}

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Reads a stream as it comes: Ollama sends the rest after the first line was read. */
async function chat(stage: Stage, ...args: string[]): Promise<void> {
  const [written] = args;
  const curl = new Curl([...args, "--header", "X-Fake-Ollama: hold", ...JSON_BODY, `${stage.url}/api/chat`]);
  const first = await curl.line();
  stage.release();
  const { code, lines, errors } = await curl.end();
  assertEquals([code, lines.pop()], [0, "200"], `${written} ${errors}`);
  assertEquals(textOf([first, ...lines]), TEXT);
}

testWith(["curl"], "curl chats over every version, uploads, compresses, and cancels", async (t) => {
  await using stage = await Stage.start();
  const post = (behaviour: string): string[] => ["--header", `X-Fake-Ollama: ${behaviour}`, `${stage.url}/api/chat`];

  for (const version of ["--http2", "--http1.1", "--http1.0"]) {
    await t.step(`a stream with ${version}`, () => chat(stage, version));
  }

  await t.step("an upload from standard input, in chunks", async () => {
    const bytes = new Uint8Array(3_000_000).fill(7);
    const url = `${stage.url}/api/blobs/sha256:${await digestOf(bytes)}`;
    const { lines, errors } = await new Curl(["--request", "POST", "--upload-file", "-", url], bytes).end();
    assertEquals(lines, ["201"], errors);
    assertEquals(stage.requests.at(-1)?.header("transfer-encoding"), "chunked");
  });

  await t.step("an upload that waits for 100 Continue", async () => {
    const bytes = new Uint8Array(2_000_000).fill(8);
    const url = `${stage.url}/api/blobs/sha256:${await digestOf(bytes)}`;
    const args = ["--verbose", "--header", "Expect: 100-continue", "--data-binary", "@-", url];
    const { lines, errors } = await new Curl(args, bytes).end();
    assertEquals(lines, ["201"], errors);
    assertStringIncludes(errors, "< HTTP/1.1 100 Continue");
  });

  await t.step("HEAD", async () => {
    const { lines } = await new Curl(["--head", `${stage.url}/api/tags`]).end();
    assertEquals([lines[0], lines.at(-1)], ["HTTP/1.1 200 OK", "200"]);
    assertMatch(lines.join("\n"), /^content-length: [1-9]\d*$/im);
  });

  await t.step("a compressed response", async () => {
    const { lines } = await new Curl(["--include", "--compressed", `${stage.url}/metrics`]).end();
    assertMatch(lines.join("\n"), /^content-encoding: gzip$/im);
    assertMatch(lines.join("\n"), /^ollama_up 1$/m);
  });

  await t.step("an unknown model", async () => {
    const body = JSON.stringify({ ...CHAT, model: "none" });
    const { code, lines } = await new Curl(["--fail-with-body", "--data-binary", body, ...post("")]).end();
    assertEquals([code, lines], [22, [`{"error":"model 'none' not found"}`, "404"]]);
  });

  await t.step("Ctrl-C before the response, in a stream, and a timeout", async () => {
    const before = new Curl([...LARGE_BODY, ...post("hang")]);
    await stage.untilSent();
    before.interrupt();
    const within = new Curl([...JSON_BODY, ...post("hold")]);
    assertEquals(textOf([await within.line()]), "Hi");
    within.interrupt();
    const timeout = new Curl(["--max-time", "1", ...LARGE_BODY, ...post("timeout")]);
    assertEquals((await timeout.end()).code, 28);
    await stage.untilFree();
    await Promise.all([before.end(), within.end()]);
  });

  assertEquals(await stage.figures(), {
    outcomes: { "chat client_closed": 3, "chat client_error": 1, "chat ok": 3 },
    requests: {
      "HEAD /api/tags 200": 1,
      "POST /api/blobs/:digest 201": 2,
      "POST /api/chat 200": 4,
      "POST /api/chat 404": 1,
      "POST /api/chat 499": 2,
    },
    generatedTokens: 15,
    cancelled: 2,
  });
});
