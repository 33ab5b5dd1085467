/**
 * Stands before the own paths: passwords and rate limit as the web config file has them at the moment.
 *
 * @module
 */

import { messageOf, UserError } from "../errors.ts";
import type { TlsConfig } from "../http.ts";
import { BasicAuth } from "./basic_auth.ts";
import { Bcrypt, type Compare, decoyHash } from "./bcrypt.ts";
import { type WebServer } from "../settings/settings.ts";
import type { Log } from "../log/log.ts";
import { RateLimiter } from "./rate_limit.ts";
import { loadWebConfig, type WebConfig } from "./web_config.ts";

/** How long the file is taken to be as it was, in milliseconds. */
const RECHECK_MS = 1000;

/** After what time somebody may try again whose credentials were not looked at, in milliseconds. */
const RETRY_WHEN_BUSY_MS = 1000;

/** Options of {@linkcode WebGuard.open}. */
export interface WebGuardOptions {
  /** The web config file. */
  readonly path: string;
  /** What listens, since servers differ in what they can do about TLS. */
  readonly server: WebServer;
  readonly log: Log;
  /**
   * Called with certificate, key and least version when one of them has changed on disk; must not throw. Absent: the
   * log says that it takes a restart.
   */
  readonly onTlsChange?: (tls: TlsConfig) => void;
  /** Compares passwords. Default: with bcrypt, in a thread of its own. */
  readonly compare?: Compare;
  /** How long the file is taken to be as it was, in milliseconds. Default: a second. */
  readonly recheckMs?: number;
}

/**
 * The guard. A request that comes when a second has passed since the last look reads the file again, so that no timer
 * and no watcher is left anywhere. A file that has become unusable changes nothing until it is mended.
 */
export class WebGuard {
  readonly #options: WebGuardOptions;
  readonly #bcrypt = new Bcrypt();
  #config: WebConfig;
  #auth: BasicAuth | undefined;
  #limiter: RateLimiter | undefined;
  /** What was last said to be wrong with the file. */
  #complaint: string | undefined;
  /** Not before this time of `performance.now()` is the file read again. */
  #restsUntil: number;
  #reading: Promise<void> | undefined;

  private constructor(options: WebGuardOptions, config: WebConfig) {
    this.#options = options;
    this.#config = config;
    this.#restsUntil = this.#nextLook();
    this.#setUp(config);
  }

  /**
   * Reads the file and makes its guard, to be closed at the end.
   *
   * @throws {UserError} Where the file is unusable: with a line for everything that is wrong.
   */
  static async open(options: WebGuardOptions): Promise<WebGuard> {
    const guard = new WebGuard(options, await loadWebConfig(options.path, options.server));
    if (guard.#auth === undefined) return guard;
    try {
      // Starting the thread blocks for 20 ms; now there is no stream yet that would feel it.
      await guard.#compare("", decoyHash());
    } catch (error) {
      throw new UserError(`${options.path}: basic_auth_users cannot be checked: ${messageOf(error)}`);
    }
    return guard;
  }

  /** What the listener needs; `undefined`: plain HTTP. */
  get tls(): TlsConfig | undefined {
    return this.#config.tls;
  }

  /**
   * Judges a request for an own path.
   *
   * @returns The refusal, or `undefined` to let the request in.
   * @throws {Error} Where a password could not be compared.
   */
  async check(request: Pick<Request, "headers">): Promise<Response | undefined> {
    if (performance.now() >= this.#restsUntil) await this.refresh();
    const waitMs = this.#limiter?.take() ?? 0;
    if (waitMs > 0) return tooMany(waitMs);
    switch (await this.#auth?.check(request.headers.get("authorization"))) {
      case "refused":
        return refusal(401, "A user name and a password are needed.\n", {
          "www-authenticate": 'Basic realm="ollama-exporter", charset="UTF-8"',
        });
      case "busy":
        return tooMany(RETRY_WHEN_BUSY_MS);
      default:
        return undefined;
    }
  }

  /** Reads the file again now, and uses it from now on where it can be used. Never rejects. */
  refresh(): Promise<void> {
    return this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      this.#restsUntil = this.#nextLook();
    });
  }

  /** Ends the thread that compares passwords. */
  close(): void {
    this.#bcrypt.close();
  }

  async #read(): Promise<void> {
    const { path, server, log } = this.#options;
    try {
      const config = await loadWebConfig(path, server);
      assertReplaceable(this.#config, config, path);
      const isChanged = serialized(config) !== serialized(this.#config);
      if (isChanged) this.#replace(config);
      if (isChanged || this.#complaint !== undefined) log.info("The web config was read again", { file: path });
      this.#complaint = undefined;
    } catch (error) {
      const complaint = messageOf(error);
      if (complaint !== this.#complaint) {
        log.error("The web config cannot be used; what it said before stays in force", { error: complaint });
      }
      this.#complaint = complaint;
    }
  }

  #replace(config: WebConfig): void {
    const { path, log, onTlsChange } = this.#options;
    const isTlsChanged = serialized(config.tls) !== serialized(this.#config.tls);
    this.#setUp(config);
    if (!isTlsChanged || config.tls === undefined) return;
    if (onTlsChange !== undefined) onTlsChange(config.tls);
    else log.warn("The certificate has changed; a restart is needed to use it", { file: path });
  }

  #setUp(config: WebConfig): void {
    const { users, rateLimit } = config;
    // What is the same goes on: passwords that were compared, and requests that were counted.
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

  #nextLook(): number {
    return performance.now() + (this.#options.recheckMs ?? RECHECK_MS);
  }
}

/** @throws {UserError} Where a file cannot take the place of the one before while the exporter runs. */
function assertReplaceable(before: WebConfig, after: WebConfig, path: string): void {
  if ((before.tls === undefined) !== (after.tls === undefined)) {
    throw new UserError(`${path}: tls_server_config can be added or taken away by a restart only`);
  }
  // Some editors empty a file before they write it. That moment must not open what a password guards.
  if (before.users !== undefined && serialized(after) === serialized({})) {
    throw new UserError(`${path}: The file has become empty; it takes a restart to ask for no password any more`);
  }
}

function serialized(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner) => inner instanceof Map ? [...inner] : inner);
}

function tooMany(waitMs: number): Response {
  return refusal(429, "Too many requests.\n", { "retry-after": String(Math.ceil(waitMs / 1000)) });
}

function refusal(status: number, text: string, headers: Record<string, string>): Response {
  return new Response(text, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", ...headers },
  });
}
