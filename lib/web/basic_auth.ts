/**
 * HTTP basic authentication (RFC 7617) against bcrypt hashes.
 *
 * @module
 */

import { type Compare, costOf, decoyHash } from "./bcrypt.ts";

/** Comparisons that may be open at once; further ones are refused until one has ended. */
export const PENDING_LIMIT = 8;
/** Refused credentials that are remembered, so that a scraper with an old password costs nothing. */
export const REFUSED_LIMIT = 256;

/** What to do with a request; `busy`: too many unknown credentials are being compared, so it was not looked at. */
export type Verdict = "accepted" | "refused" | "busy";

/** What a header says. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** A fixed set of users. Passwords are not kept: what was compared is remembered as a digest under a key of its own. */
export class BasicAuth {
  readonly #users: ReadonlyMap<string, string>;
  /** A hash of each user's cost, to be compared for those who are not users. */
  readonly #decoys: readonly string[];
  readonly #compare: Compare;
  readonly #key = crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  /** Digest of the last accepted credentials, by user: what strangers send cannot push it out. */
  readonly #accepted = new Map<string, string>();
  /** Digests, the longest unused first. */
  readonly #refused = new Set<string>();
  readonly #pending = new Map<string, Promise<boolean>>();

  /**
   * Sets up.
   *
   * @param users Bcrypt hash by name, at least one.
   */
  constructor(users: ReadonlyMap<string, string>, compare: Compare) {
    this.#users = users;
    this.#decoys = [...users.values()].map((hash) => decoyHash(costOf(hash) ?? 10));
    this.#compare = compare;
  }

  /**
   * Judges the value of an `Authorization` header. Unknown users are compared as known ones are, so that the time that
   * it takes does not tell who is a user.
   *
   * @throws {Error} Where the comparison could not be made.
   */
  async check(authorization: string | null): Promise<Verdict> {
    const credentials = parseBasic(authorization);
    if (credentials === undefined) return "refused";
    const digest = await this.#digest(credentials);
    if (this.#accepted.get(credentials.user) === bytesToText(digest)) return "accepted";
    return await this.#judge(credentials, digest);
  }

  async #judge(credentials: Credentials, digest: Uint8Array): Promise<Verdict> {
    const key = bytesToText(digest);
    if (this.#refused.delete(key)) {
      this.#refused.add(key);
      return "refused";
    }
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      if (this.#pending.size >= PENDING_LIMIT) return "busy";
      pending = this.#matches(credentials, digest).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    const isAccepted = await pending;
    if (isAccepted) this.#accepted.set(credentials.user, key);
    else this.#refuse(key);
    return isAccepted ? "accepted" : "refused";
  }

  async #matches({ user, password }: Credentials, digest: Uint8Array): Promise<boolean> {
    const hash = this.#users.get(user);
    // The same unknown name always gets the same decoy, as a known one always has the same hash.
    const decoy = this.#decoys[(digest[0] ?? 0) % this.#decoys.length] ?? "";
    const matches = await this.#compare(password, hash ?? decoy);
    return matches && hash !== undefined;
  }

  #refuse(key: string): void {
    this.#refused.add(key);
    const [oldest] = this.#refused;
    if (this.#refused.size > REFUSED_LIMIT && oldest !== undefined) this.#refused.delete(oldest);
  }

  async #digest({ user, password }: Credentials): Promise<Uint8Array> {
    const text = new TextEncoder().encode(`${user}:${password}`);
    return new Uint8Array(await crypto.subtle.sign("HMAC", await this.#key, text));
  }
}

function bytesToText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** The credentials in an `Authorization` header, which are UTF-8; `undefined` where there are none. */
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
  // Neither part may have control characters (RFC 7617, 2).
  // deno-lint-ignore no-control-regex
  if (colon < 0 || /[\u0000-\u001f\u007f]/.test(text)) return undefined;
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
