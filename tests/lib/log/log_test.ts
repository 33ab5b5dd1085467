import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { createLog, type Fields, type Log, LOG_VALUE_LIMIT_CHARACTERS, logObservations } from "../../../lib/log/log.ts";
import { LOG_LEVELS, type LogLevel } from "../../../lib/settings/settings.ts";
import { OUTCOMES } from "../../../lib/observation.ts";
import { observationOf } from "../../support/fixtures.ts";

/** What is written at a level, in a form. */
function linesOf(write: (log: Log) => void, format: "text" | "json" = "text", level: LogLevel = "DEBUG"): string[] {
  const lines: string[] = [];
  write(createLog({ level, format, write: (line) => lines.push(line) }));
  return lines;
}

/** The one line of an event. */
function lineOf(message: string, fields?: Fields, format: "text" | "json" = "text"): string {
  const lines = linesOf((log) => log.info(message, fields), format);
  assertEquals(lines.length, 1);
  return lines[0] ?? "";
}

/** The fields of a line in logfmt, read by another program than the one that wrote it. */
function parseLogfmt(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  let rest = line;
  while (rest !== "") {
    const [whole, name, quoted, bare] = /^([A-Za-z]+)=(?:("(?:[^"\\]|\\.)*")|([^\s"=]*))(?: |$)/.exec(rest) ?? [];
    assert(whole !== undefined && name !== undefined, `not logfmt: ${JSON.stringify(rest)}`);
    fields[name] = quoted === undefined ? bare ?? "" : JSON.parse(quoted);
    rest = rest.slice(whole.length);
  }
  return fields;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** What could break a line, a field or a terminal, and what is only unusual. */
const VALUES = [
  "",
  " ",
  "plain",
  "two words",
  "line\nfeed",
  "\r\n",
  "tab\tand\0nul",
  "\x1b[31mred\x1b[0m",
  "\x7f\x80\x85\x9f",
  "\u2028 and \u2029",
  'quote" and \\ backslash',
  '" level=ERROR msg="forged',
  "a=b",
  "{}",
  "é日本🦙",
  "\ud800",
  "%s %d",
  "http://127.0.0.1:11434/a?b#c",
  "[::1]:8000",
  "undefined",
];

Deno.test("createLog() writes one line of logfmt an event, whatever is in it", () => {
  for (const value of VALUES) {
    for (const [message, field] of [["Fixed", value], [value, "fixed"]] as const) {
      const line = lineOf(message, { field, after: 1 });
      // deno-lint-ignore no-control-regex
      assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(line), JSON.stringify(line));
      const { time, ...rest } = parseLogfmt(line);
      assertMatch(time ?? "", TIME);
      const expected = { level: "INFO", msg: message, field, after: "1" };
      assertEquals(rest, expected, JSON.stringify(value));
    }
  }
});

Deno.test("createLog() writes one line of JSON an event, whatever is in it", () => {
  for (const value of VALUES) {
    const line = lineOf(value, { field: value, number: 1.5, yes: true }, "json");
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(line), JSON.stringify(line));
    const { time, ...rest } = JSON.parse(line);
    assertMatch(time, TIME);
    assertEquals(rest, { level: "INFO", msg: value, field: value, number: 1.5, yes: true });
  }
});

Deno.test("createLog() leaves plain words bare and fields out that are undefined", () => {
  const fields = {
    a: "/api/chat",
    b: "llama3.2:latest",
    c: "[::1]:8000",
    d: 200,
    e: undefined,
    f: false,
    g: 0,
    h: "a b",
  };
  const expected = 'a=/api/chat b=llama3.2:latest c=[::1]:8000 d=200 f=false g=0 h="a b"';
  assertEquals(lineOf("Message", fields).replace(/^time=\S+ /, ""), `level=INFO msg=Message ${expected}`);
  const { time: _, ...rest } = JSON.parse(lineOf("Message", fields, "json"));
  assertEquals(Object.keys(rest), ["level", "msg", "a", "b", "c", "d", "f", "g", "h"]);
});

Deno.test("createLog() writes an event without fields", () => {
  assertEquals(lineOf("Stopped").replace(/^time=\S+ /, ""), "level=INFO msg=Stopped");
  assertEquals(Object.keys(JSON.parse(lineOf("Stopped", undefined, "json"))), ["time", "level", "msg"]);
});

Deno.test("createLog() cuts long values, and the line keeps its form and its other fields", () => {
  for (const long of ["x".repeat(1_000_000), "\n".repeat(1_000_000), "🦙".repeat(500_000)]) {
    for (const [message, field] of [["Message", long], [long, "short"]] as const) {
      const text = lineOf(message, { field, after: 7 });
      const json = lineOf(message, { field, after: 7 }, "json");
      for (const fields of [parseLogfmt(text), JSON.parse(json) as Record<string, string>]) {
        assertEquals(String(fields["after"]), "7");
        const cut = (field === long ? fields["field"] : fields["msg"]) ?? "";
        assertEquals(cut.length, LOG_VALUE_LIMIT_CHARACTERS);
        assertEquals(cut, `${long.slice(0, LOG_VALUE_LIMIT_CHARACTERS - 1)}…`);
      }
      assert(text.length < 8 * LOG_VALUE_LIMIT_CHARACTERS && json.length < 8 * LOG_VALUE_LIMIT_CHARACTERS);
    }
  }
  const whole = "x".repeat(LOG_VALUE_LIMIT_CHARACTERS);
  assertEquals(parseLogfmt(lineOf("Message", { whole }))["whole"], whole);
});

Deno.test("createLog() writes what is at its level or above, under the level's name", () => {
  const all = (log: Log): void => {
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
  };
  for (const [index, level] of LOG_LEVELS.entries()) {
    for (const format of ["text", "json"] as const) {
      const lines = linesOf(all, format, level);
      const levels = lines.map((line) => (format === "text" ? parseLogfmt(line) : JSON.parse(line)).level);
      assertEquals(levels, LOG_LEVELS.slice(index), `${level} as ${format}`);
    }
    assertEquals(createLog({ level, format: "text" }).isDebug, level === "DEBUG");
  }
});

Deno.test("createLog() gets over a writer that throws", () => {
  const log = createLog({
    level: "INFO",
    format: "text",
    write: () => {
      throw new Error("disk full");
    },
  });
  log.error("Nobody will read this");
});

Deno.test("createLog() writes a file too, at once, and begins it anew when it is full", () => {
  const folder = Deno.makeTempDirSync({ prefix: "log_test_" });
  try {
    const path = `${folder}/log`;
    const lines: string[] = [];
    const options = { level: "INFO", format: "text", write: (line: string) => void lines.push(line) } as const;
    const log = createLog({ ...options, file: { path, maxBytes: 300, maxBackupCount: 2 } });
    log.debug("Not this");
    log.info("First");
    assertEquals(Deno.readTextFileSync(path), `${lines[0]}\n`);
    for (let index = 0; index < 20; index++) log.warn("More", { index });
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(names, ["log", "log.1", "log.2"]);
    const kept = ["log.2", "log.1", "log"].map((name) => Deno.readTextFileSync(`${folder}/${name}`));
    for (const text of kept) assert(text.length <= 300, "no file is longer than was said");
    const keptLines = kept.join("").trimEnd().split("\n");
    assertEquals(keptLines, lines.slice(-keptLines.length), "nothing is lost but the oldest");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("createLog() throws where its file cannot be opened", () => {
  const file = { path: "/nowhere/log", maxBytes: 1000, maxBackupCount: 1 };
  const open = (): unknown => createLog({ level: "INFO", format: "text", write: () => {}, file });
  assertThrows(open, UserError, "The log cannot be written to /nowhere/log: ");
});

// Observations.

Deno.test("logObservations() writes a line for each request at DEBUG, and none at INFO", () => {
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
    promptTokens: 26,
    outputTokens: 5,
    seconds: 1.235,
    firstOutputSeconds: 0.988,
  });
  assertEquals(linesOf(write, "text", "INFO"), []);
});

Deno.test("logObservations() names the request's model where the answer does not, and none where there is none", () => {
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

Deno.test("logObservations() says once that Ollama is away and once that it is back", () => {
  const away = observationOf({ status: 502, outcome: "upstream_unreachable", upstreamError: "connect" });
  const back = observationOf({});
  const left = observationOf({ status: 499, outcome: "client_closed" });
  const levels = (log: Log): void => {
    const observe = logObservations(log, "http://127.0.0.1:11434/");
    for (const observation of [back, away, away, left, away, back, left, back, away]) observe(observation);
  };
  const lines = linesOf(levels, "text", "INFO").map((line) => line.replace(/^time=\S+ /, ""));
  assertEquals(lines, [
    'level=WARN msg="Ollama does not answer" ollama=http://127.0.0.1:11434/ error=connect',
    'level=INFO msg="Ollama answers again" ollama=http://127.0.0.1:11434/',
    'level=WARN msg="Ollama does not answer" ollama=http://127.0.0.1:11434/ error=connect',
  ]);
});

Deno.test("logObservations() writes one line for what clients and servers make up", () => {
  for (const value of VALUES.filter((value) => value !== "")) {
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
