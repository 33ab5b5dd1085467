/** Log lines and counts of refused requests. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { LOG_VALUE_LIMIT_CHARACTERS } from "../../../lib/log/log.ts";
import type { Refusal } from "../../../lib/metrics/refusal_metrics.ts";
import { SETTINGS } from "../../../lib/settings/settings.ts";
import { Refusals } from "../../../lib/web/refusals.ts";
import { linesOf } from "../../support/log_lines.ts";
import { TestClock } from "../../support/test_clock.ts";

/** A request as handlers get it. */
function requestFor(host: string, method = "GET"): { method: string; url: string; headers: Headers } {
  return { method, url: `http://${host}/api/tags`, headers: new Headers({ host }) };
}

/** Returns log lines without their times. */
function loggedBy(record: (refusals: Refusals) => void, counted: Refusal[] = []): string[] {
  const lines = linesOf((log) => record(new Refusals({ log, count: (reason) => counted.push(reason) })));
  return lines.map((line) => line.replace(/^time=\S+ /, ""));
}

Deno.test("Refusals.record() logs one refusal per reason and minute, with the number suppressed, and counts all", () => {
  using clock = new TestClock();
  const counted: Refusal[] = [];
  const lines = loggedBy((refusals) => {
    for (const [atMs, host] of [[0, "a.com"], [1, "b.com"], [59_999, "c.com"], [60_000, "d.com"]] as const) {
      clock.now = atMs;
      refusals.record("host_not_allowed", requestFor(host));
    }
    refusals.record("unsupported_method", requestFor("e.com", "TRACE"));
    clock.now = 120_000;
    refusals.record("host_not_allowed", requestFor("f.com", "POST"));
  }, counted);
  const setting = SETTINGS.allowedHosts.variable;
  assertEquals(lines, [
    `level=WARN msg="Refused request" reason=host_not_allowed setting=${setting} host=a.com method=GET`,
    `level=WARN msg="Refused request" reason=host_not_allowed setting=${setting} host=d.com method=GET suppressed=2`,
    `level=WARN msg="Refused request" reason=unsupported_method host=e.com method=TRACE`,
    `level=WARN msg="Refused request" reason=host_not_allowed setting=${setting} host=f.com method=POST`,
  ]);
  assertEquals(counted.filter((reason) => reason === "host_not_allowed").length, 5);
  assertEquals(counted.filter((reason) => reason === "unsupported_method").length, 1);
});

Deno.test("Refusals.record() quotes and bounds what the client sent", () => {
  const headers = new Headers({ host: `x y"=${"a".repeat(10_000)}` });
  const [line = ""] = loggedBy((refusals) => {
    refusals.record("invalid_host", { method: "M".repeat(10_000), url: "http://x/", headers });
  });
  assertMatch(line, /^level=WARN msg="Refused request" reason=invalid_host host="x y\\"=a+…" method="M+…"$/);
  assert(line.length < 2 * LOG_VALUE_LIMIT_CHARACTERS + 100, `${line.length} characters`);
});

Deno.test("Refusals.record() logs the authority of a request without a Host header", () => {
  const request = { method: "GET", url: "https://evil.com:8000/api/tags", headers: new Headers() };
  for (const reason of ["host_not_allowed", "invalid_host"] as const) {
    assertMatch(loggedBy((refusals) => refusals.record(reason, request))[0] ?? "", / host=evil\.com:8000 /);
  }
});
