import { assert, assertEquals, assertRejects } from "@std/assert";
import { Bcrypt, costOf, decoyHash } from "../../../lib/web/bcrypt.ts";

/** Made by libxcrypt. */
const HASHES: Record<string, string> = {
  "secret": "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
  "päss:wörd": "$2y$04$abcdefghijklmnopqrstuukt5gEdxhyYU8q7nPVxOXoWsXfLuYbs6",
};

Deno.test("Bcrypt knows the passwords of hashes that others made", async () => {
  const bcrypt = new Bcrypt();
  for (const [password, hash] of Object.entries(HASHES)) {
    for (const kind of ["2a", "2b", "2y"]) {
      assertEquals(await bcrypt.compare(password, hash.replace("2y", kind)), true, kind);
    }
    assertEquals(await bcrypt.compare(`${password} `, hash), false);
    assertEquals(await bcrypt.compare("", hash), false);
    assertEquals(await bcrypt.compare(password, decoyHash()), false);
  }
  bcrypt.close();
});

Deno.test("Bcrypt gives each of many callers its own answer", async () => {
  const bcrypt = new Bcrypt();
  const hash = HASHES.secret ?? "";
  const answers = ["secret", "a", "secret", "b", "c"].map((password) => bcrypt.compare(password, hash));
  assertEquals(await Promise.all(answers), [true, false, true, false, false]);
  bcrypt.close();
});

Deno.test("Bcrypt leaves the thread of the streams alone", async () => {
  const bcrypt = new Bcrypt();
  await bcrypt.compare("", decoyHash());
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  // About 300 ms of work, during which a timer of this thread goes on.
  await bcrypt.compare("secret", decoyHash(12));
  clearInterval(timer);
  assert(ticks > 5, `${ticks} ticks`);
  bcrypt.close();
});

Deno.test("Bcrypt fails open comparisons when it is closed, and starts again for the next", async () => {
  const bcrypt = new Bcrypt();
  const open = assertRejects(() => bcrypt.compare("secret", decoyHash(12)), Error, "was closed");
  bcrypt.close();
  await open;
  assertEquals(await bcrypt.compare("secret", HASHES.secret ?? ""), true);
  bcrypt.close();
});

Deno.test({
  name: "Bcrypt fails where the thread cannot read its module",
  permissions: { read: false },
  fn: async () => {
    const bcrypt = new Bcrypt();
    await assertRejects(() => bcrypt.compare("secret", decoyHash()), Error, "Requires read access");
    bcrypt.close();
  },
});

Deno.test("costOf() knows the hashes of bcrypt by their form", () => {
  const tail = "a".repeat(53);
  const table: Record<string, number | undefined> = {
    [`$2b$04$${tail}`]: 4,
    [`$2a$10$${tail}`]: 10,
    [`$2y$16$${tail}`]: 16,
    [`$2y$17$${tail}`]: undefined,
    [`$2y$03$${tail}`]: undefined,
    [`$2y$4$${tail}a`]: undefined,
    [`$2x$10$${tail}`]: undefined,
    [`$2$10$${tail}`]: undefined,
    [`$2b$10$${tail}a`]: undefined,
    [`$2b$10$${tail.slice(1)}`]: undefined,
    [`$2b$10$${tail.slice(1)}+`]: undefined,
    [`$2b$10$${tail}\n`]: undefined,
    "secret": undefined,
    "": undefined,
  };
  for (const [hash, cost] of Object.entries(table)) assertEquals(costOf(hash), cost, hash);
});

Deno.test("decoyHash() makes hashes of a cost", () => {
  for (const cost of [4, 9, 10, 16]) assertEquals(costOf(decoyHash(cost)), cost);
});
