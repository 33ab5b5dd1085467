/** Which requests are logged as slow, with what, and how many. */

import { assertEquals } from "@std/assert";
import type { Log } from "../../../lib/log/log.ts";
import { logSlowRequests, SLOW_REQUESTS_LIMIT } from "../../../lib/log/slow_requests.ts";
import { OUTCOMES } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { linesOf, LOG_VALUES, parseLogfmt } from "../../support/log_lines.ts";
import { TestClock } from "../../support/test_clock.ts";

const THRESHOLD_MS = 2500;
const SLOW = { durationSeconds: 10.25, requestedModel: "llama3.2" } as const;

/** Fields of the lines, without their times. */
function loggedBy(write: (log: Log) => void): Record<string, string>[] {
  return linesOf(write, "text", "WARN").map((line) => {
    const { time: _, ...fields } = parseLogfmt(line);
    return fields;
  });
}

/** Fields of the lines for one request. */
function loggedOf(fields: Parameters<typeof observationOf>[0]): Record<string, string>[] {
  return loggedBy((log) => logSlowRequests(log, THRESHOLD_MS)(observationOf(fields)));
}

const REQUEST = {
  level: "WARN",
  msg: "Slow request",
  method: "POST",
  route: "/api/chat",
  status: "200",
  outcome: "ok",
};

Deno.test("logSlowRequests() logs a slow request with its tokens and the seconds of each phase", () => {
  const report = {
    model: "llama3.2",
    promptTokens: 26,
    outputTokens: 5,
    totalSeconds: 10.2,
    loadSeconds: 6.1,
    promptEvalSeconds: 1.0004,
    evalSeconds: 2,
  };
  const stream = { firstOutputSeconds: 8, lastOutputSeconds: 10, report };
  assertEquals(loggedOf({ ...SLOW, ...stream }), [{
    ...REQUEST,
    model: "llama3.2",
    prompt_tokens: "26",
    output_tokens: "5",
    duration_seconds: "10.25",
    first_output_seconds: "8",
    load_seconds: "6.1",
    wait_seconds: "1.1",
    prompt_seconds: "1",
    generation_seconds: "2",
  }]);
});

Deno.test("logSlowRequests() logs the phases that are known", () => {
  const slow = { ...REQUEST, model: "llama3.2", duration_seconds: "10.25" };
  assertEquals(loggedOf(SLOW), [{ ...slow, other_seconds: "10.25" }]);
  assertEquals(loggedOf({ ...SLOW, client: "alice" }), [{ ...slow, client: "alice", other_seconds: "10.25" }]);
  const stream = { firstOutputSeconds: 4, lastOutputSeconds: 9 };
  const phases = {
    first_output_seconds: "4",
    first_token_seconds: "4",
    generation_seconds: "5",
    other_seconds: "1.25",
  };
  assertEquals(loggedOf({ ...SLOW, ...stream }), [{ ...slow, ...phases }]);
});

Deno.test("logSlowRequests() logs inference requests that take longer, however they end", () => {
  assertEquals(loggedOf({ ...SLOW, durationSeconds: 2.5 }), []);
  assertEquals(loggedOf({ ...SLOW, durationSeconds: 2.501 }).length, 1);
  for (const outcome of OUTCOMES) {
    assertEquals(loggedOf({ ...SLOW, outcome }).map((fields) => fields["outcome"]), [outcome]);
  }
  assertEquals(loggedOf({ ...SLOW, api: undefined, operation: "pull", route: "/api/pull" }), []);
  assertEquals(loggedOf({ ...SLOW, api: undefined, route: "other" }), []);
});

Deno.test("logSlowRequests() logs no more than its limit in a minute, and then how many it suppressed", () => {
  using clock = new TestClock();
  const lines = loggedBy((log) => {
    const observe = logSlowRequests(log, THRESHOLD_MS);
    const storm = (requests: number): void => {
      for (let count = 0; count < requests; count++) observe(observationOf(SLOW));
    };
    storm(1000);
    clock.now = 59_999;
    storm(1);
    clock.now = 60_000;
    storm(2);
    clock.now = 300_000;
    storm(SLOW_REQUESTS_LIMIT);
  });
  const suppressions = lines.filter(({ msg }) => msg === "Suppressing further slow requests");
  assertEquals(suppressions.map((fields) => fields["limit_per_minute"]), [String(SLOW_REQUESTS_LIMIT)]);
  assertEquals(lines.indexOf(suppressions[0] ?? {}), SLOW_REQUESTS_LIMIT);
  assertEquals(lines.length, 2 * SLOW_REQUESTS_LIMIT + 3);
  const suppressed = lines.map((fields) => fields["suppressed"]);
  assertEquals(suppressed[SLOW_REQUESTS_LIMIT + 1], String(1001 - SLOW_REQUESTS_LIMIT));
  assertEquals(suppressed.filter((value) => value !== undefined).length, 1);
});

Deno.test("logSlowRequests() logs untrusted values on one line", () => {
  for (const value of LOG_VALUES.filter((value) => value !== "")) {
    const lines = loggedOf({ ...SLOW, method: value, requestedModel: value });
    assertEquals(lines.map((fields) => [fields["method"], fields["model"]]), [[value, value]]);
  }
});
