/** A short soak over each listener, and its report of an exceeded limit. `deno task soak` runs long ones. */

import { assert, assertEquals } from "@std/assert";
import { type Bulk, BulkCheck, bulkOf, patternOf, pieces } from "../../bench/bulk.ts";
import { runSoak } from "../../bench/soak.ts";
import { soakCases } from "../../bench/soak_cases.ts";
import { type Checked, problemsOf, Tally, tallyTable } from "../../bench/tally.ts";

const MEBIBYTE = 2 ** 20;

/** Enough to exceed the limits if bodies or streams were kept in memory, too little to find a slow leak. */
const SHORT = {
  seed: 1,
  openStreams: 200,
  streamTokens: 3,
  stalledBytes: 512 * MEBIBYTE,
  bodyBytes: 192 * MEBIBYTE,
  lineBytes: 16 * MEBIBYTE,
  requests: 2000,
  models: 1000,
  stallMs: 1000,
};

for (const soakCase of soakCases(SHORT)) {
  Deno.test(`runSoak() stays within the limits: ${soakCase.name} over ${soakCase.servers}, ${soakCase.load}`, async () => {
    const results = await runSoak([soakCase], () => {});
    assertEquals(results.flatMap(problemsOf), []);
    for (const { tally } of results) {
      const { bytesLost, observationsMissing, observationsDoubled } = tally;
      assertEquals({ bytesLost, observationsMissing, observationsDoubled }, {
        bytesLost: 0,
        observationsMissing: 0,
        observationsDoubled: 0,
      });
      assert(tally.exchanges > 0 && tally.bytesChecked > 0);
    }
    assertEquals(tallyTable(results).split("\n").length, 2 + soakCase.servers.length);
  });
}

Deno.test("problemsOf() names the limit that is exceeded, and the figure", () => {
  const resultOf = (peakRssBytes: number): Checked => {
    const tally = Object.assign(new Tally(), { peakRssBytes });
    return { name: "streams", server: "node", load: "", limit: ["X_RSS_LIMIT", 200 * MEBIBYTE], remark: "", tally };
  };
  assertEquals(problemsOf(resultOf(200 * MEBIBYTE)), []);
  assertEquals(problemsOf(resultOf(201 * MEBIBYTE)), [
    "streams node: X_RSS_LIMIT of 200 MiB exceeded: peak RSS is 201 MiB",
  ]);
  assertEquals(problemsOf(resultOf(NaN)).length, 1);
  const { limit: _, ...unlimited } = resultOf(201 * MEBIBYTE);
  assertEquals(problemsOf(unlimited), []);
  unlimited.tally.problems.push("3 bytes lost");
  assertEquals(problemsOf(unlimited), ["streams node: 3 bytes lost"]);
});

/** A body of repeated parts, an empty one, and one that is larger than a piece. */
const BODY: Bulk = [...bulkOf("begin\r\n"), ...bulkOf(""), ...bulkOf("0\r\n\r\n", 1000), ...patternOf(700_001)];

Deno.test("BulkCheck finds lost, changed, moved and extra bytes", async () => {
  const sent = await new Blob([...pieces(BODY)].map((piece) => piece.slice())).bytes();
  const lostOf = (...parts: Uint8Array[]): number => {
    const check = new BulkCheck(BODY);
    for (const part of parts) check.push(part);
    return check.lost;
  };
  assertEquals(lostOf(sent), 0);
  assertEquals(lostOf(sent.subarray(0, -10)), 10);
  assertEquals(lostOf(sent, sent.subarray(0, 3)), 3);
  assertEquals(lostOf(sent.with(100, 0)), sent.length - 100);
  const half = 300_000;
  assert(lostOf(sent.subarray(0, half), sent.subarray(half + 64 * 1024)) > 64 * 1024);
  assert(lostOf(sent.subarray(0, half), sent.subarray(half + 16), sent.subarray(half, half + 16)) > 16);
});
