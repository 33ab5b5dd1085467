/**
 * Tries an executable on the platform that it is for.
 *
 * @module
 */

const MODEL = "smoke:latest";
const STREAM = [
  { model: MODEL, message: { role: "assistant", content: "Hi" }, done: false },
  { model: MODEL, done: true, done_reason: "stop", total_duration: 2e6, eval_count: 1, prompt_eval_count: 1 },
].map((message) => `${JSON.stringify(message)}\n`).join("");

/** Until it listens, and for each command. */
const START_TIMEOUT_MS = 60_000;

/**
 * Runs an executable: `--version`, a proxied request with its metrics, and `health`.
 *
 * @throws {Error} If it does something else than expected.
 */
export async function smoke(path: string, version: string): Promise<void> {
  const printed = await run(path, ["--version"], {});
  expect(printed.startsWith(`ollama-exporter ${version} `), `--version prints ${printed}`);
  await using ollama = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, answer);
  const env = {
    OLLAMA_HOST: `http://127.0.0.1:${ollama.addr.port}`,
    LISTEN_ADDRESS: "127.0.0.1:0",
    LOG_FORMAT: "json",
  };
  // Terminated at the end; on Windows it is killed.
  await using process = new Deno.Command(path, { env, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  const address = await addressOf(process.stderr);
  const request = { method: "POST", body: JSON.stringify({ model: MODEL, messages: [] }) };
  const response = await fetch(`http://${address}/api/chat`, request);
  const text = await response.text();
  expect(response.status === 200 && text === STREAM, `POST /api/chat returns ${response.status} ${text}`);
  const metrics = await (await fetch(`http://${address}/metrics`)).text();
  expect(metrics.includes(`ollama_requests_total{model="${MODEL}"} 1\n`), `/metrics has\n${metrics}`);
  const health = await run(path, ["health"], { LISTEN_ADDRESS: address });
  expect(health.startsWith("HTTP/1.1 200"), `health prints ${health}`);
}

function answer(request: Request): Response {
  const { pathname } = new URL(request.url);
  if (pathname === "/api/chat") return new Response(STREAM, { headers: { "content-type": "application/x-ndjson" } });
  if (pathname === "/api/version") return Response.json({ version: "0.0.0" });
  return Response.json({ models: [] });
}

/** Reads the log until it has the address, and the rest in the background. */
async function addressOf(log: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  let text = "";
  const reader = log.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => reader.cancel(), START_TIMEOUT_MS);
  for (;;) {
    const { done, value = "" } = await reader.read();
    text += value;
    const [, address] = /"Listening".*?"address":"([^"]+)"/.exec(text) ?? [];
    if (address !== undefined) {
      clearTimeout(timer);
      (async () => {
        while (!(await reader.read()).done);
      })();
      return address;
    }
    if (done) throw new Error(`it does not listen:\n${text}`);
  }
}

async function run(path: string, args: string[], env: Record<string, string>): Promise<string> {
  const signal = AbortSignal.timeout(START_TIMEOUT_MS);
  const { stdout, stderr } = await new Deno.Command(path, { args, env, signal, stdin: "null" }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

function expect(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}
