import { assertEquals } from "@std/assert";

Deno.test("bcrypt_worker.ts answers each question under its number", async () => {
  const worker = new Worker(new URL("../../../lib/web/bcrypt_worker.ts", import.meta.url), { type: "module" });
  const answers: unknown[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.onerror = reject;
  worker.onmessage = ({ data }) => {
    answers.push(data);
    if (answers.length === 3) resolve();
  };
  // Made by libxcrypt.
  const hash = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
  worker.postMessage({ id: 7, password: "secret", hash });
  worker.postMessage({ id: 8, password: "Secret", hash });
  worker.postMessage({ id: 9, password: "secret", hash: "no hash" });
  await promise;
  worker.terminate();
  assertEquals(answers, [{ id: 7, matches: true }, { id: 8, matches: false }, { id: 9, matches: false }]);
});
