/** `deno task demo`, as a newcomer runs it. */

import { assert, assertEquals, assertMatch, assertStringIncludes, fail } from "@std/assert";
import { APIS } from "../../lib/observation.ts";
import { endpointOf } from "../../lib/reading/endpoints.ts";
import { CHATS, EMBEDDINGS } from "../../tools/demo/traffic.ts";
import { REPOSITORY } from "../support/fixtures.ts";
import { Scrape, until } from "../support/helpers.ts";
import { StatusViewer } from "../support/status_client.ts";

/** A demo in a process of its own. It is ended at the end of its block. */
class DemoProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<void>;
  /** What it has printed. */
  text = "";

  constructor() {
    const args = ["task", "--quiet", "demo"];
    const options = { args, cwd: REPOSITORY, stdin: "null", stdout: "piped", stderr: "inherit" } as const;
    this.#child = new Deno.Command(Deno.execPath(), options).spawn();
    this.#read = this.#keep(this.#child.stdout);
  }

  /** Where its page is, as it says. */
  async url(): Promise<string> {
    await until(() => this.text.includes("Press Ctrl-C to stop.\n"), "the demo says where to look");
    return /Status page +(http:\S+)\/-\/\n/.exec(this.text)?.[1] ?? fail(this.text);
  }

  async #keep(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.text += text;
  }

  /** Ctrl-C. */
  async interrupt(): Promise<number> {
    this.#child.kill("SIGINT");
    const { code } = await this.#child.status;
    await this.#read;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#read;
  }
}

async function scrape(url: string): Promise<Scrape> {
  return new Scrape(await (await fetch(`${url}/metrics`)).text());
}

async function isRefused(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).body?.cancel();
    return false;
  } catch {
    return true;
  }
}

Deno.test("`deno task demo` introduces itself, has traffic, and stops on Ctrl-C", async () => {
  await using demo = new DemoProcess();
  const url = await demo.url();
  assertMatch(demo.text, /^Demo: /);
  const page = await fetch(`${url}/-/`);
  assertStringIncludes(await page.text(), "<title>Ollama exporter</title>");
  const ended = async (): Promise<number> => (await scrape(url)).value("ollama_requests_total") ?? 0;
  await until(async () => await ended() > 0, "requests are counted");
  {
    await using viewer = await StatusViewer.open(url);
    const { ollama, models } = await viewer.next("present", ({ ollama }) => ollama.isUp === true);
    assertEquals(ollama.listsLoaded, true);
    assert(models.length >= 5, "models of different kinds");
  }
  assertEquals(await demo.interrupt(), 0);
  assertMatch(demo.text, /Stopping\.\n$/);
  assert(await isRefused(url));
});

Deno.test("`deno task demo` takes the next free port if 8000 is in use, and has traffic of several APIs", async () => {
  using _taken = takePort(8000);
  await using demo = new DemoProcess();
  const url = await demo.url();
  const port = Number(new URL(url).port);
  assert(port > 8000);
  assertStringIncludes(demo.text, `Port 8000 is in use; listening on port ${port}.\n`);
  await until(async () => {
    const now = await scrape(url);
    const ended = (api: string): boolean =>
      now.value("ollama_request_outcomes_total", { api, outcome: "ok" }) !== undefined;
    if (
      ["ollama-python", "OpenAI"].some((client) => now.value("ollama_client_requests_total", { client }) === undefined)
    ) {
      return false;
    }
    return ["chat", "generate", "openai_chat"].every(ended) && ["embed", "embeddings", "openai_embeddings"].some(ended);
  }, "several APIs are asked, by several clients");
  assertEquals((await scrape(url)).value("ollama_exporter_parse_errors_total"), 0);
});

Deno.test("The traffic of the demo is of all APIs", () => {
  const paths = [...CHATS, ...EMBEDDINGS].map((ask) => ask("llama3.2", true)[0]);
  const apis = new Set(paths.map((path) => endpointOf("POST", path).api));
  assertEquals(apis, new Set(APIS));
});

/** Takes a port, unless somebody else has. */
function takePort(port: number): Disposable {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch {
    return { [Symbol.dispose](): void {} };
  }
}
