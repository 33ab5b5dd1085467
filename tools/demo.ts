/**
 * `deno task demo`: the exporter without Ollama. Starts a simulated Ollama server whose models behave in different
 * ways, the exporter in front of it, and synthetic traffic of all APIs.
 *
 * @module
 */

import denoJson from "../deno.json" with { type: "json" };
import { clientIdentity } from "../lib/clients/client_identity.ts";
import { createExporter, type Exporter } from "../lib/exporter.ts";
import type { Listener } from "../lib/http.ts";
import { listen } from "../lib/listen/deno_listener.ts";
import { createLog } from "../lib/log/log.ts";
import { type FakeOllama, startFakeOllama } from "../tests/fake_ollama/mod.ts";
import { CHARACTERS } from "./demo/models.ts";
import { answerOf, runTraffic, type TrafficOptions } from "./demo/traffic.ts";

/** Loopback: the demo is visible to this machine only. */
const HOSTNAME = "127.0.0.1";
const PORT = 8000;
/** Number of ports tried, from `PORT` up. */
const PORTS_TRIED = 100;

/** Maximum number of clients that are told apart; the traffic has six. */
const CLIENT_LIMIT = 50;

/** Running demo. */
export interface Demo extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly port: number;
  readonly fake: FakeOllama;
  /** Stops traffic and servers, and closes all their connections. */
  close(): Promise<void>;
}

/** Starts the simulated Ollama server of the demo. */
export function startDemoOllama(): Promise<FakeOllama> {
  return startFakeOllama({
    models: Object.values(CHARACTERS).map(({ model }) => model),
    release: "0.40",
    keptRequests: 0,
    tokens: 120,
    tokenDelayMs: 20,
    headersDelayMs: 250,
    choose: answerOf,
  });
}

/** Options of {@linkcode runDemoTraffic}. */
export interface DemoTraffic extends Pick<TrafficOptions, "url" | "signal" | "eventPauseMs"> {
  readonly fake: FakeOllama;
}

/** Runs the traffic of the demo, and keeps the list of loaded models. Resolves when the signal has stopped it. */
export function runDemoTraffic({ fake, ...options }: DemoTraffic): Promise<void> {
  return runTraffic({
    ...options,
    // Ollama does not list a model that it is still loading.
    onLoad: (model) => fake.state.loaded.delete(model),
    onUse: (model, staysMs) => fake.state.touch(model, staysMs),
  });
}

/** Starts a demo on the first free port. */
export async function startDemo(): Promise<Demo> {
  const fake = await startDemoOllama();
  const exporter = createExporter({
    upstream: new URL(fake.url),
    version: denoJson.version,
    homepage: denoJson.homepage,
    // Failures in the demo are simulated.
    log: createLog({ level: "ERROR", format: "text" }),
    metricsPath: "/metrics",
    modelLimit: 200,
    clients: { clientOf: clientIdentity({ label: "user-agent", trustedProxies: [] }), limit: CLIENT_LIMIT },
    probeTimeoutMs: 3000,
    openaiStreamUsage: true,
    allowedHosts: [],
    bound: { proxy: HOSTNAME, admin: HOSTNAME },
    fetch,
  });
  const listener = listenOnFreePort(exporter);
  const url = `http://${HOSTNAME}:${listener.address.port}`;
  const controller = new AbortController();
  const traffic = runDemoTraffic({ fake, url, signal: controller.signal });
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

function listenOnFreePort({ handlers }: Exporter): Listener {
  for (let port = PORT;; port++) {
    try {
      return listen(handlers.combined, { hostname: HOSTNAME, port });
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse) || port === PORT + PORTS_TRIED) throw error;
    }
  }
}

/** Returns the text printed at start. */
function greeting({ url, port }: Demo): string {
  return [
    "Demo: a simulated Ollama server and synthetic traffic.",
    ...port === PORT ? [] : [`Port ${PORT} is in use; listening on port ${port}.`],
    "",
    `  Status page   ${url}/-/`,
    `  Metrics       ${url}/metrics`,
    `  Ollama's API  ${url}   curl ${url}/api/generate -d '{"model":"llama3.2","prompt":"Hi"}'`,
    "",
    "Press Ctrl-C to stop.",
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
  print("\nStopping.");
}

if (import.meta.main) {
  await main();
  Deno.exit();
}
