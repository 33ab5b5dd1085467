/**
 * The web configuration file: the TLS, users and rate limit sections of the exporter-toolkit format
 * (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
 *
 * @module
 */

import { dirname } from "node:path";
import { fileErrorOf } from "../errors.ts";
import type { TlsConfig } from "../http.ts";
import { parseDuration } from "../settings/parse.ts";
import type { WebServer } from "../settings/settings.ts";
import { readText } from "../settings/text_file.ts";
import { Checker, filePath, integer, readYaml, scalar, type ValueReader } from "../settings/yaml_file.ts";
import { ACCEPTED_HASHES, costOf } from "./bcrypt.ts";
import type { RateLimit } from "./rate_limit.ts";

/** Contents of a web configuration file. */
export interface WebConfig {
  /** `undefined` serves plain HTTP. */
  readonly tls: TlsConfig | undefined;
  /** Bcrypt hash by user name. `undefined` disables authentication. */
  readonly users: ReadonlyMap<string, string> | undefined;
  /** Limit of all admin endpoints together. `undefined` disables it. */
  readonly rateLimit: RateLimit | undefined;
}

/** Maximum burst of a rate limit. */
export const BURST_LIMIT = 1_000_000;
/** Maximum interval of a rate limit, in milliseconds. */
export const INTERVAL_LIMIT_MS = 86_400_000;

const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/s;
const PRIVATE_KEY = /-----BEGIN (?:RSA |EC )?PRIVATE KEY-----.*?-----END (?:RSA |EC )?PRIVATE KEY-----/s;

/**
 * Reads a web configuration file and the files that it refers to.
 *
 * @param server HTTP server implementation; `Deno.serve` cannot disable TLS 1.2.
 * @throws {UserError} If the file is invalid, with a line for each problem. Password hashes are never quoted.
 */
export async function loadWebConfig(path: string, server: WebServer): Promise<WebConfig> {
  const checker = new Checker(path);
  const sections = checker.mapping(await readYaml(path), "", {
    tls_server_config: tlsReader(dirname(path), server),
    basic_auth_users: readUsers,
    rate_limit: readRateLimit,
  });
  const tls = sections.tls_server_config && await loadTls(sections.tls_server_config, checker);
  checker.end();
  return { tls, users: sections.basic_auth_users, rateLimit: sections.rate_limit };
}

/** The `tls_server_config` section. A missing key is `undefined` and has been reported. */
interface TlsSection {
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly minVersion: TlsConfig["minVersion"] | undefined;
}

function tlsReader(folder: string, server: WebServer): ValueReader<TlsSection> {
  const versions = server === "node" ? "`TLS12` or `TLS13`" : "`TLS12` (`TLS13` requires the server `node`)";
  return (value, key, checker) => {
    const values = checker.mapping(value, key, {
      cert_file: filePath(folder),
      key_file: filePath(folder),
      min_version: scalar(
        versions,
        (text) => text === "TLS12" || text === "TLS13" && server === "node" ? text : undefined,
      ),
    });
    for (const name of ["cert_file", "key_file"]) {
      if (!(name in values)) checker.add(`missing key ${key}.${name}`);
    }
    return { certFile: values.cert_file, keyFile: values.key_file, minVersion: values.min_version };
  };
}

/** Reads certificate and key, and checks that they match: otherwise the listener would fail to start. */
async function loadTls(section: TlsSection, checker: Checker): Promise<TlsConfig | undefined> {
  const [cert, key] = await Promise.all([
    readPem(section.certFile, "tls_server_config.cert_file", checker),
    readPem(section.keyFile, "tls_server_config.key_file", checker),
  ]);
  if (cert === undefined || key === undefined) return undefined;
  // Takes 20 ms to load, so it is loaded only if needed.
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  const certificate = attempt(() => new X509Certificate(CERTIFICATE.exec(cert)?.[0] ?? ""));
  const privateKey = attempt(() => createPrivateKey(PRIVATE_KEY.exec(key)?.[0] ?? ""));
  if (certificate === undefined) checker.add("tls_server_config.cert_file: no PEM certificate found");
  if (privateKey === undefined) {
    checker.add("tls_server_config.key_file: no unencrypted PEM private key found");
  }
  if (certificate === undefined || privateKey === undefined) return undefined;
  // Deno 2.6 does not implement this; there the listener fails.
  if (attempt(() => certificate.checkPrivateKey(privateKey)) === false) {
    checker.add(
      "tls_server_config.key_file: private key does not match the certificate in tls_server_config.cert_file",
    );
  }
  return { cert, key, minVersion: section.minVersion ?? "TLS12" };
}

async function readPem(path: string | undefined, key: string, checker: Checker): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readText(path);
  } catch (error) {
    checker.add(`${key}: cannot read ${JSON.stringify(path)}: ${fileErrorOf(error)}`);
    return undefined;
  }
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** Reads users without quoting anything invalid, which may be a password. */
function readUsers(value: unknown, key: string, checker: Checker): ReadonlyMap<string, string> | undefined {
  const users = new Map<string, string>();
  // An empty section may be a file about to be written by an editor; it must not disable authentication.
  if (value === null) checker.reject(value, key, "a mapping of user names to bcrypt hashes");
  // Without the space after the colon, `alice: secret` is a text.
  if (typeof value === "string") checker.add(`${key}: expected a mapping of user names to bcrypt hashes, got a text`);
  for (const [name, hash] of typeof value === "string" ? [] : checker.entries(value, key)) {
    const isHash = typeof hash === "string" && costOf(hash) !== undefined;
    if (!isHash) checker.add(`${key}.${name}: expected ${ACCEPTED_HASHES}`);
    else if (name.includes(":")) checker.add(`${key}.${name}: a user name must not contain a colon`);
    else users.set(name, hash);
  }
  // As in exporter-toolkit, `basic_auth_users: {}` disables authentication.
  return users.size === 0 ? undefined : users;
}

function readRateLimit(value: unknown, key: string, checker: Checker): RateLimit | undefined {
  const values = checker.mapping(value, key, {
    interval: scalar(
      "a duration up to `24h`, such as `250ms` or `1s`, or `0` for no limit",
      (text) => parseDuration(text, INTERVAL_LIMIT_MS),
    ),
    burst: integer(1, BURST_LIMIT),
  });
  if (!("interval" in values)) checker.add(`missing key ${key}.interval`);
  if (!values.interval) return undefined;
  if (!("burst" in values)) checker.add(`missing key ${key}.burst`);
  return values.burst === undefined ? undefined : { intervalMs: values.interval, burst: values.burst };
}
