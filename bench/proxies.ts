/**
 * Proxies that are measured, each in a process of its own, restarted for every run.
 *
 * @module
 */

import { WEB_SERVERS, type WebServer } from "../lib/settings/settings.ts";
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

/** Proxy that can be started. */
export interface ProxyKind {
  /** The exporter of this or another source tree; the other proxies are what it is compared with. */
  readonly isExporter: boolean;
  /** The listener that it is made with; `undefined` for nginx and without a proxy. */
  readonly server?: WebServer;
  /** Names of the proxies whose figures its own are divided by. */
  readonly bases: readonly string[];
  /** Starts it in front of the upstream on that port. */
  readonly start: (upstreamPort: number, cores: Cores) => Promise<Proxy>;
}

/** Cores of the processes, as for `taskset -c`; `undefined` if they are not kept apart. */
export interface Cores {
  readonly proxy?: string;
  readonly load?: string;
}

const ROOT = new URL("..", import.meta.url).pathname;

/** Maximum time until a process responds, and the interval of requests until then. */
const ANSWER_LIMIT_MS = 10_000;
const RETRY_MS = 2;

/**
 * Returns the proxies by name, without nginx if it is not installed.
 *
 * @param variants Further source trees or executables of the exporter by name, each measured over both listeners.
 */
export async function findProxies(variants: ReadonlyMap<string, string>): Promise<Map<string, ProxyKind>> {
  const nginx = await nginxPath();
  const other = { isExporter: false, bases: [] };
  const proxies = new Map<string, ProxyKind>();
  proxies.set("direct", { ...other, start: (port) => Promise.resolve(direct(port)) });
  if (nginx !== undefined) proxies.set("nginx", { ...other, start: (port, cores) => startNginx(nginx, port, cores) });
  proxies.set("pass", { ...other, server: "deno", start: (port, cores) => startBare(["pass", "deno"], port, cores) });
  for (const mode of ["tap", "least"]) {
    for (const server of WEB_SERVERS) {
      const start: ProxyKind["start"] = (port, cores) => startBare([mode, server], port, cores);
      proxies.set(`${mode}_${server}`, { ...other, server, start });
    }
  }
  for (const [name, path] of [["us", ROOT] as const, ...variants]) {
    for (const server of WEB_SERVERS) {
      const bases = ["pass", `tap_${server}`, `least_${server}`, "nginx", ...name === "us" ? [] : [`us_${server}`]];
      proxies.set(`${name}_${server}`, {
        isExporter: true,
        server,
        bases,
        start: (port, cores) => startExporter(port, { WEB_SERVER: server }, path, cores),
      });
    }
  }
  return proxies;
}

/** Returns cores for the proxy and for everything else, if there are two and `taskset` is installed. */
export async function findCores(): Promise<Cores> {
  const last = navigator.hardwareConcurrency - 1;
  const hasTaskset = await output("sh", "-c", "command -v taskset").then(() => true, () => false);
  return last < 1 || !hasTaskset ? {} : { proxy: String(last), load: last === 1 ? "0" : `0-${last - 1}` };
}

function direct(port: number): Proxy {
  return { port, pid: undefined, startMs: NaN, idle: undefined, stop: () => Promise.resolve() };
}

async function startBare(args: readonly string[], upstreamPort: number, { proxy }: Cores): Promise<Proxy> {
  const startedAt = performance.now();
  const child = startScript("bare.ts", [`http://127.0.0.1:${upstreamPort}`, ...args], proxy);
  return await ready(child, startedAt, () => portOf(child));
}

/** Starts a script of the bench on some cores; default: on any. */
export function startScript(name: string, args: readonly string[], cores?: string): Child {
  const script = new URL(name, import.meta.url).pathname;
  const flags = ["run", "--no-prompt", "--allow-net", "--unstable-net"];
  return new Child({ command: Deno.execPath(), args: [...flags, script, ...args], cores });
}

/** Returns the port on which a script of the bench listens. */
export async function portOf(script: Child): Promise<number> {
  return Number(await script.line(/^listening (\d+)$/));
}

/**
 * Starts the exporter with all its metrics.
 *
 * @param settings Environment variables other than the listen address and OLLAMA_HOST.
 * @param path Source tree, run as by its own `deno task start`, or executable. Default: this source tree.
 */
export async function startExporter(
  upstreamPort: number,
  settings: Readonly<Record<string, string>>,
  path: string = ROOT,
  cores: Cores = {},
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
  const child = new Child({ command, args, env, cores: cores.proxy, ...(isDirectory ? { cwd: path } : {}) });
  return await ready(
    child,
    startedAt,
    async () => Number(await child.line(/Listening.* address="?127\.0\.0\.1:(\d+)/)),
  );
}

/** Returns the arguments of `deno` in the `start` task of a source tree: its permissions, flags and script. */
async function startArguments(directory: string): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${directory}/deno.json`));
  const command: string = tasks.start.command ?? tasks.start;
  return command.split(" ").slice(1);
}

/** Starts Debian's nginx as an operator would configure it for streams, with one worker. */
async function startNginx(path: string, upstreamPort: number, { proxy }: Cores): Promise<Proxy> {
  const directory = await Deno.makeTempDir({ prefix: "ollama-exporter-bench-" });
  const port = freePort();
  await Deno.writeTextFile(`${directory}/nginx.conf`, nginxConfig(directory, port, upstreamPort));
  const startedAt = performance.now();
  const child = new Child({ command: path, args: ["-p", directory, "-c", `${directory}/nginx.conf`], cores: proxy });
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
  const search = "PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v nginx";
  return await output("sh", "-c", search).then((path) => path.trim(), () => undefined);
}

/** Returns the version of nginx, or `undefined` if it is not installed. */
export async function nginxVersion(): Promise<string | undefined> {
  const path = await nginxPath();
  return path && (await output("sh", "-c", `${path} -v 2>&1`)).replace(/.*nginx\//s, "").trim();
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
