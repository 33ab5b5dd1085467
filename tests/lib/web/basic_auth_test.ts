import { assert, assertEquals, assertRejects } from "@std/assert";
import { BasicAuth, parseBasic, PENDING_LIMIT, REFUSED_LIMIT, type Verdict } from "../../../lib/web/basic_auth.ts";
import { costOf, decoyHash } from "../../../lib/web/bcrypt.ts";

/** What stands for hashes: a form and a cost, and the password at the end. */
function fakeHash(password: string, cost = 10): string {
  return decoyHash(cost).slice(0, -password.length) + password;
}

/** An authentication whose comparisons are seen. */
class Watched {
  /** Each comparison that was made. */
  readonly compared: { password: string; hash: string }[] = [];
  /** Where set, comparisons wait for it. */
  gate: Promise<void> | undefined;
  readonly #auth: BasicAuth;

  constructor(users: Record<string, string>) {
    this.#auth = new BasicAuth(new Map(Object.entries(users)), async (password, hash) => {
      this.compared.push({ password, hash });
      await this.gate;
      if (password === "broken") throw new Error("The thread is gone");
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

Deno.test("BasicAuth accepts a user with the right password and nobody else", async () => {
  const auth = new Watched({ alice: fakeHash("secret"), bob: fakeHash("other") });
  assertEquals(await auth.check("alice", "secret"), "accepted");
  assertEquals(await auth.check("bob", "other"), "accepted");
  assertEquals(await auth.check("alice", "other"), "refused");
  assertEquals(await auth.check("bob", "secret"), "refused");
  assertEquals(await auth.check("Alice", "secret"), "refused");
  assertEquals(await auth.check("", "secret"), "refused");
  assertEquals(await auth.check("alice", ""), "refused");
  assertEquals(await auth.check("__proto__", "secret"), "refused");
});

Deno.test("BasicAuth compares once, and knows the answer from then on", async () => {
  const auth = new Watched({ alice: fakeHash("secret") });
  for (let round = 0; round < 3; round++) {
    assertEquals(await auth.check("alice", "secret"), "accepted");
    assertEquals(await auth.check("alice", "wrong"), "refused");
    assertEquals(await auth.check("mallory", "secret"), "refused");
  }
  assertEquals(auth.compared.map(({ password }) => password), ["secret", "wrong", "secret"]);
});

Deno.test("BasicAuth compares for unknown users too, with a hash of a cost that users have", async () => {
  const auth = new Watched({ alice: fakeHash("secret", 9), bob: fakeHash("other", 12) });
  for (let n = 0; n < 40; n++) await auth.check(`nobody${n}`, "e");
  assertEquals(auth.compared.length, 40, "each takes a comparison");
  const costs = new Set(auth.compared.map(({ hash }) => costOf(hash)));
  assertEquals([...costs].sort(), [12, 9]);
  assert(auth.compared.every(({ hash }) => hash.endsWith("e")), "the comparison itself says that it matches");
});

Deno.test("BasicAuth never accepts an unknown user, be the decoy's password known", async () => {
  const auth = new Watched({ alice: fakeHash("secret") });
  for (let round = 0; round < 3; round++) assertEquals(await auth.check("mallory", "e"), "refused");
});

Deno.test("BasicAuth forgets refused credentials before accepted ones, and keeps a bounded number", async () => {
  const auth = new Watched({ alice: fakeHash("secret") });
  await auth.check("alice", "secret");
  for (let n = 0; n < REFUSED_LIMIT; n++) await auth.check("alice", `wrong ${n}`);
  auth.compared.length = 0;
  // Used again, so that the second is the longest unused one now.
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

Deno.test("BasicAuth makes few comparisons at once, and looks at no more credentials meanwhile", async () => {
  const auth = new Watched({ alice: fakeHash("secret"), bob: fakeHash("other") });
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
  assertEquals(await auth.check("bob", "other"), "accepted", "who is known needs no comparison");
  resolve();
  await Promise.all(flood);
  assertEquals(verdicts.slice(100 - PENDING_LIMIT), Array(PENDING_LIMIT).fill("refused"));
  assertEquals(await auth.check("alice", "secret"), "accepted", "there is room again");
});

Deno.test("BasicAuth makes one comparison for the same credentials at once", async () => {
  const auth = new Watched({ alice: fakeHash("secret") });
  const checks = Array.from({ length: 50 }, () => auth.check("alice", "secret"));
  assertEquals(await Promise.all(checks), checks.map(() => "accepted"));
  assertEquals(auth.compared.length, 1);
});

Deno.test("BasicAuth rejects where the comparison fails, and tries again the next time", async () => {
  const auth = new Watched({ alice: fakeHash("secret") });
  for (let n = 0; n < PENDING_LIMIT + 2; n++) {
    await assertRejects(() => auth.check("alice", "broken"), Error, "The thread is gone");
  }
  assertEquals(auth.compared.length, PENDING_LIMIT + 2);
  assertEquals(await auth.check("alice", "secret"), "accepted");
});

Deno.test("BasicAuth refuses without a comparison where there are no credentials", async () => {
  const compare = (): Promise<boolean> => Promise.reject(new Error("Compared"));
  const auth = new BasicAuth(new Map([["alice", fakeHash("secret")]]), compare);
  for (const header of [null, "", "Basic", "Bearer YTpi", "Basic !"]) assertEquals(await auth.check(header), "refused");
});

Deno.test("parseBasic() reads user and password", () => {
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

Deno.test("parseBasic() takes no header for credentials that are not sent as RFC 7617 has them", () => {
  const headers = [
    ...[null, "", "Basic", "Basic ", "YTpi", "BasicYTpi", "Bearer YTpi", "Digest YTpi"],
    // Not base64: another alphabet, blanks, padding too much or too little, two headers in one.
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
