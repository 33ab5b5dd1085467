/** A short soak over each listener, and its report of an exceeded limit. `deno task soak` runs long ones. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { BodyDecoder, type Bulk, BulkCheck, bulkOf, chunks, lengthOf, patternOf, pieces } from "../../bench/bulk.ts";
import { parseSoakOptions, problemsOf, runSoak, type SoakResult, soakTable } from "../../bench/soak.ts";
import { FULL_SOAK, QUICK_SOAK, RSS_LIMITS_BYTES, soakCases } from "../../bench/soak_cases.ts";

const MEBIBYTE = 2 ** 20;

/** Enough to go beyond the bounds where bodies or streams were held; too little for a slow leak. */
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
  Deno.test(`a short soak stays within its bounds: ${soakCase.name} over ${soakCase.servers}, ${soakCase.load}`, async () => {
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
    assertEquals(soakTable(results).split("\n").length, 2 + soakCase.servers.length);
  });
}

Deno.test("problemsOf() names the limit that is exceeded, and the figure", () => {
  const [soakCase] = soakCases({ seed: 1, ...FULL_SOAK });
  assert(soakCase !== undefined);
  const resultOf = (peakRssBytes: number): SoakResult => ({
    soakCase,
    server: "node",
    remark: "",
    tally: {
      exchanges: 1,
      bytesChecked: 1,
      bytesLost: 0,
      observationsMissing: 0,
      observationsDoubled: 0,
      peakRssBytes,
      problems: [],
    },
  });
  const limitBytes = RSS_LIMITS_BYTES[soakCase.limit];
  assertEquals(problemsOf(resultOf(limitBytes)), []);
  const [problem = "", ...more] = problemsOf(resultOf(limitBytes + MEBIBYTE));
  assertMatch(problem, /^streams node: OPEN_STREAMS_RSS_LIMIT of \d+ MiB exceeded: peak RSS is \d+ MiB$/);
  assertEquals(more, []);
  assertEquals(problemsOf(resultOf(NaN)).length, 1);
});

Deno.test("parseSoakOptions() takes the flags of the help and no others", () => {
  const { scale, cases, write, help } = parseSoakOptions(["--quick", "--case=line,soak", "--seed=7", "--write"]);
  assertEquals({ scale, cases, write, help }, {
    scale: { seed: 7, ...QUICK_SOAK },
    cases: ["line", "soak"],
    write: true,
    help: false,
  });
  assertEquals(parseSoakOptions([]).scale, { seed: 1, ...FULL_SOAK });
  for (const arg of ["--fast", "quick", "--case=", "--seed=0", "--seed", "--quick=1"]) {
    assertThrows(() => parseSoakOptions([arg]), Error, `Unknown argument "${arg}"`);
  }
});

/** A body with all that there can be: an empty part, parts that come again, one that is larger than a piece. */
const BODY: Bulk = [...bulkOf("begin\r\n"), ...bulkOf(""), ...bulkOf("0\r\n\r\n", 1000), ...patternOf(700_001)];

/** What a decoder makes of bytes that come in parts of that size. */
function received(sent: Uint8Array, contentLength: number | undefined, size: number): BulkCheck {
  const check = new BulkCheck(BODY);
  const decoder = new BodyDecoder(contentLength, (bytes) => check.push(bytes));
  for (let at = 0; at < sent.length; at += size) decoder.push(sent.subarray(at, at + size));
  assert(decoder.done);
  return check;
}

async function joined(parts: Iterable<Uint8Array>): Promise<Uint8Array> {
  return await new Blob([...parts].map((part) => part.slice())).bytes();
}

for (const size of [1, 7, 64 * 1024, 10_000_000]) {
  Deno.test(`a body comes as it was sent, with a length and in chunks, read by ${size}`, async () => {
    assertEquals(received(await joined(pieces(BODY)), lengthOf(BODY), size).lost, 0);
    assertEquals(received(await joined(chunks(BODY)), undefined, size).lost, 0);
  });
}

Deno.test("BulkCheck finds what is lost, changed, moved and too much", async () => {
  const sent = await joined(pieces(BODY));
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
