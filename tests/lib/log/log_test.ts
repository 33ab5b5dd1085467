import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { UserError } from "../../../lib/errors.ts";
import { createLog, type Fields, type Log, LOG_VALUE_LIMIT_CHARACTERS } from "../../../lib/log/log.ts";
import { LOG_LEVELS, type LogFormat } from "../../../lib/settings/settings.ts";
import { linesOf, LOG_VALUES, parseLogfmt } from "../../support/log_lines.ts";

/** The line of an event. */
function lineOf(message: string, fields?: Fields, format: LogFormat = "text"): string {
  const lines = linesOf((log) => log.info(message, fields), format);
  assertEquals(lines.length, 1);
  return lines[0] ?? "";
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

Deno.test("createLog() writes one logfmt line per event, whatever its values", () => {
  for (const value of LOG_VALUES) {
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

Deno.test("createLog() writes one JSON line per event, whatever its values", () => {
  for (const value of LOG_VALUES) {
    const line = lineOf(value, { field: value, number: 1.5, yes: true }, "json");
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(line), JSON.stringify(line));
    const { time, ...rest } = JSON.parse(line);
    assertMatch(time, TIME);
    assertEquals(rest, { level: "INFO", msg: value, field: value, number: 1.5, yes: true });
  }
});

Deno.test("createLog() does not quote plain words and omits undefined fields", () => {
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

Deno.test("createLog() truncates long values and keeps lines well-formed", () => {
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

Deno.test("createLog() writes events at or above its level", () => {
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

Deno.test("createLog() ignores a writer that throws", () => {
  const log = createLog({
    level: "INFO",
    format: "text",
    write: () => {
      throw new Error("disk full");
    },
  });
  log.error("Lost");
});

Deno.test("createLog() writes to the log file without delay and rotates it when full", () => {
  const folder = Deno.makeTempDirSync({ prefix: "log_test_" });
  try {
    const path = `${folder}/log`;
    const lines: string[] = [];
    const options = { level: "INFO", format: "text", write: (line: string) => void lines.push(line) } as const;
    const log = createLog({ ...options, file: { path, maxBytes: 300, maxBackupCount: 2 } });
    log.debug("Below the level");
    log.info("First");
    assertEquals(Deno.readTextFileSync(path), `${lines[0]}\n`);
    for (let index = 0; index < 20; index++) log.warn("More", { index });
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(names, ["log", "log.1", "log.2"]);
    const kept = ["log.2", "log.1", "log"].map((name) => Deno.readTextFileSync(`${folder}/${name}`));
    for (const text of kept) assert(text.length <= 300, "no file exceeds its maximum size");
    const keptLines = kept.join("").trimEnd().split("\n");
    assertEquals(keptLines, lines.slice(-keptLines.length), "only the oldest lines are lost");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("createLog() throws if the log file cannot be opened", () => {
  const file = { path: "/nowhere/log", maxBytes: 1000, maxBackupCount: 1 };
  const open = (): unknown => createLog({ level: "INFO", format: "text", write: () => {}, file });
  assertThrows(open, UserError, "Cannot open log file /nowhere/log: ");
});
