import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Log } from "../../../lib/log/log.ts";
import { logObservations } from "../../../lib/log/log_observations.ts";
import { OUTCOMES } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";
import { linesOf, LOG_VALUES, parseLogfmt } from "../../support/log_lines.ts";

Deno.test("logObservations() logs each request at DEBUG only", () => {
  const observation = observationOf({
    requestedModel: "requested",
    durationSeconds: 1.23456,
    firstOutputSeconds: 0.98765,
    report: { model: "llama3.2", promptTokens: 26, outputTokens: 5 },
  });
  const write = (log: Log): void => logObservations(log, "http://ollama")(observation);
  const [line = ""] = linesOf(write, "json");
  const { time: _, ...fields } = JSON.parse(line);
  assertEquals(fields, {
    level: "DEBUG",
    msg: "Request",
    method: "POST",
    route: "/api/chat",
    model: "llama3.2",
    status: 200,
    outcome: "ok",
    prompt_tokens: 26,
    output_tokens: 5,
    duration_seconds: 1.235,
    first_output_seconds: 0.988,
  });
  assertEquals(linesOf(write, "text", "INFO"), []);
});

Deno.test("logObservations() logs the requested model if the response has none, and no model for unmeasured routes", () => {
  const models = [
    observationOf({ requestedModel: "requested" }),
    observationOf({}),
    observationOf({ api: undefined, route: "/api/tags" }),
  ].map((observation) => {
    const [line = ""] = linesOf((log) => logObservations(log, "")(observation));
    return parseLogfmt(line)["model"];
  });
  assertEquals(models, ["requested", "unknown", undefined]);
});

Deno.test("logObservations() logs the client where clients are told apart", () => {
  const clients = [observationOf({}), observationOf({ client: "unknown" }), observationOf({ client: 'a "b"' })].map(
    (observation) => parseLogfmt(linesOf((log) => logObservations(log, "")(observation))[0] ?? "")["client"],
  );
  assertEquals(clients, [undefined, "unknown", 'a "b"']);
});

Deno.test("logObservations() logs each change in the reachability of Ollama once", () => {
  const unreachable = observationOf({ status: 502, outcome: "upstream_unreachable", upstreamError: "connect" });
  const reachable = observationOf({});
  const disconnected = observationOf({ status: 499, outcome: "client_closed" });
  const write = (log: Log): void => {
    const observe = logObservations(log, "http://127.0.0.1:11434/");
    for (
      const observation of [
        reachable,
        unreachable,
        unreachable,
        disconnected,
        unreachable,
        reachable,
        disconnected,
        reachable,
        unreachable,
      ]
    ) observe(observation);
  };
  const lines = linesOf(write, "text", "INFO").map((line) => line.replace(/^time=\S+ /, ""));
  assertEquals(lines, [
    'level=WARN msg="Ollama is unreachable" ollama=http://127.0.0.1:11434/ error=connect',
    'level=INFO msg="Ollama is reachable again" ollama=http://127.0.0.1:11434/',
    'level=WARN msg="Ollama is unreachable" ollama=http://127.0.0.1:11434/ error=connect',
  ]);
});

Deno.test("logObservations() logs untrusted values on one line", () => {
  for (const value of LOG_VALUES.filter((value) => value !== "")) {
    for (const outcome of OUTCOMES) {
      const observation = observationOf({ method: value, requestedModel: value, outcome, upstreamError: "other" });
      const lines = linesOf((log) => logObservations(log, value)(observation));
      const requests = lines.map(parseLogfmt).filter(({ msg }) => msg === "Request");
      assertEquals(requests.length, 1);
      assertEquals([requests[0]?.["method"], requests[0]?.["model"]], [value, value]);
      for (const line of lines) assertStringIncludes(line, "level=");
    }
  }
});
