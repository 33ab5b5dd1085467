/**
 * Entry point: parses settings, starts the exporter and its listeners, and handles signals.
 *
 * @module
 */

import { clientIdentity } from "./lib/clients/client_identity.ts";
import { ClientKeys } from "./lib/clients/client_keys.ts";
import { messageOf, Problems, UserError } from "./lib/errors.ts";
import { createExporter, type Exporter, type ExporterOptions } from "./lib/exporter.ts";
import { hostPort, type Listener, type TlsConfig } from "./lib/http.ts";
import { chooseServer } from "./lib/listen/server_check.ts";
import { startListeners } from "./lib/listen/start.ts";
import type { Log } from "./lib/log/log.ts";
import { logSlowUpload, logStart } from "./lib/log/log_start.ts";
import { openLog } from "./lib/log/open_log.ts";
import { loadCaFile } from "./lib/ollama/ca_file.ts";
import { HeadersFile } from "./lib/ollama/headers_file.ts";
import { type ConfiguredCommand, parseCommand, sourceOf } from "./lib/settings/command.ts";
import { completionScript } from "./lib/settings/completion.ts";
import { helpText } from "./lib/settings/help.ts";
import { type Config, SETTINGS } from "./lib/settings/settings.ts";
import { Signals, signalsOf } from "./lib/listen/signals.ts";
import { isHealthy, requestHealth } from "./lib/web/health_command.ts";
import { WebGuard } from "./lib/web/web_guard.ts";
import denoJson from "./deno.json" with { type: "json" };

/** With these variables, the runtime would send even requests to loopback addresses through a proxy. */
const PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/**
 * With these variables, `Deno.serve` would listen elsewhere and take the client's address from a header, and `fetch`
 * would send headers of its own. Deno 2.9.6 reads them when it listens and fetches first.
 */
const RUNTIME_VARIABLES = ["DENO_SERVE_ADDRESS", "DENO_TRUST_PROXY_HEADERS", "X_DENO_FETCH_TOKEN", "CDN_LOOP"];

/** Settings whose files are read again. */
const RELOADED = ["webConfigFile", "ollamaHeadersFile", "clientKeysFile"] as const;

/** Commit that an executable was built from; set by `deno task compile`. */
const COMMIT_VARIABLE = "OLLAMA_EXPORTER_COMMIT";

/** First file descriptor passed by systemd socket activation. */
const FIRST_PASSED_FD = 3;

const EXIT_FAILURE = 1;

/** Runs the command given by the arguments. */
async function main(): Promise<void> {
  const proxyVariables = PROXY_VARIABLES.flatMap((name) => [name, name.toLowerCase()]);
  for (const name of [...proxyVariables, ...RUNTIME_VARIABLES]) Deno.env.delete(name);
  const command = parseCommand(Deno.args, (name) => Deno.env.get(name), Deno.hostname());
  if (command.name === "help") return print(helpText());
  if (command.name === "version") return print(versionText());
  if (command.name === "completion") return print(completionScript(command.args));
  const problems = new Problems(command.problems);
  if (command.name === "health") {
    problems.end();
    return await health(command.config);
  }
  const { log, format } = await openLog(command, problems);
  try {
    await serve(command, log, problems);
  } catch (error) {
    if (format === "text" || !(error instanceof UserError)) throw error;
    for (const line of error.message.split("\n")) log.error("Cannot start", { error: line });
    Deno.exit(EXIT_FAILURE);
  }
}

function print(text: string, stream = Deno.stdout): void {
  stream.writeSync(new TextEncoder().encode(`${text}\n`));
}

function versionText(): string {
  const { deno, v8 } = Deno.version;
  return `ollama-exporter ${denoJson.version} (commit ${revision()}, deno ${deno}, v8 ${v8}, ${Deno.build.os}/${Deno.build.arch})`;
}

/** Commit that the program was built from. */
function revision(): string {
  return Deno.env.get(COMMIT_VARIABLE) ?? "unknown";
}

async function health(config: Config): Promise<void> {
  const address = config.metricsListenAddress ?? config.listenAddress;
  try {
    const statusLine = await requestHealth(address);
    print(statusLine);
    if (!isHealthy(statusLine)) Deno.exit(EXIT_FAILURE);
  } catch (error) {
    throw new UserError(`Cannot reach the exporter at ${hostPort(address)}: ${messageOf(error)}`);
  }
}

/** @throws {UserError} With all problems of settings and files, or if the addresses cannot be listened on. */
async function serve(command: ConfiguredCommand, log: Log, problems: Problems): Promise<void> {
  const { config } = command;
  const passedFd = takePassedFd(command, problems);
  const isPassed = passedFd !== undefined;
  const choice = await chooseServer(config.webServer, { isPassed, version: Deno.version.deno });
  const { server } = choice;
  const open: Listener[] = [];
  const onTlsChange = (tls: TlsConfig): void => open.forEach((listener) => listener.useTls?.(tls));
  // Listeners without `useTls` cannot replace the certificate; without the option, the guard logs that.
  const options = { server, log, ...server === "node" && { onTlsChange } };
  const load = async <T>(name: FileSetting, open: (path: string) => Promise<T>): Promise<T | undefined> => {
    const path = config[name];
    return path === undefined ? undefined : await problems.collect(sourceOf(name, command), open(path));
  };
  const guard = await load("webConfigFile", (path) => WebGuard.open({ ...options, path }));
  const upstreamCa = await load("ollamaCaFile", loadCaFile);
  const reloaded = { headers: logReload(log, "headers for Ollama"), keys: logReload(log, "client keys") };
  const headersFile = await load("ollamaHeadersFile", (path) => HeadersFile.open({ path, onReload: reloaded.headers }));
  const keys = await load("clientKeysFile", (path) => ClientKeys.open({ path, onReload: reloaded.keys }));
  problems.end();
  const configFiles = [guard, headersFile, keys].filter((file) => file !== undefined);
  const { listenAddress, metricsListenAddress = listenAddress } = config;
  const bound = { proxy: listenAddress.hostname, admin: metricsListenAddress.hostname };
  const exporter = createExporter({
    ...optionsOf(config),
    log,
    bound,
    fetch,
    ...upstreamCa !== undefined && { upstreamCa },
    ...headersFile && { headersFile },
    ...clientsOf(config, keys),
    ...guard && { guard: (request) => guard.check(request) },
    configFiles,
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    exporter.internalError(event.reason);
  });
  handleSignals({ open, exporter, configFiles, timeoutMs: config.shutdownTimeoutMs, log });
  exporter.discoverModels();
  const tls = guard?.tls;
  const listeners = await startListeners(exporter.handlers, {
    ...config,
    server,
    tls,
    passedFd,
    onSlowUpload: () => logSlowUpload(log),
  });
  // A socket passed by systemd has an address of its own.
  [bound.proxy, bound.admin] = [listeners.proxy.address.hostname, listeners.admin.address.hostname];
  logStart(log, {
    config,
    given: command.given,
    version: denoJson.version,
    choice,
    isTls: tls !== undefined,
    isPassed,
    proxy: listeners.proxy.address,
    admin: listeners.admin.address,
  });
  open.push(...new Set(Object.values(listeners)));
  await logReachability(exporter, config, log);
}

/** Options of the exporter that are fixed by the build and by settings without a file. */
function optionsOf(config: Config): Omit<ExporterOptions, "log" | "fetch"> {
  return {
    upstream: config.ollamaHost,
    version: denoJson.version,
    homepage: denoJson.homepage,
    revision: revision(),
    metricsPath: config.metricsPath,
    modelLimit: config.modelLabelLimit,
    probeTimeoutMs: config.probeTimeoutMs,
    openaiStreamUsage: config.openaiStreamUsage,
    slo: { firstTokenMs: config.sloFirstTokenMs, perTokenMs: config.sloPerTokenMs },
    allowedHosts: [Deno.hostname().toLowerCase(), ...config.allowedHosts],
    ...config.slowRequestMs !== undefined && { slowRequestMs: config.slowRequestMs },
  };
}

/** Settings whose files are opened at start, besides the log's. */
type FileSetting = typeof RELOADED[number] | "ollamaCaFile";

/** Logs that a file was read again. */
function logReload(log: Log, what: string): (error: string | undefined) => void {
  return (error) => {
    if (error === undefined) log.info(`Reloaded ${what}`);
    else log.error(`Error reloading ${what}, keeping the previous ones`, { error });
  };
}

/** How clients are told apart, if they are. */
function clientsOf(config: Config, keys: ClientKeys | undefined): Pick<ExporterOptions, "clients"> {
  const { clientLabel: label, clientLabelLimit: limit, trustedProxies } = config;
  return label === undefined ? {} : { clients: { clientOf: clientIdentity({ label, trustedProxies, keys }), limit } };
}

/**
 * Returns the descriptor of the socket passed by systemd, if any (sd_listen_fds(3)). Adds a problem where it cannot be
 * used, since the program would listen on another address and connections to the socket would hang, and where there is
 * none but the settings require one.
 */
function takePassedFd(command: ConfiguredCommand, problems: Problems): number | undefined {
  const count = Deno.env.get("LISTEN_FDS");
  const isOurs = Deno.env.get("LISTEN_PID") === String(Deno.pid) && count !== undefined && count !== "0";
  for (const name of ["LISTEN_PID", "LISTEN_FDS"]) Deno.env.delete(name);
  if (!isOurs) {
    if (command.config.systemdSocket) {
      problems.add(`${sourceOf("systemdSocket", command)}: expected a socket from systemd, got none`);
    }
    return undefined;
  }
  if (count !== "1") problems.add(`LISTEN_FDS: expected one socket from systemd, got ${JSON.stringify(count)}`);
  if (command.config.webServer === "deno") {
    problems.add(
      `${sourceOf("webServer", command)}: expected \`auto\` or \`node\` with a socket from systemd, got "deno"`,
    );
  }
  return FIRST_PASSED_FD;
}

/** Logs whether Ollama is reachable. If it is not, the exporter responds with 502 until it is. */
async function logReachability({ ollama }: Exporter, config: Config, log: Log): Promise<void> {
  try {
    log.info("Ollama is reachable", { ollama: config.ollamaHost.href, ollama_version: await ollama.version() });
  } catch (error) {
    log.warn("Ollama is unreachable, retrying on each request", {
      ollama: config.ollamaHost.href,
      error: messageOf(error),
    });
  }
}

/** What signals act on. */
interface Running {
  /** Listeners that have started. */
  readonly open: readonly Listener[];
  readonly exporter: Exporter;
  /** Files to reload on SIGHUP. */
  readonly configFiles: readonly { reload(): Promise<void> }[];
  /** Maximum time to wait for open requests, in milliseconds. */
  readonly timeoutMs: number;
  readonly log: Log;
}

/** Stops, exits or reloads configuration files as {@linkcode Signals} says. */
function handleSignals(running: Running): void {
  const { configFiles, log } = running;
  const signals = new Signals({ os: Deno.build.os, hasTerminal: Deno.stderr.isTerminal() });
  const actions = {
    stop: () => stop(running),
    exit: () => exit(running),
    reload(): void {
      for (const file of configFiles) file.reload();
      if (configFiles.length === 0) {
        log.info("No configuration file to reload", {
          settings: RELOADED.map((name) => SETTINGS[name].variable).join(),
        });
      }
    },
  };
  for (const signal of signalsOf(Deno.build.os)) {
    Deno.addSignalListener(signal, () => {
      const action = signals.receive(signal, performance.now());
      if (action !== undefined) actions[action]();
    });
  }
}

/** Stops accepting connections, waits for open requests, and aborts the rest at the timeout. */
async function stop(running: Running): Promise<void> {
  const { open, exporter, timeoutMs, log } = running;
  exporter.endViewers();
  log.info("Stopping", { open_requests: exporter.openRequests.size, timeout_seconds: timeoutMs / 1000 });
  setTimeout(() => exit(running), timeoutMs);
  await Promise.all(open.map((listener) => listener.shutdown()));
  exit(running);
}

/** Ends the process, which aborts requests that are still open. */
function exit({ exporter, log }: Running): never {
  log.info("Stopped", { open_requests: exporter.openRequests.size });
  Deno.exit(0);
}

try {
  await main();
} catch (error) {
  // Errors that the user can fix are printed without a stack.
  if (!(error instanceof UserError)) throw error;
  print(error.message, Deno.stderr);
  Deno.exit(EXIT_FAILURE);
}
