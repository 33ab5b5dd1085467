/**
 * Guards the admin endpoints with the authentication and rate limit of the web config file, reloaded when it changes
 * and on request.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import type { TlsConfig } from "../http.ts";
import type { Log } from "../log/log.ts";
import type { ConfigFile } from "../metrics/config_metrics.ts";
import type { WebServer } from "../settings/settings.ts";
import { BasicAuth } from "./basic_auth.ts";
import { Bcrypt, type Compare, decoyHash } from "./bcrypt.ts";
import { RateLimiter } from "./rate_limit.ts";
import { textResponse } from "./text_response.ts";
import { loadWebConfig, type WebConfig } from "./web_config.ts";

/** Default minimum time between reloads of the file, in milliseconds. */
const RELOAD_INTERVAL_MS = 1000;

const MILLISECONDS_PER_SECOND = 1000;

/** `Retry-After` of a request whose credentials could not be checked, in milliseconds. */
const RETRY_WHEN_BUSY_MS = 1000;

/** Options of {@linkcode WebGuard.open}. */
export interface WebGuardOptions {
  /** The web config file. */
  readonly path: string;
  /** HTTP server implementation, on which the supported TLS versions depend. */
  readonly server: WebServer;
  readonly log: Log;
  /**
   * Called with the new TLS configuration if it has changed on disk; must not throw. Default: a warning that a restart
   * is required.
   */
  readonly onTlsChange?: (tls: TlsConfig) => void;
  /** Compares passwords. Default: {@linkcode Bcrypt.compare}. */
  readonly compare?: Compare;
  /** Minimum time between reloads of the file, in milliseconds. Default: 1000. */
  readonly reloadIntervalMs?: number;
}

/**
 * The guard. Requests reload the file, at most once per interval, which needs neither timers nor file watchers. While
 * the file is invalid, the previous configuration stays in use.
 */
export class WebGuard implements ConfigFile {
  readonly #options: WebGuardOptions;
  readonly #bcrypt = new Bcrypt();
  #config: WebConfig;
  #auth: BasicAuth | undefined;
  #limiter: RateLimiter | undefined;
  /** Error of the last reload; `undefined` if it succeeded. */
  #reloadError: string | undefined;
  #loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;
  /** Time of the next reload, by `performance.now()`. */
  #nextReloadAt: number;
  /** Reload in progress. */
  #reloading: Promise<void> | undefined;
  /** Whether a reload was requested that has not begun. */
  #isRequested = false;

  private constructor(options: WebGuardOptions, config: WebConfig) {
    this.#options = options;
    this.#config = config;
    this.#nextReloadAt = this.#nextReload();
    this.#apply(config);
  }

  /**
   * Reads the file and creates a guard, to be closed after use.
   *
   * @throws {UserError} If the file is invalid, with a line for each problem.
   */
  static async open(options: WebGuardOptions): Promise<WebGuard> {
    const guard = new WebGuard(options, await loadWebConfig(options.path, options.server));
    if (guard.#auth === undefined) return guard;
    try {
      // Starting the worker blocks for 20 ms: do it before there are streams that it would stall.
      await guard.#compare("", decoyHash());
    } catch (error) {
      throw new UserError(`${options.path}: cannot check passwords of basic_auth_users: ${messageOf(error)}`);
    }
    return guard;
  }

  /** TLS configuration of the listener; `undefined` serves plain HTTP. */
  get tls(): TlsConfig | undefined {
    return this.#config.tls;
  }

  get isCurrent(): boolean {
    return this.#reloadError === undefined;
  }

  get loadedAtSeconds(): number {
    return this.#loadedAtSeconds;
  }

  /**
   * Authorizes a request to an admin endpoint.
   *
   * @returns The response that rejects it, or `undefined` to admit it.
   * @throws {Error} If a password cannot be compared.
   */
  async check(request: Pick<Request, "headers">): Promise<Response | undefined> {
    if (performance.now() >= this.#nextReloadAt) await this.#refresh();
    const waitMs = this.#limiter?.take() ?? 0;
    if (waitMs > 0) return tooMany(waitMs);
    switch (await this.#auth?.check(request.headers.get("authorization"))) {
      case "rejected":
        return textResponse(401, "Unauthorized", {
          "www-authenticate": 'Basic realm="ollama-exporter", charset="UTF-8"',
        });
      case "busy":
        return tooMany(RETRY_WHEN_BUSY_MS);
      default:
        return undefined;
    }
  }

  /** Reloads the file now, and logs the result also if nothing has changed. Never rejects. */
  reload(): Promise<void> {
    this.#isRequested = true;
    return this.#refresh();
  }

  /** Terminates the password worker. */
  close(): void {
    this.#bcrypt.close();
  }

  #refresh(): Promise<void> {
    return this.#reloading ??= this.#loadRequested();
  }

  async #loadRequested(): Promise<void> {
    // A reload in progress may have read the file before the change for which another one was requested.
    do {
      const isRequested = this.#isRequested;
      this.#isRequested = false;
      await this.#load(isRequested);
    } while (this.#isRequested);
    this.#reloading = undefined;
    this.#nextReloadAt = this.#nextReload();
  }

  async #load(isRequested: boolean): Promise<void> {
    const { path, server, log } = this.#options;
    try {
      const config = await loadWebConfig(path, server);
      assertReplaceable(this.#config, config, path);
      const isChanged = serialized(config) !== serialized(this.#config);
      if (isChanged) this.#replace(config);
      if (isChanged || isRequested || this.#reloadError !== undefined) {
        log.info("Reloaded web config", { file: path });
        this.#loadedAtSeconds = Date.now() / MILLISECONDS_PER_SECOND;
      }
      this.#reloadError = undefined;
    } catch (error) {
      const message = messageOf(error);
      if (isRequested || message !== this.#reloadError) {
        log.error("Error reloading web config, keeping the previous one", { error: message });
      }
      this.#reloadError = message;
    }
  }

  #replace(config: WebConfig): void {
    const { path, log, onTlsChange } = this.#options;
    const isTlsChanged = serialized(config.tls) !== serialized(this.#config.tls);
    this.#apply(config);
    if (!isTlsChanged || config.tls === undefined) return;
    if (onTlsChange !== undefined) onTlsChange(config.tls);
    else log.warn("TLS certificate has changed, restart required to use it", { file: path });
  }

  #apply(config: WebConfig): void {
    const { users, rateLimit } = config;
    // Unchanged sections keep their state: cached credentials and used tokens.
    if (serialized(users) !== serialized(this.#config.users) || this.#auth === undefined) {
      this.#auth = users && new BasicAuth(users, (password, hash) => this.#compare(password, hash));
    }
    if (serialized(rateLimit) !== serialized(this.#limiter?.limit)) {
      this.#limiter = rateLimit && new RateLimiter(rateLimit);
    }
    this.#config = config;
  }

  #compare(password: string, hash: string): Promise<boolean> {
    return this.#options.compare?.(password, hash) ?? this.#bcrypt.compare(password, hash);
  }

  #nextReload(): number {
    return performance.now() + (this.#options.reloadIntervalMs ?? RELOAD_INTERVAL_MS);
  }
}

/** @throws {UserError} If the change takes a restart. */
function assertReplaceable(before: WebConfig, after: WebConfig, path: string): void {
  if ((before.tls === undefined) !== (after.tls === undefined)) {
    throw new UserError(`${path}: adding or removing tls_server_config requires a restart`);
  }
  // Some editors truncate a file before writing it; that must not disable authentication.
  if (before.users !== undefined && serialized(after) === serialized({})) {
    throw new UserError(`${path}: file is empty: disabling authentication requires a restart`);
  }
}

function serialized(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner) => inner instanceof Map ? [...inner] : inner);
}

function tooMany(waitMs: number): Response {
  return textResponse(429, "Too many requests", { "retry-after": String(Math.ceil(waitMs / 1000)) });
}
