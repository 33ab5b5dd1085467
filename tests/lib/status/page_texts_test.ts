/** The words of the status page. */

import { assertEquals, assertMatch } from "@std/assert";
import { OUTCOMES as ALL_OUTCOMES, UPSTREAM_ERRORS } from "../../../lib/observation.ts";
import { isFailure } from "../../../lib/status/last_requests.ts";
import { isFailure as isFailureOnPage, OUTCOMES, reasonOf } from "../../../lib/status/page/texts.js";

/** Returns the reason of a failure without an error of the connection. */
function reason(outcome: string, status: number): string {
  return reasonOf({ outcome, status, upstreamError: undefined });
}

Deno.test("OUTCOMES has all outcomes, failures first", () => {
  assertEquals(Object.keys(OUTCOMES).toSorted(), ALL_OUTCOMES.toSorted());
  const failures = Object.keys(OUTCOMES).map((outcome) => isFailureOnPage(outcome));
  assertEquals(failures, failures.toSorted((a, b) => Number(b) - Number(a)));
});

Deno.test("isFailure() of the page is that of the history", () => {
  for (const outcome of ALL_OUTCOMES) assertEquals(isFailureOnPage(outcome), isFailure(outcome), outcome);
});

Deno.test("reasonOf() has words for each failure, and none for other requests", () => {
  assertEquals(reason("ok", 200), "");
  assertEquals(reason("client_closed", 499), "");
  for (const status of [400, 401, 403, 404, 413, 429]) {
    assertMatch(reason("client_error", status), /^\w/);
  }
  for (const status of [500, 501, 502, 503, 504]) assertMatch(reason("server_error", status), /^\w/);
  for (const upstreamError of UPSTREAM_ERRORS) {
    for (const outcome of ["upstream_unreachable", "upstream_broken"]) {
      assertMatch(reasonOf({ outcome, status: 502, upstreamError }), /^\w/);
    }
  }
  for (const outcome of ["stream_error", "incomplete"]) assertMatch(reason(outcome, 200), /^\w/);
  assertEquals(reason("client_error", 418), "", "a status that Ollama does not use");
});
