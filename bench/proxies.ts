/**
 * Proxies that are measured, each in a process of its own, restarted for every run.
 *
 * @module
 */

import { SCRAPED_MODELS, streamBodies } from "./cases.ts";
import { Child, output, type Usage, usageOf } from "./child.ts";

/** Running proxy. */
export interface Proxy {
  readonly port: number;
  /** `undefined` without a proxy. */
  readonly pid: number | undefined;
  /** Time from the start of its process to its first response in ms. */
  readonly startMs: number;
  /** Resource usage by then. */
  readonly idle: Usage | undefined;
  stop(): Promise<void>;
}

/** Starts a proxy in front of the upstream on that port. */
export type StartProxy = (upstreamPort: number) => Promise<Proxy>;

const ROOT = new URL("..", import.meta.url).pathname;

/** Maximum time until a process responds, and the interval of requests until then. */
const ANSWER_LIMIT_MS = 10_000;
const RETRY_MS = 2;

/** Returns the proxies by name, without nginx if it is not installed. */
export async function findProxies(variants: ReadonlyMap<string, string>): Promise<Map<string, StartProxy>> {
  const nginx = await nginxPath();
  const proxies = new Map<string, StartProxy>();
  proxies.set("direct", (port) => Promise.resolve(direct(port)));
  if (nginx !== undefined) proxies.set("nginx", (port) => startNginx(nginx, port));
  proxies.set("pass", (port) => startPass(port));
  proxies.set("pass_pooled", (port) => startPass(port, "pooled"));
  proxies.set("pass_tapped", (port) => startPass(port, "tapped"));
  proxies.set("us", (port) => startExporter(port, ROOT, { WEB_SERVER: "deno" }));
  proxies.set("us_node", (port) => startExporter(port, ROOT, { WEB_SERVER: "node" }));
  proxies.set("us_viewed", async (port) => accompanied(await startExporter(port, ROOT, { WEB_SERVER: "deno" }), view));
  proxies.set(
    "us_scraped",
    async (port) => accompanied(await startExporter(port, ROOT, { WEB_SERVER: "deno" }), scrape),
  );
  for (const [name, path] of variants) proxies.set(name, (port) => startExporter(port, path));
  return proxies;
}

function direct(port: number): Proxy {
  return { port, pid: undefined, startMs: NaN, idle: undefined, stop: () => Promise.resolve() };
}

async function startPass(upstreamPort: number, ...args: string[]): Promise<Proxy> {
  const script = new URL("pass.ts", import.meta.url).pathname;
  const startedAt = performance.now();
  const child = startDeno(script, `http://127.0.0.1:${upstreamPort}`, ...args);
  return await ready(child, startedAt, async () => Number(await child.line(/^listening (\d+)$/)));
}

/** Starts a script of the bench. */
export function startDeno(script: string, ...args: string[]): Child {
  return new Child({
    command: Deno.execPath(),
    args: ["run", "--no-prompt", "--allow-net", "--unstable-net", script, ...args],
  });
}

/**
 * Starts the exporter with all its metrics.
 *
 * @param path Source tree, run as by its own `deno task start`, or executable. Default: this source tree.
 * @param settings Environment variables other than the listen address and OLLAMA_HOST.
 */
export async function startExporter(
  upstreamPort: number,
  path: string = ROOT,
  settings: Readonly<Record<string, string>> = {},
): Promise<Proxy> {
  const { isDirectory } = await Deno.stat(path);
  const [command, args] = isDirectory ? [Deno.execPath(), await startArguments(path)] : [path, []];
  const env = {
    OLLAMA_HOST: `http://127.0.0.1:${upstreamPort}`,
    LISTEN_ADDRESS: "127.0.0.1:0",
    LOG_LEVEL: "INFO",
    ...settings,
  };
  const startedAt = performance.now();
  const child = new Child({ command, args, env, ...(isDirectory ? { cwd: path } : {}) });
  return await ready(
    child,
    startedAt,
    async () => Number(await child.line(/Listening.* address="?127\.0\.0\.1:(\d+)/)),
  );
}

/** Starts a proxy with a client that observes it while it runs. */
function accompanied(proxy: Proxy, look: (origin: string, signal: AbortSignal) => Promise<void>): Proxy {
  const controller = new AbortController();
  const looking = look(`http://127.0.0.1:${proxy.port}`, controller.signal).catch((error) => {
    if (!controller.signal.aborted) throw error;
  });
  return {
    ...proxy,
    async stop(): Promise<void> {
      controller.abort();
      await looking;
      await proxy.stop();
    },
  };
}

/** Opens the status page's feed. */
async function view(origin: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${origin}/-/events`, { signal });
  if (!response.ok || response.body === null) throw new Error(`status page feed: status ${response.status}`);
  for await (const _ of response.body);
}

/** Scrape interval in ms. */
const SCRAPE_INTERVAL_MS = 1000;

/** Scrapes the metrics regularly, after requests have created the series of as many models as there may be labels. */
async function scrape(origin: string, signal: AbortSignal): Promise<void> {
  for (const body of streamBodies(SCRAPED_MODELS)) {
    const response = await fetch(`${origin}/api/chat`, { method: "POST", body, signal });
    await response.body?.pipeTo(new WritableStream());
  }
  while (!signal.aborted) {
    await (await fetch(`${origin}/metrics`, { signal })).bytes();
    await new Promise((resolve) => setTimeout(resolve, SCRAPE_INTERVAL_MS));
  }
}

/** Returns the arguments of `deno` in the `start` task of a source tree: its permissions, flags and script. */
async function startArguments(directory: string): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${directory}/deno.json`));
  const command: string = tasks.start.command ?? tasks.start;
  return command.split(" ").slice(1);
}

/** Starts Debian's nginx as an operator would configure it for streams, with one worker. */
async function startNginx(path: string, upstreamPort: number): Promise<Proxy> {
  const directory = await Deno.makeTempDir({ prefix: "ollama-exporter-bench-" });
  const port = freePort();
  await Deno.writeTextFile(`${directory}/nginx.conf`, nginxConfig(directory, port, upstreamPort));
  const startedAt = performance.now();
  const child = new Child({ command: path, args: ["-p", directory, "-c", `${directory}/nginx.conf`] });
  const remove = (): Promise<void> => Deno.remove(directory, { recursive: true });
  return await ready(child, startedAt, () => Promise.resolve(port), remove);
}

/** Waits until a proxy responds. Terminates it if it does not. */
async function ready(
  child: Child,
  startedAt: number,
  portOf: () => Promise<number>,
  cleanUp: () => Promise<void> = () => Promise.resolve(),
): Promise<Proxy> {
  const stop = async (): Promise<void> => {
    await child.stop();
    await cleanUp();
  };
  try {
    const port = await portOf();
    await answers(port, startedAt);
    const startMs = performance.now() - startedAt;
    return { port, pid: child.pid, startMs, idle: await usageOf(child.pid), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function answers(port: number, startedAt: number): Promise<void> {
  while (true) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/api/version`);
      await response.body?.cancel();
      if (response.ok) return;
      throw new Error(`status ${response.status}`);
    } catch (error) {
      if (performance.now() - startedAt > ANSWER_LIMIT_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function nginxPath(): Promise<string | undefined> {
  try {
    return (await output("sh", "-c", "PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v nginx")).trim();
  } catch {
    return undefined;
  }
}

/** Returns the version of nginx, or `undefined` if it is not installed. */
export async function nginxVersion(): Promise<string | undefined> {
  const path = await nginxPath();
  return path && (await output("sh", "-c", `${path} -v 2>&1`)).replace(/.*nginx\//, "").trim();
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function nginxConfig(directory: string, port: number, upstreamPort: number): string {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${directory};`);
  return `
daemon off;
# A single process without a master, so its resource usage is the total.
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log crit;
events { worker_connections 10000; }
http {
  access_log off;
  ${paths.join("\n  ")}
  keepalive_requests 1000000;
  upstream ollama {
    server 127.0.0.1:${upstreamPort};
    keepalive 64;
    keepalive_requests 1000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://ollama;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
      client_max_body_size 0;
    }
  }
}
`;
}
