/**
 * The program: settings, parts, listener, signals. The only file that starts anything.
 *
 * @module
 */

import { messageOf, UserError } from "./lib/errors.ts";
import {
  type Config,
  helpText,
  LOG_CONFIG_FILE,
  parseCommand,
  SETTINGS,
  type WebServer,
} from "./lib/settings/settings.ts";
import { createExporter, type Exporter } from "./lib/exporter.ts";
import type { Address, Handler, Listener, TlsConfig } from "./lib/http.ts";
import { askHealth, isHealthy } from "./lib/web/health_command.ts";
import { listen } from "./lib/listen/deno_listener.ts";
import { createLog, type Log } from "./lib/log/log.ts";
import { loadLogConfig } from "./lib/log/log_config.ts";
import { listenNode, type NodeAddress } from "./lib/listen/node_listener.ts";
import { loadWebConfig } from "./lib/web/web_config.ts";
import { WebGuard } from "./lib/web/web_guard.ts";
import denoJson from "./deno.json" with { type: "json" };

/** Through these the runtime would send even requests for this machine to a proxy. */
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/** The commit that an executable was made from; `deno task compile` puts it in. */
const COMMIT_VARIABLE = "OLLAMA_EXPORTER_COMMIT";

/** The first file that systemd passes to a service (sd_listen_fds(3)). */
const FIRST_PASSED_FD = 3;

const EXIT_FAILURE = 1;

/** Runs the command that the arguments ask for, and ends the process where there is nothing left to do. */
async function main(): Promise<void> {
  for (const name of PROXY_VARIABLES.flatMap((name) => [name, name.toLowerCase()])) Deno.env.delete(name);
  const command = parseCommand(Deno.args, (name) => Deno.env.get(name));
  if (command.name === "help") return print(helpText());
  if (command.name === "version") return print(versionText());
  if (command.name === "health") return await health(command.config);
  await serve(command.config, await openLog(command.config, command.given));
}

/** The log by the settings and the file that they name; a setting that is given wins over the file. */
async function openLog(config: Config, given: ReadonlySet<keyof Config>): Promise<Log> {
  const path = config.logConfig ?? LOG_CONFIG_FILE;
  const file = await loadLogConfig(path);
  if (file === undefined && given.has("logConfig")) {
    throw new UserError(`${SETTINGS.logConfig.variable} is ${JSON.stringify(path)}; there is no such file`);
  }
  const log = createLog({
    level: given.has("logLevel") ? config.logLevel : file?.level ?? config.logLevel,
    format: given.has("logFormat") ? config.logFormat : file?.format ?? config.logFormat,
    ...file?.file && { file: file.file },
  });
  if (file !== undefined && file.ignored.length > 0) {
    log.warn("The log's configuration has keys that are not used", { file: path, keys: file.ignored.join(", ") });
  }
  return log;
}

function print(text: string, stream = Deno.stdout): void {
  stream.writeSync(new TextEncoder().encode(`${text}\n`));
}

function versionText(): string {
  const { deno, v8 } = Deno.version;
  const commit = Deno.env.get(COMMIT_VARIABLE) ?? "unknown";
  return `ollama-exporter ${denoJson.version} (commit ${commit}, deno ${deno}, v8 ${v8}, ${Deno.build.os}/${Deno.build.arch})`;
}

async function health(config: Config): Promise<void> {
  const address = config.metricsListenAddress ?? config.listenAddress;
  const { webConfigFile, webServer } = config;
  const tls = webConfigFile !== undefined && (await loadWebConfig(webConfigFile, webServer)).tls !== undefined;
  try {
    const statusLine = await askHealth(address, { tls });
    print(statusLine);
    if (!isHealthy(statusLine)) Deno.exit(EXIT_FAILURE);
  } catch (error) {
    throw new UserError(`No answer from ${hostPort(address)}: ${messageOf(error)}`);
  }
}

async function serve(config: Config, log: Log): Promise<void> {
  if (isItself(config)) {
    throw new UserError(`${SETTINGS.ollamaHost.variable} is ${config.ollamaHost.href}, the exporter's own address`);
  }
  const { webConfigFile: path, webServer: server } = config;
  const open: Listener[] = [];
  const onTlsChange = (tls: TlsConfig): void => open.forEach((listener) => listener.useTls?.(tls));
  // What cannot change its certificate while it listens does not get the change; the guard's log says so.
  const options = { server, log, ...server === "node" && { onTlsChange } };
  const guard = path === undefined ? undefined : await WebGuard.open({ ...options, path });
  const exporter = createExporter({
    upstream: config.ollamaHost,
    version: denoJson.version,
    log,
    metricsPath: config.metricsPath,
    modelLimit: config.modelLabelLimit,
    probeTimeoutMs: config.probeTimeoutMs,
    openaiStreamUsage: config.openaiStreamUsage,
    allowedHosts: [Deno.hostname().toLowerCase(), ...config.allowedHosts],
    fetch,
    ...guard && { guard: (request) => guard.check(request) },
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    exporter.internalError(event.reason);
  });
  const listeners = await startAll(config, exporter, guard?.tls);
  log.info("Listening", {
    version: denoJson.version,
    address: hostPort(listeners.proxy.address),
    ollama: config.ollamaHost.href,
    metrics: `${guard?.tls ? "https" : "http"}://${hostPort(listeners.own.address)}${config.metricsPath}`,
  });
  if (config.webServer === "deno") {
    log.info("Deno.serve does not tell of every client that leaves before its answer begins; node:http does", {
      setting: SETTINGS.webServer.variable,
    });
  }
  open.push(...new Set(Object.values(listeners)));
  stopOnSignal(open, exporter, config.shutdownTimeoutMs, log);
  await greet(exporter, config, log);
}

/** Whether requests would go round in a circle: Ollama's clients and the exporter are told the same address. */
function isItself({ ollamaHost, listenAddress }: Config): boolean {
  const port = Number(ollamaHost.port || { "http:": 80, "https:": 443 }[ollamaHost.protocol]);
  const loopback = ["localhost", "127.0.0.1", "[::1]"];
  const own = new URL(`http://${hostPort(listenAddress)}`).hostname;
  const isEverywhere = own === "0.0.0.0" || own === "[::]";
  const names = isEverywhere || loopback.includes(own) ? [...loopback, Deno.hostname()] : [own];
  return port === listenAddress.port && names.includes(ollamaHost.hostname);
}

/** The listener of Ollama's clients and that of the own paths, which may be the same. */
interface Listeners {
  readonly proxy: Listener;
  readonly own: Listener;
}

/** One listener for all, or one for clients of Ollama and one for the own paths. */
async function startAll(
  config: Config,
  { handlers }: Exporter,
  tls: TlsConfig | undefined,
): Promise<Listeners> {
  const { webServer, listenAddress, metricsListenAddress } = config;
  if (metricsListenAddress === undefined) {
    const listener = await start(webServer, handlers.both, listenAddress, tls);
    return { proxy: listener, own: listener };
  }
  return {
    proxy: await start(webServer, handlers.proxied, listenAddress, undefined),
    own: await start(webServer, handlers.own, metricsListenAddress, tls),
  };
}

/** @throws {UserError} Where it is not possible to listen there. */
async function start(
  server: WebServer,
  handler: Handler,
  address: Address,
  tls: TlsConfig | undefined,
): Promise<Listener> {
  try {
    if (server === "deno") return listen(handler, address, tls);
    return await listenNode(handler, passedSocket() ?? address, tls);
  } catch (error) {
    throw new UserError(`Cannot listen on ${hostPort(address)}: ${messageOf(error)}`);
  }
}

/** The socket that systemd has opened for us, if it has; the next listener gets none, so it is the proxy's. */
function passedSocket(): NodeAddress | undefined {
  const isOurs = Deno.env.get("LISTEN_PID") === String(Deno.pid) && Deno.env.get("LISTEN_FDS") === "1";
  for (const name of ["LISTEN_PID", "LISTEN_FDS"]) Deno.env.delete(name);
  return isOurs ? { fd: FIRST_PASSED_FD } : undefined;
}

function hostPort({ hostname, port }: Address): string {
  return `${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
}

/** Says once whether Ollama is there. It need not be: requests are answered with 502 until it comes. */
async function greet({ ollama }: Exporter, config: Config, log: Log): Promise<void> {
  try {
    log.info("Ollama answers", { ollama: config.ollamaHost.href, ollamaVersion: await ollama.version() });
  } catch (error) {
    log.warn("Ollama does not answer yet; requests get status 502 until it does", {
      ollama: config.ollamaHost.href,
      error: messageOf(error),
    });
  }
}

/** On SIGTERM or SIGINT: accepts nothing more, lets open requests end, breaks off the rest at the deadline. */
function stopOnSignal(listeners: Listener[], exporter: Exporter, timeoutMs: number, log: Log): void {
  let isStopping = false;
  const exit = (): never => {
    log.info("Stopped", { openRequests: exporter.openRequests.size });
    // What is still open breaks off with the process, on both sides.
    Deno.exit(0);
  };
  const stop = async (): Promise<void> => {
    if (isStopping) exit();
    isStopping = true;
    exporter.endViewers();
    log.info("Stopping", { openRequests: exporter.openRequests.size, timeoutSeconds: timeoutMs / 1000 });
    setTimeout(exit, timeoutMs);
    await Promise.all(listeners.map((listener) => listener.shutdown()));
    exit();
  };
  Deno.addSignalListener("SIGTERM", stop);
  Deno.addSignalListener("SIGINT", stop);
}

try {
  await main();
} catch (error) {
  // What a user can mend is said without a stack.
  if (!(error instanceof UserError)) throw error;
  print(error.message, Deno.stderr);
  Deno.exit(EXIT_FAILURE);
}
