/** Runs the benchmark without asserting speed. */

import { assertEquals, assertMatch } from "@std/assert";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;

async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", MAIN, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

const TINY = [
  "--reps=1",
  "--measure-ms=50",
  "--warm-up-ms=20",
  "--paced-tokens=5",
  "--body-bytes=100000",
  "--clients=1",
];

Deno.test("bench prints medians and ratios of a case", async () => {
  const { code, stdout, stderr } = await bench("--case=full1", "--proxy=direct,pass,us", ...TINY);
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^\| direct +\| [\d.]+/m);
  assertMatch(stdout, /^\| pass +\| [\d.]+/m);
  assertMatch(stdout, /^\| us +\| [\d.]+/m);
  assertMatch(stdout, /^\| us \/ pass +\| \d+\.\d\d/m);
});

Deno.test("bench runs a case of every kind", async () => {
  const cases = [
    "json1",
    "full32_openai_hidden",
    "full32_anthropic",
    "paced50",
    "download",
    "upload_chunked",
    "scrape",
  ];
  const { code, stderr } = await bench(`--case=${cases}`, "--proxy=us", "--upstreams=1", ...TINY);
  assertEquals(code, 0, stderr);
});

Deno.test("bench rejects an unknown case", async () => {
  const { code, stderr } = await bench("--case=nonsense");
  assertEquals(code, 1);
  assertMatch(stderr, /unknown case "nonsense"/);
});
