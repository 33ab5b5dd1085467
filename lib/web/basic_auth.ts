/**
 * HTTP basic authentication (RFC 7617) against bcrypt hashes.
 *
 * @module
 */

import { type Compare, costOf, decoyHash } from "./bcrypt.ts";

/** Maximum number of concurrent password comparisons; beyond it, requests are rejected unchecked. */
export const PENDING_LIMIT = 8;
/** Number of rejected credentials to cache, which makes a scraper with an outdated password cheap. */
export const REJECTED_LIMIT = 256;

/** Result of a check; `busy` means that too many comparisons are in progress to check the credentials. */
export type Verdict = "accepted" | "rejected" | "busy";

/** User name and password of an `Authorization` header. */
interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** Authenticates a fixed set of users. Credentials are cached as keyed digests; passwords are not stored. */
export class BasicAuth {
  /** Bcrypt hash by user name. */
  readonly users: ReadonlyMap<string, string>;
  /** Hashes of the same costs as the users' hashes, compared for unknown users. */
  readonly #decoys: readonly string[];
  readonly #compare: Compare;
  readonly #key = crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  /** Digest of the last accepted credentials by user. Failed attempts cannot evict it. */
  readonly #accepted = new Map<string, string>();
  /** Digests of rejected credentials, least recently used first. */
  readonly #rejected = new Set<string>();
  /** Comparisons in progress, by digest. */
  readonly #pending = new Map<string, Promise<boolean>>();

  /** @param users Bcrypt hash by user name; at least one. */
  constructor(users: ReadonlyMap<string, string>, compare: Compare) {
    this.users = users;
    this.#decoys = [...users.values()].map((hash) => decoyHash(costOf(hash) ?? 10));
    this.#compare = compare;
  }

  /**
   * Checks the value of an `Authorization` header. Unknown users cost a comparison too, so that timing does not reveal
   * which users exist.
   *
   * @throws {Error} If the comparison fails.
   */
  async check(authorization: string | null): Promise<Verdict> {
    const credentials = parseBasic(authorization);
    if (credentials === undefined) return "rejected";
    const digest = await this.#digest(credentials);
    if (this.#accepted.get(credentials.user) === bytesToText(digest)) return "accepted";
    return await this.#authenticate(credentials, digest);
  }

  async #authenticate(credentials: Credentials, digest: Uint8Array): Promise<Verdict> {
    const key = bytesToText(digest);
    if (this.#rejected.delete(key)) {
      this.#rejected.add(key);
      return "rejected";
    }
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      if (this.#pending.size >= PENDING_LIMIT) return "busy";
      pending = this.#matches(credentials, digest).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    const isAccepted = await pending;
    if (isAccepted) this.#accepted.set(credentials.user, key);
    else this.#addRejected(key);
    return isAccepted ? "accepted" : "rejected";
  }

  async #matches({ user, password }: Credentials, digest: Uint8Array): Promise<boolean> {
    const hash = this.users.get(user);
    // Repeated credentials get the same decoy, as a known user always has the same hash.
    const decoy = this.#decoys[(digest[0] ?? 0) % this.#decoys.length] ?? "";
    const matches = await this.#compare(password, hash ?? decoy);
    return matches && hash !== undefined;
  }

  #addRejected(key: string): void {
    this.#rejected.add(key);
    const [oldest] = this.#rejected;
    if (this.#rejected.size > REJECTED_LIMIT && oldest !== undefined) this.#rejected.delete(oldest);
  }

  async #digest({ user, password }: Credentials): Promise<Uint8Array> {
    const text = new TextEncoder().encode(`${user}:${password}`);
    return new Uint8Array(await crypto.subtle.sign("HMAC", await this.#key, text));
  }
}

function bytesToText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Parses the credentials of an `Authorization` header, encoded in UTF-8. Returns `undefined` if they are invalid. */
export function parseBasic(authorization: string | null): Credentials | undefined {
  const [, base64] = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization ?? "") ?? [];
  if (base64 === undefined || base64.length % 4 !== 0) return undefined;
  let text: string;
  try {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
  const colon = text.indexOf(":");
  // Control characters are invalid in both parts (RFC 7617, 2).
  // deno-lint-ignore no-control-regex
  if (colon < 0 || /[\u0000-\u001f\u007f]/.test(text)) return undefined;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
