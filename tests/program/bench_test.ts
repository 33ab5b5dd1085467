/** Runs the benchmark without asserting speed, and its reports of known figures. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { BENCH_FLAGS } from "../../bench/bench.ts";
import { Child, cpuSecondsBetween, type Usage, usageOf } from "../../bench/child.ts";
import { costSection } from "../../bench/costs.ts";
import { Flags, helpOf } from "../../bench/flags.ts";
import type { JobResult, Load } from "../../bench/load.ts";
import { generationRequest, get } from "../../bench/payloads.ts";
import { portOf, startScript } from "../../bench/proxies.ts";
import { figureOf, type RunResult, spreadOf } from "../../bench/report.ts";
import { targetTable } from "../../bench/targets.ts";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;

async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", MAIN, "bench", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

const TINY = [
  "--reps=1",
  "--measure-ms=50",
  "--warm-up-ms=20",
  "--warm-up-requests=16",
  "--paced-tokens=5",
  "--body-bytes=100000",
];

Deno.test("bench prints medians and ratios of a case for all proxies", async () => {
  const proxies = ["direct", "pass", "tap_deno", "tap_node", "us_deno", "us_node"];
  const { code, stdout, stderr } = await bench("--case=upload", `--proxy=${proxies}`, ...TINY);
  assertEquals(code, 0, stderr);
  for (const proxy of proxies) assertMatch(stdout, new RegExp(`^\\| ${proxy} +\\| [\\d.]+`, "m"));
  for (const ratio of ["us_deno / pass", "us_deno / tap_deno", "us_node / pass", "us_node / tap_node"]) {
    assertMatch(stdout, new RegExp(`^\\| ${ratio} +\\| \\d+\\.\\d\\d`, "m"));
  }
});

Deno.test("bench runs the proxies of a listener at the same time, where a case says so", async () => {
  const proxies = ["least_deno", "least_node", "us_deno", "us_node"];
  const { code, stdout, stderr } = await bench("--case=together16", `--proxy=${proxies}`, ...TINY);
  assertEquals(code, 0, stderr);
  const groups = ["1/1 together16 least_deno us_deno", "1/1 together16 least_node us_node"];
  assertEquals(stderr.match(/^1\/1 .*$/gm)?.toSorted(), groups);
  for (const proxy of proxies) assertMatch(stdout, new RegExp(`^\\| ${proxy} +\\| [\\d.]+`, "m"));
  assertMatch(stdout, /^\| us_node \/ least_node +\| \d+\.\d\d/m);
  assert(!stdout.includes("### Start"), "start times of proxies that start at the same time");
  const broken = ["--variant=broken=/bin/false", "--proxy=us_node,broken_node"];
  const failed = await bench("--case=together16", ...broken, ...TINY);
  assertEquals([failed.code, /together16 broken_node/.test(failed.stderr)], [1, true], failed.stderr);
});

Deno.test("bench --quick prints the costs first, memory included", async () => {
  const { code, stdout, stderr } = await bench("--quick", "--case=paced4", "--proxy=direct,us_deno,us_node", ...TINY);
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /^\| load +\| added ms per token, deno \|/);
  assertMatch(stdout, /^\| idle +\|.*\| \d+ +\| \d+ +\|$/m);
  assertMatch(stdout, /^\| 4 streams at 50 tokens\/s +\|( [\d.-]+ +\|){6}$/m);
});

Deno.test("bench runs a case of every kind, of this and of another source tree", async () => {
  const cases = ["json64", "full32_openai_hidden", "full32_anthropic", "paced16", "scraped", "viewed"];
  cases.push("upload", "upload_chunked", "download");
  const root = new URL("../..", import.meta.url).pathname;
  const variant = [`--variant=other=${root}`, "--proxy=us_node,other_deno"];
  const { code, stdout, stderr } = await bench(`--case=${cases}`, ...variant, ...TINY);
  assertEquals(code, 0, stderr);
  assertEquals(
    [...stdout.matchAll(/^### (\w+): /gm)].map(([, name]) => name).toSorted(),
    [...cases, "Start"].toSorted(),
  );
  assertEquals(stderr.match(/status \d+/g), null);
});

Deno.test("bench rejects an unknown case", async () => {
  const { code, stderr } = await bench("--case=nonsense");
  assertEquals(code, 1);
  assertMatch(stderr, /unknown case "nonsense"/);
});

Deno.test("load.ts counts lines and lags of paced streams, and rejects a wrong body", async () => {
  const children = [startScript("upstream.ts", ["0"]), startScript("load.ts", [])] as const;
  try {
    const [port] = await Promise.all(children.map(portOf));
    const resultOf = async (load: Pick<Load, "requests" | "lineFeeds" | "bodyBytes">): Promise<JobResult> => {
      const job = { connections: 2, openMs: 0, warmUpMs: 0, measureMs: 0, limit: 3, port, client: 0, clients: 1 };
      return JSON.parse(await children[1].ask(JSON.stringify({ ...job, ...load }), 20_000));
    };
    const shape = { dialect: "native", model: "m", tokens: 4, usage: false } as const;
    const requests = [generationRequest(shape, { num_predict: 4, pace_ms: 1, stamped: true })];
    const { responses, lineFeeds, firstByteMs, wholeMs, lagMs } = await resultOf({ requests, lineFeeds: 5 });
    assertEquals({ responses, lineFeeds }, { responses: 6, lineFeeds: 30 });
    assertEquals([firstByteMs.length, wholeMs.length, lagMs.length], [6, 6, 24]);
    // A stamp that is read wrongly is off by years.
    for (const lag of lagMs) assert(Math.abs(lag) < 1e9, `lag of ${lag} ms`);
    assertMatch((await resultOf({ requests, lineFeeds: 6 })).error ?? "", /response has 5 line feeds, want 6/);
    const download = [get("/bench/download?bytes=70000")];
    assertEquals((await resultOf({ requests: download, bodyBytes: 70_000 })).responses, 6);
    assertMatch((await resultOf({ requests: download, bodyBytes: 1 })).error ?? "", /70000 bytes, want 1/);
    assertMatch((await resultOf({ requests: [get("/none")] })).error ?? "", /status 404, not 200/);
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
});

/** Runs with these figures over both listeners, and with a lag on a direct connection of as many ms as `rep`. */
function runsOf(caseName: string, figures: RunResult["figures"], rep = 1): RunResult[] {
  const us = WEB_SERVERS.map((server) => ({ caseName, proxy: `us_${server}`, rep, figures }));
  return [...us, { caseName, proxy: "direct", rep, figures: { lagP50Ms: rep } }];
}

Deno.test("costSection() states added lag, share of a core, memory and the largest load held", () => {
  const held = { held: 0.99, lagP50Ms: 1.25, coreShare: 0.0125, rssPeakMegabytes: 90.4, rssIdleMegabytes: 70 };
  const runs = [
    ...[4, 16, 100, 200].flatMap((streams) => runsOf(`paced${streams}`, held)),
    ...runsOf("paced300", { ...held, held: 0.9 }),
    // Larger than one that is not held.
    ...runsOf("paced500", held),
    ...runsOf("open1000", { rssPeakMegabytes: 210 }),
  ];
  const section = costSection(runs, "then, there");
  const cells = section.split("\n").slice(2).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  assertEquals(cells.slice(0, 5), [
    ["idle", "", "", "", "", "70", "70"],
    ...[4, 16, 100].map((
      streams,
    ) => [`${streams} streams at 50 tokens/s`, "0.25", "0.25", "0.013", "0.013", "90", "90"]),
    ["1,000 streams at 1 token/s", "", "", "", "", "210", "210"],
  ]);
  assertStringIncludes(section, "`deno` 200 streams at 50 tokens/s, `node` 200 streams");
  const late = runs.map((run) => run.caseName === "paced100" ? { ...run, figures: { held: 1, lagP50Ms: 101 } } : run);
  assertStringIncludes(costSection(late, ""), "`deno` 16 streams at 50 tokens/s, `node` 16 streams");
  const one = costSection(runsOf("paced4", held), "");
  assertStringIncludes(one, "`deno` at least 4 streams");
  assertEquals(one.split("\n").filter((line) => line.startsWith("|")).length, 4);
});

Deno.test("figureOf() compares figures of the same repetition", () => {
  const runs = [...runsOf("c", { lagP50Ms: 3 }), ...runsOf("c", { lagP50Ms: 5 }, 2), ...runsOf("other", {}, 3)];
  const of = ["c", "us_deno", "lagP50Ms"] as const;
  assertEquals(figureOf(runs, of), { median: 4, min: 3, max: 5 });
  assertEquals(figureOf(runs, of, { base: "direct", by: "difference" }), { median: 2.5, min: 2, max: 3 });
  assertEquals(figureOf(runs, of, { base: "nginx", by: "ratio" }), undefined);
  assertEquals(spreadOf([4, NaN, 1, 2]), { median: 2, min: 1, max: 4 });
});

Deno.test("targetTable() says whether a target is met", () => {
  const tap = { caseName: "upload", proxy: "tap_deno", rep: 1, figures: { rssPeakMegabytes: 60 } };
  const rowsOf = (rss: number): string[][] =>
    targetTable([...runsOf("upload", { rssPeakMegabytes: rss }), tap]).split("\n").slice(4)
      .map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim()));
  const target = ["RSS peak MB", "at most 130"];
  assertEquals(rowsOf(130), [
    ["upload", "us_deno", ...target, "130.00", "yes", "tap_deno", "60.00"],
    ["upload", "us_node", ...target, "130.00", "yes", "tap_node", "-"],
  ]);
  assertEquals(rowsOf(131), [
    ["upload", "us_deno", ...target, "131.00", "no", "tap_deno", "60.00"],
    ["upload", "us_node", ...target, "131.00", "no", "tap_node", "-"],
  ]);
  assertEquals(targetTable([]), "");
});

Deno.test("cpuSecondsBetween() ignores threads that have ended, and has no figure without threads", () => {
  const usageOf = (threads: Record<string, number>): Usage => {
    return { atSeconds: 0, threads: new Map(Object.entries(threads)), rssBytes: 0, peakRssBytes: 0 };
  };
  const from = usageOf({ main: 4e9, ended: 9e9 });
  assertEquals(cpuSecondsBetween(from, usageOf({ main: 5e9, begun: 2e9 })), 3);
  assertEquals(cpuSecondsBetween(from, usageOf({})), NaN);
});

Deno.test("usageOf() reads a process, and throws after its end", async () => {
  const child = new Child({ command: "sh", args: ["-c", "echo listening 1; read line"] });
  await child.line(/^listening (1)$/);
  const usage = await usageOf(child.pid);
  assertEquals(usage.threads.size, 1);
  assert(usage.atSeconds > 0 && usage.rssBytes > 0 && usage.peakRssBytes >= usage.rssBytes);
  await child.stop();
  await assertRejects(() => usageOf(child.pid), Error, "has exited");
});

Deno.test("Flags accepts the flags of the help and no others", () => {
  const args = ["--quick", "--case=a,b", "--case=c", "--seed=7", "--variant=x=/y=z"];
  const flags = new Flags(BENCH_FLAGS, args);
  assertEquals([flags.has("quick"), flags.has("write")], [true, false]);
  assertEquals([flags.names("case"), flags.names("proxy")], [["a", "b", "c"], undefined]);
  assertEquals([flags.number("seed", 1), flags.number("reps", 5)], [7, 5]);
  assertEquals(flags.all("variant"), ["x=/y=z"]);
  for (const arg of ["--fast", "quick", "--case=", "--seed=0", "--seed", "--quick=1", "--variant=x", "--toString"]) {
    assertThrows(() => new Flags(BENCH_FLAGS, [arg]), Error, `Unknown argument "${arg}"`);
  }
  const help = helpOf("bench", "About.", BENCH_FLAGS);
  for (const name of Object.keys(BENCH_FLAGS)) assert(help.includes(`  --${name}`), name);
});
