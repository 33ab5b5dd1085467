import { assert, assertEquals, assertRejects } from "@std/assert";
import { BasicAuth, parseBasic, PENDING_LIMIT, REJECTED_LIMIT, type Verdict } from "../../../lib/web/basic_auth.ts";
import { costOf, decoyHash } from "../../../lib/web/bcrypt.ts";

/** Returns a well-formed hash that ends with the password. */
function fakeHash(password: string, cost = 10): string {
  return decoyHash(cost).slice(0, -password.length) + password;
}

/** A `BasicAuth` that records its comparisons. */
class RecordedAuth {
  /** All comparisons so far. */
  readonly compared: { password: string; hash: string }[] = [];
  /** If set, comparisons wait for it. */
  gate: Promise<void> | undefined;
  readonly #auth: BasicAuth;

  constructor(users: Record<string, string>) {
    this.#auth = new BasicAuth(new Map(Object.entries(users)), async (password, hash) => {
      this.compared.push({ password, hash });
      await this.gate;
      if (password === "broken") throw new Error("Worker failed");
      return password !== "" && hash.endsWith(password);
    });
  }

  check(user: string, password: string): Promise<Verdict> {
    return this.#auth.check(basic(`${user}:${password}`));
  }
}

function basic(credentials: string): string {
  return `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(credentials)))}`;
}

Deno.test("BasicAuth accepts users with the right password only", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret"), bob: fakeHash("other") });
  assertEquals(await auth.check("alice", "secret"), "accepted");
  assertEquals(await auth.check("bob", "other"), "accepted");
  assertEquals(await auth.check("alice", "other"), "rejected");
  assertEquals(await auth.check("bob", "secret"), "rejected");
  assertEquals(await auth.check("Alice", "secret"), "rejected");
  assertEquals(await auth.check("", "secret"), "rejected");
  assertEquals(await auth.check("alice", ""), "rejected");
  assertEquals(await auth.check("__proto__", "secret"), "rejected");
});

Deno.test("BasicAuth caches the result of a comparison", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret") });
  for (let round = 0; round < 3; round++) {
    assertEquals(await auth.check("alice", "secret"), "accepted");
    assertEquals(await auth.check("alice", "wrong"), "rejected");
    assertEquals(await auth.check("mallory", "secret"), "rejected");
  }
  assertEquals(auth.compared.map(({ password }) => password), ["secret", "wrong", "secret"]);
});

Deno.test("BasicAuth compares for unknown users with hashes of the same costs", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret", 9), bob: fakeHash("other", 12) });
  for (let n = 0; n < 40; n++) await auth.check(`nobody${n}`, "e");
  assertEquals(auth.compared.length, 40, "a comparison each");
  const costs = new Set(auth.compared.map(({ hash }) => costOf(hash)));
  assertEquals([...costs].sort(), [12, 9]);
  assert(auth.compared.every(({ hash }) => hash.endsWith("e")), "the decoy matches the password");
});

Deno.test("BasicAuth rejects unknown users even if the decoy matches", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret") });
  for (let round = 0; round < 3; round++) assertEquals(await auth.check("mallory", "e"), "rejected");
});

Deno.test("BasicAuth evicts the least recently used rejected credentials, never accepted ones", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret") });
  await auth.check("alice", "secret");
  for (let n = 0; n < REJECTED_LIMIT; n++) await auth.check("alice", `wrong ${n}`);
  auth.compared.length = 0;
  // Makes the second one the least recently used.
  await auth.check("alice", "wrong 0");
  assertEquals(auth.compared, []);
  await auth.check("alice", "one more");
  await auth.check("alice", "wrong 0");
  await auth.check("alice", "wrong 2");
  await auth.check("alice", "secret");
  assertEquals(auth.compared.map(({ password }) => password), ["one more"]);
  await auth.check("alice", "wrong 1");
  assertEquals(auth.compared.map(({ password }) => password), ["one more", "wrong 1"]);
});

Deno.test("BasicAuth limits concurrent comparisons", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret"), bob: fakeHash("other") });
  await auth.check("bob", "other");
  const { promise, resolve } = Promise.withResolvers<void>();
  auth.gate = promise;
  const verdicts: Verdict[] = [];
  const { promise: full, resolve: isFull } = Promise.withResolvers<void>();
  const flood = Array.from({ length: 100 }, async (_, n) => {
    verdicts.push(await auth.check("alice", `wrong ${n}`));
    if (verdicts.length === 100 - PENDING_LIMIT) isFull();
  });
  await full;
  assertEquals(new Set(verdicts), new Set<Verdict>(["busy"]));
  assertEquals(auth.compared.length, 1 + PENDING_LIMIT);
  assertEquals(await auth.check("bob", "other"), "accepted", "cached credentials need no comparison");
  resolve();
  await Promise.all(flood);
  assertEquals(verdicts.slice(100 - PENDING_LIMIT), Array(PENDING_LIMIT).fill("rejected"));
  assertEquals(await auth.check("alice", "secret"), "accepted", "below the limit again");
});

Deno.test("BasicAuth shares the comparison of concurrent checks", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret") });
  const checks = Array.from({ length: 50 }, () => auth.check("alice", "secret"));
  assertEquals(await Promise.all(checks), checks.map(() => "accepted"));
  assertEquals(auth.compared.length, 1);
});

Deno.test("BasicAuth.check() throws if the comparison fails, and compares again the next time", async () => {
  const auth = new RecordedAuth({ alice: fakeHash("secret") });
  for (let n = 0; n < PENDING_LIMIT + 2; n++) {
    await assertRejects(() => auth.check("alice", "broken"), Error, "Worker failed");
  }
  assertEquals(auth.compared.length, PENDING_LIMIT + 2);
  assertEquals(await auth.check("alice", "secret"), "accepted");
});

Deno.test("BasicAuth rejects missing and malformed credentials without a comparison", async () => {
  const compare = (): Promise<boolean> => Promise.reject(new Error("Compared"));
  const auth = new BasicAuth(new Map([["alice", fakeHash("secret")]]), compare);
  for (const header of [null, "", "Basic", "Bearer YTpi", "Basic !"]) {
    assertEquals(await auth.check(header), "rejected");
  }
});

Deno.test("parseBasic() returns user and password", () => {
  const table: Record<string, [user: string, password: string]> = {
    "alice:secret": ["alice", "secret"],
    "alice:with:colons:": ["alice", "with:colons:"],
    "alice:": ["alice", ""],
    ":secret": ["", "secret"],
    ":": ["", ""],
    "zoë:pässwörd 🦙": ["zoë", "pässwörd 🦙"],
    "\ufeffalice:\ufeff": ["\ufeffalice", "\ufeff"],
    " alice : secret ": [" alice ", " secret "],
  };
  for (const [text, [user, password]] of Object.entries(table)) {
    assertEquals(parseBasic(basic(text)), { user, password }, text);
  }
  assertEquals(parseBasic("bAsIc  YTpi"), { user: "a", password: "b" });
});

Deno.test("parseBasic() rejects headers that violate RFC 7617", () => {
  const headers = [
    ...[null, "", "Basic", "Basic ", "YTpi", "BasicYTpi", "Bearer YTpi", "Digest YTpi"],
    // Invalid base64: wrong alphabet, whitespace, wrong padding, two headers in one.
    ...["Basic YTpi!", "Basic YTp-", "Basic YT pi", "Basic YTpiY", "Basic YTpiYg", "Basic YTpi====", "Basic =YTp"],
    ...["Basic YTpi, Basic YTpi", "Basic YTpi\n", " Basic YTpi", "Basic a:b"],
    basic("no colon"),
    basic("control\u0000:x"),
    basic("x:control\n"),
    basic("x:\u007f"),
    // Latin-1.
    `Basic ${btoa("zoë:x")}`,
  ];
  for (const header of headers) assertEquals(parseBasic(header), undefined, String(header));
});
