/**
 * Guards the admin endpoints with the authentication and rate limit of the web config file, reloaded when it changes
 * and on request.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import type { TlsConfig } from "../http.ts";
import type { Log } from "../log/log.ts";
import { Reloaded } from "../settings/reloaded.ts";
import type { WebServer } from "../settings/settings.ts";
import { BasicAuth } from "./basic_auth.ts";
import { Bcrypt, type Compare, decoyHash } from "./bcrypt.ts";
import { RateLimiter } from "./rate_limit.ts";
import { textResponse } from "./text_response.ts";
import { loadWebConfig, type WebConfig } from "./web_config.ts";

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
  /** Minimum time between reloads of the file, in milliseconds. Default: a second. */
  readonly reloadIntervalMs?: number;
}

/** The guard. Requests reload the file. */
export class WebGuard extends Reloaded<WebConfig> {
  readonly #options: WebGuardOptions;
  readonly #bcrypt = new Bcrypt();
  #auth: BasicAuth | undefined;
  #limiter: RateLimiter | undefined;

  private constructor(options: WebGuardOptions, config: WebConfig) {
    super(config, options.reloadIntervalMs);
    this.#options = options;
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
    return this.value.tls;
  }

  /**
   * Authorizes a request to an admin endpoint.
   *
   * @returns The response that rejects it, or `undefined` to admit it.
   * @throws {Error} If a password cannot be compared.
   */
  async check(request: Pick<Request, "headers">): Promise<Response | undefined> {
    await this.refresh();
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

  /** Terminates the password worker. */
  close(): void {
    this.#bcrypt.close();
  }

  protected override async load(previous: WebConfig): Promise<WebConfig> {
    const { path, server } = this.#options;
    const config = await loadWebConfig(path, server);
    assertReplaceable(previous, config, path);
    if (serialized(config) === serialized(previous)) return previous;
    this.#apply(config);
    if (config.tls !== undefined && serialized(config.tls) !== serialized(previous.tls)) this.#replaceTls(config.tls);
    return config;
  }

  protected override reloaded(error: string | undefined): void {
    const { path, log } = this.#options;
    if (error === undefined) log.info("Reloaded web config", { file: path });
    else log.error("Error reloading web config, keeping the previous one", { error });
  }

  #replaceTls(tls: TlsConfig): void {
    const { path, log, onTlsChange } = this.#options;
    if (onTlsChange !== undefined) onTlsChange(tls);
    else log.warn("TLS certificate has changed, restart required to use it", { file: path });
  }

  #apply({ users, rateLimit }: WebConfig): void {
    // Unchanged sections keep their state: cached credentials and used tokens.
    if (serialized(users) !== serialized(this.#auth?.users)) {
      this.#auth = users && new BasicAuth(users, (password, hash) => this.#compare(password, hash));
    }
    if (serialized(rateLimit) !== serialized(this.#limiter?.limit)) {
      this.#limiter = rateLimit && new RateLimiter(rateLimit);
    }
  }

  #compare(password: string, hash: string): Promise<boolean> {
    return this.#options.compare?.(password, hash) ?? this.#bcrypt.compare(password, hash);
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
