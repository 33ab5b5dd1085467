/** Buckets at the objectives, and which streams count as within them. stories/slo_test.ts has it over sockets. */

import { assertEquals } from "@std/assert";
import type { Slo } from "../../../lib/metrics/latency_metrics.ts";
import { APIS, type Observation, type Outcome, OUTCOMES, type Report } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import type { Scrape } from "../../support/helpers.ts";
import { API_LABELS, scrapeOf } from "../../support/metrics_scrape.ts";

const [WITHIN, ELIGIBLE] = ["ollama_requests_within_slo_total", "ollama_requests_slo_eligible_total"] as const;

/** Both objectives: 2 s to the first token, 100 ms for each. */
const BOTH: Slo = { firstTokenMs: 2000, perTokenMs: 100 };
const FIRST: Slo = { ...BOTH, perTokenMs: undefined };
const PER_TOKEN: Slo = { ...BOTH, firstTokenMs: undefined };

/** A stream that is exactly at both bounds. */
const STREAM = { isStream: true, firstOutputSeconds: 2, durationSeconds: 3 } as const;
const REPORT = { model: "llama3.2", outputTokens: 10, evalSeconds: 1 } as const;

function countsOf(scrape: Scrape, labels: Record<string, string> = API_LABELS): (number | undefined)[] {
  return [scrape.value(WITHIN, labels), scrape.value(ELIGIBLE, labels)];
}

type Row = [name: string, slo: Slo, Partial<Observation>, Partial<Report>, counts: [within: number, eligible: number]];

const ROWS: Row[] = [
  ["at both bounds", BOTH, {}, {}, [1, 1]],
  ["over the first", BOTH, { firstOutputSeconds: 2.001 }, {}, [0, 1]],
  ["over the second", BOTH, {}, { evalSeconds: 1.001 }, [0, 1]],
  ["over one that is not set", FIRST, {}, { evalSeconds: 100 }, [1, 1]],
  ["over the other that is not set", PER_TOKEN, { firstOutputSeconds: 100 }, {}, [1, 1]],
  ["with one token", BOTH, {}, { outputTokens: 1, evalSeconds: undefined }, [1, 1]],
  ["with one token, too late", BOTH, { firstOutputSeconds: 2.5 }, { outputTokens: 1, evalSeconds: undefined }, [0, 1]],
  ["with all output at once", BOTH, { lastOutputSeconds: 2 }, { evalSeconds: undefined }, [1, 1]],
  // 9 tokens in 1 s.
  ["with measured times, too slow", BOTH, { lastOutputSeconds: 3 }, { evalSeconds: undefined }, [0, 1]],
  ["with measured times", BOTH, { lastOutputSeconds: 2.875 }, { evalSeconds: undefined }, [1, 1]],
  ["without token counts", FIRST, {}, { outputTokens: undefined }, [1, 1]],
  ["without the token counts that it takes", BOTH, {}, { outputTokens: undefined }, [0, 0]],
  [
    "without the token counts that it takes, and too late",
    BOTH,
    { firstOutputSeconds: 9 },
    { outputTokens: undefined },
    [
      0,
      0,
    ],
  ],
  ["without output, judged by its end", FIRST, { firstOutputSeconds: undefined, durationSeconds: 2 }, {}, [1, 1]],
  ["without output, and too late", FIRST, { firstOutputSeconds: undefined }, {}, [0, 1]],
  ["that is no stream", BOTH, { isStream: false }, {}, [0, 0]],
  ["of which that is not known", BOTH, { isStream: undefined }, {}, [0, 0]],
];

for (const [name, slo, fields, report, counts] of ROWS) {
  Deno.test(`LatencyMetrics counts a response ${name}: ${counts[0]} of ${counts[1]}`, async () => {
    const observation = observationOf({ ...STREAM, ...fields, report: { ...REPORT, ...report } });
    assertEquals(countsOf(await scrapeOf([observation], { slo })), counts);
  });
}

Deno.test("LatencyMetrics counts failures of the server's side as not within, and no other failures", async () => {
  const eligible: Record<Outcome, number> = {
    ok: 1,
    client_error: 0,
    server_error: 1,
    stream_error: 1,
    incomplete: 1,
    client_closed: 0,
    upstream_unreachable: 1,
    upstream_broken: 1,
  };
  for (const outcome of OUTCOMES) {
    for (const isStream of [true, false]) {
      const observation = observationOf({ ...STREAM, isStream, outcome, report: REPORT });
      const counts = countsOf(await scrapeOf([observation], { slo: BOTH }));
      const expected = isStream ? eligible[outcome] : 0;
      assertEquals(counts, [outcome === "ok" ? expected : 0, expected], `${outcome}, ${isStream}`);
    }
  }
});

Deno.test("LatencyMetrics has series of objectives only if there is one, and of APIs that can stream", async () => {
  const observations = APIS.map((api) => observationOf({ ...STREAM, api, report: REPORT }));
  const none = await scrapeOf(observations);
  assertEquals(countsOf(none, {}), [undefined, undefined]);
  for (const slo of [BOTH, FIRST, PER_TOKEN]) {
    const scrape = await scrapeOf(observations, { slo });
    assertEquals(countsOf(scrape, {}), [6, 6]);
    assertEquals(APIS.filter((api) => scrape.value(ELIGIBLE, { api }) !== undefined).length, 6);
  }
});

/** The upper bounds of a histogram. */
function boundsOf({ text }: Scrape, name: string): string[] {
  return [...text.matchAll(new RegExp(`^${name}_bucket{le="([^"]+)"`, "gm"))].map(([, bound = ""]) => bound);
}

Deno.test("LatencyMetrics adds a bucket at each objective, in order, and none that it has", async () => {
  const names = ["ollama_time_to_first_token_seconds", "ollama_time_per_output_token_seconds"];
  const bounds = async (slo: Slo): Promise<string[][]> => {
    const scrape = await scrapeOf([observationOf({ report: REPORT })], { slo });
    return names.map((name) => boundsOf(scrape, name));
  };
  const [first = [], perToken = []] = await bounds({ firstTokenMs: undefined, perTokenMs: undefined });
  assertEquals([first.length, perToken.length], [16, 13]);
  assertEquals(await bounds({ firstTokenMs: 2500, perTokenMs: 15 }), [first, perToken]);
  const added = await bounds({ firstTokenMs: 1500, perTokenMs: 35 });
  assertEquals(added, [first.toSpliced(first.indexOf("2.5"), 0, "1.5"), perToken.toSpliced(6, 0, "0.035")]);
  const beyond = await bounds({ firstTokenMs: 600_000, perTokenMs: 0.5 });
  assertEquals(beyond, [first.toSpliced(-1, 0, "600"), ["0.0005", ...perToken]]);
});

Deno.test("LatencyMetrics observes a stream at its objective within the bucket of the objective", async () => {
  const scrape = await scrapeOf([observationOf({ ...STREAM, report: REPORT })], { slo: BOTH });
  const bucket = (name: string, le: string): number | undefined =>
    scrape.value(`${name}_bucket`, { ...API_LABELS, le });
  assertEquals(["1", "2"].map((le) => bucket("ollama_time_to_first_token_seconds", le)), [0, 1]);
  assertEquals(["0.05", "0.1"].map((le) => bucket("ollama_time_per_output_token_seconds", le)), [0, 1]);
});
