/**
 * `WEB_CONFIG_FILE`: TLS, users and rate limit in the format of Prometheus' exporter toolkit, as far as it makes sense
 * here (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
 *
 * @module
 */

import { dirname } from "node:path";
import { messageOf } from "../errors.ts";
import type { TlsConfig } from "../http.ts";
import { ACCEPTED_HASHES, costOf } from "./bcrypt.ts";
import type { WebServer } from "../settings/settings.ts";
import { parseGoDuration, type RateLimit } from "./rate_limit.ts";
import { Checker, filePath, type Reader, readText, readYaml, scalar, wholeNumber } from "../settings/yaml_file.ts";

/** What the file says. */
export interface WebConfig {
  /** Absent: plain HTTP. */
  readonly tls: TlsConfig | undefined;
  /** Bcrypt hash by name. Absent: nobody is asked for a password. */
  readonly users: ReadonlyMap<string, string> | undefined;
  /** For all own paths together. Absent: no limit. */
  readonly rateLimit: RateLimit | undefined;
}

/** Most requests at once in a rate limit. */
export const BURST_LIMIT = 1_000_000;

const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/s;
const PRIVATE_KEY = /-----BEGIN (?:RSA |EC )?PRIVATE KEY-----.*?-----END (?:RSA |EC )?PRIVATE KEY-----/s;

/**
 * Reads the file, and those that it names.
 *
 * @param server What listens: `Deno.serve` cannot be told to refuse TLS 1.2.
 * @throws {UserError} With a line for everything that is wrong; none of them quotes what stands for a password.
 */
export async function loadWebConfig(path: string, server: WebServer): Promise<WebConfig> {
  const checker = new Checker(path);
  const read = checker.mapping(await readYaml(path), "", {
    tls_server_config: tlsReader(dirname(path), server),
    basic_auth_users: readUsers,
    rate_limit: readRateLimit,
  });
  const tls = read.tls_server_config && await loadTls(read.tls_server_config, checker);
  checker.end();
  return { tls, users: read.basic_auth_users, rateLimit: read.rate_limit };
}

/** What `tls_server_config` says; what is missing was noted. */
interface TlsSection {
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly minVersion: TlsConfig["minVersion"] | undefined;
}

function tlsReader(folder: string, server: WebServer): Reader<TlsSection> {
  const versions = server === "node"
    ? "`TLS12`, `TLS13`"
    : "`TLS12`; the server `deno` cannot refuse TLS 1.2, the server `node` can";
  return (value, key, checker) => {
    const read = checker.mapping(value, key, {
      cert_file: filePath(folder),
      key_file: filePath(folder),
      min_version: scalar(
        versions,
        (text) => text === "TLS12" || text === "TLS13" && server === "node" ? text : undefined,
      ),
    });
    for (const name of ["cert_file", "key_file"]) {
      if (!(name in read)) checker.add(`${key}.${name} is missing`);
    }
    return { certFile: read.cert_file, keyFile: read.key_file, minVersion: read.min_version };
  };
}

/** Reads certificate and key. They must belong together: otherwise the listener would not start. */
async function loadTls(section: TlsSection, checker: Checker): Promise<TlsConfig | undefined> {
  const [cert, key] = await Promise.all([
    readPem(section.certFile, "tls_server_config.cert_file", checker),
    readPem(section.keyFile, "tls_server_config.key_file", checker),
  ]);
  if (cert === undefined || key === undefined) return undefined;
  // It takes 20 ms to load, so only those wait who need it.
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  const certificate = attempt(() => new X509Certificate(CERTIFICATE.exec(cert)?.[0] ?? ""));
  const privateKey = attempt(() => createPrivateKey(PRIVATE_KEY.exec(key)?.[0] ?? ""));
  if (certificate === undefined) checker.add("tls_server_config.cert_file has no certificate in PEM");
  if (privateKey === undefined) {
    checker.add("tls_server_config.key_file has no private key in PEM without a passphrase");
  }
  if (certificate === undefined || privateKey === undefined) return undefined;
  // Deno 2.6 cannot tell; there it is the listener that fails.
  if (attempt(() => certificate.checkPrivateKey(privateKey)) === false) {
    checker.add("tls_server_config.key_file is not the key of the certificate in tls_server_config.cert_file");
  }
  return { cert, key, minVersion: section.minVersion ?? "TLS12" };
}

async function readPem(path: string | undefined, key: string, checker: Checker): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readText(path);
  } catch (error) {
    checker.add(`${key} ${JSON.stringify(path)} cannot be read: ${messageOf(error)}`);
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

/** The values are not quoted: where one is not a hash, it may be the password itself. */
function readUsers(value: unknown, key: string, checker: Checker): ReadonlyMap<string, string> | undefined {
  const users = new Map<string, string>();
  // An empty list must not open what a password guards; it may be one that an editor is about to write.
  if (value === null) checker.refuse(value, key, "user names, each with its hash");
  for (const [name, hash] of checker.entries(value, key)) {
    const isHash = typeof hash === "string" && costOf(hash) !== undefined;
    if (!isHash) checker.add(`${key}.${name} is something else than ${ACCEPTED_HASHES}`);
    else if (name.includes(":")) checker.add(`${key}.${name} has a colon, which a name cannot have`);
    else users.set(name, hash);
  }
  // The toolkit's way to ask for no password: `basic_auth_users: {}`.
  return users.size === 0 ? undefined : users;
}

function readRateLimit(value: unknown, key: string, checker: Checker): RateLimit | undefined {
  const read = checker.mapping(value, key, {
    interval: scalar("a duration such as `1s`, `250ms`, up to `24h`; `0` for no limit", parseGoDuration),
    burst: wholeNumber(1, BURST_LIMIT),
  });
  if (!("interval" in read)) checker.add(`${key}.interval is missing`);
  if (!read.interval) return undefined;
  if (!("burst" in read)) checker.add(`${key}.burst is missing`);
  return read.burst === undefined ? undefined : { intervalMs: read.interval, burst: read.burst };
}
