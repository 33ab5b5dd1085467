/**
 * `deno task demo`: the exporter without an Ollama. There is a fake one with models that behave in different ways, the
 * exporter in front of it, and made-up traffic of all APIs, so that there is something to look at.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { createExporter, type Exporter } from "../lib/exporter.ts";
import type { Listener } from "../lib/http.ts";
import { listen } from "../lib/listen/deno_listener.ts";
import { createLog } from "../lib/log/log.ts";
import { type FakeOllama, startFakeOllama } from "../tests/fake_ollama/mod.ts";
import { CHARACTERS } from "./demo/models.ts";
import { answerOf, runTraffic } from "./demo/traffic.ts";

/** Only this machine sees the demo. */
const HOSTNAME = "127.0.0.1";
const PORT = 8000;
/** Ports that are tried, this and those after it. */
const PORTS_TRIED = 100;

/** A demo that runs. */
export interface Demo extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  readonly fake: FakeOllama;
  /** Ends it; leaves nothing open. */
  close(): Promise<void>;
}

/** Starts a demo, on the first port that is free. */
export async function startDemo(): Promise<Demo> {
  const fake = await startFakeOllama({
    models: Object.values(CHARACTERS).map(({ model }) => model),
    release: "0.40",
    keptRequests: 0,
    tokens: 120,
    tokenDelayMs: 20,
    headersDelayMs: 250,
    choose: answerOf,
  });
  const exporter = createExporter({
    upstream: new URL(fake.url),
    version: denoJson.version,
    // What goes wrong in the demo is meant to.
    log: createLog({ level: "ERROR", format: "text" }),
    metricsPath: "/metrics",
    modelLimit: 200,
    probeTimeoutMs: 3000,
    openaiStreamUsage: true,
    allowedHosts: [],
    fetch,
  });
  const listener = listenSomewhere(exporter);
  const url = `http://${HOSTNAME}:${listener.address.port}`;
  const controller = new AbortController();
  const traffic = runTraffic({
    url,
    signal: controller.signal,
    // Ollama does not list a model that it is still loading.
    onLoad: (model) => fake.state.loaded.delete(model),
    onUse: (model, staysMs) => fake.state.touch(model, staysMs),
  });
  const close = async (): Promise<void> => {
    controller.abort();
    await traffic;
    exporter.endViewers();
    listener.abort();
    await listener.shutdown();
    exporter.close();
    await fake.close();
  };
  return { url, port: listener.address.port, fake, close, [Symbol.asyncDispose]: close };
}

function listenSomewhere({ handlers }: Exporter): Listener {
  for (let port = PORT;; port++) {
    try {
      return listen(handlers.both, { hostname: HOSTNAME, port });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || port === PORT + PORTS_TRIED) throw error;
    }
  }
}

/** What is said when it runs. */
function greeting({ url, port }: Demo): string {
  return [
    "This is a demo: a fake Ollama, and traffic that is made up.",
    ...port === PORT ? [] : [`Port ${PORT} is taken, so it is on port ${port}.`],
    "",
    `  Status page   ${url}/-/`,
    `  Metrics       ${url}/metrics`,
    `  Ollama's API  ${url}   curl ${url}/api/generate -d '{"model":"llama3.2","prompt":"Hi"}'`,
    "",
    "Ctrl-C ends it.",
  ].join("\n");
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

async function main(): Promise<void> {
  const ended = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => ended.resolve());
  await using demo = await startDemo();
  print(greeting(demo));
  await ended.promise;
  print("\nThe demo ends.");
}

if (import.meta.main) {
  await main();
  Deno.exit();
}
