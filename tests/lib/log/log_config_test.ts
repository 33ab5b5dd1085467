import { assertEquals } from "@std/assert";
import { type LogLevel, SETTINGS } from "../../../lib/settings/settings.ts";
import { loadLogConfig, type LogConfig } from "../../../lib/log/log_config.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

/** Parsed configuration of a file with this text. */
async function configOf(text: string): Promise<LogConfig | undefined> {
  using folder = new TemporaryFolder();
  return await loadLogConfig(folder.write("log_config.yaml", text));
}

/** Problems of a file with this text. */
async function problems(text: string): Promise<string[]> {
  using folder = new TemporaryFolder();
  return await problemsOf(folder.write("log_config.yaml", text), loadLogConfig);
}

Deno.test("loadLogConfig() reads level, format and log file", async () => {
  using folder = new TemporaryFolder();
  const path = folder.write(
    "log_config.yaml",
    "level: debug\nformat: json\nfile:\n  path: logs/a.log\n  max_bytes: 100000\n  backups: 3\n",
  );
  assertEquals(await loadLogConfig(path), {
    level: "DEBUG",
    format: "json",
    file: { path: `${folder.path}/logs/a.log`, maxBytes: 100_000, maxBackupCount: 3 },
    ignored: [],
  });
});

Deno.test("loadLogConfig() applies defaults for the log file only", async () => {
  const nothing: LogConfig = { level: undefined, format: undefined, file: undefined, ignored: [] };
  assertEquals(await configOf(""), nothing);
  assertEquals(await configOf("level: warning\n"), { ...nothing, level: "WARN" });
  assertEquals(await configOf("file: { path: /var/log/a.log }\n"), {
    ...nothing,
    file: { path: "/var/log/a.log", maxBytes: 10_485_760, maxBackupCount: 5 },
  });
});

Deno.test("loadLogConfig() returns undefined if the file does not exist, and throws if it cannot be read", async () => {
  using folder = new TemporaryFolder();
  assertEquals(await loadLogConfig(`${folder.path}/none.yaml`), undefined);
  assertEquals(await problemsOf(folder.path, loadLogConfig), ["Is a directory"]);
});

Deno.test("loadLogConfig() reports all problems at once", async () => {
  assertEquals(
    await problems("level: loud\nformat: xml\nfile:\n  max_bytes: 10\n  backups: 0\n  mode: w\nlogfile: a.log\n"),
    [
      `level: expected ${SETTINGS.logLevel.accepts}, got "loud"`,
      `format: expected ${SETTINGS.logFormat.accepts}, got "xml"`,
      'file.max_bytes: expected an integer from 65536 to 1099511627776, got "10"',
      'file.backups: expected an integer from 1 to 100, got "0"',
      "unknown key file.mode: expected one of path, max_bytes, backups",
      "missing key file.path",
      "unknown key logfile: expected one of level, format, file",
    ],
  );
  assertEquals(await problems("level:\n"), [
    `level: expected ${SETTINGS.logLevel.accepts}, got nothing`,
  ]);
  assertEquals(await problems("file: a.log\n"), [
    'file: expected a mapping, got "a.log"',
    "missing key file.path",
  ]);
  assertEquals(await problems("- level: INFO\n"), ["expected a mapping, got a list"]);
});

Deno.test("loadLogConfig() reports the position of a syntax error", async () => {
  assertEquals(await problems("level: INFO\nfile: {path: a.log\n"), [
    "Line 3, column 1: Cannot read flow collection: unexpected end of the stream within a flow collection",
  ]);
});

/** A typical configuration of the original exporter. */
const PYTHON = `version: 1
disable_existing_loggers: False
formatters:
  default:
    "()": uvicorn.logging.DefaultFormatter
    format: "%(asctime)s %(levelprefix)s %(message)s"
handlers:
  console:
    class: logging.StreamHandler
    formatter: default
    stream: ext://sys.stdout
`;

Deno.test("loadLogConfig() reads the level of the root logger from a Python file and lists unsupported keys", async () => {
  const text = `${PYTHON}loggers:
  uvicorn: {level: DEBUG, handlers: [console], propagate: False}
root:
  level: WARNING
  handlers: [console]
`;
  assertEquals(await configOf(text), {
    level: "WARN",
    format: undefined,
    file: undefined,
    ignored: ["disable_existing_loggers", "formatters", "handlers", "root.handlers", "loggers"],
  });
});

Deno.test("loadLogConfig() reads the lowest level of the loggers if the root logger has none", async () => {
  const text = `${PYTHON}loggers:
  uvicorn: {level: INFO, handlers: [console]}
  uvicorn.error: {level: 10}
  uvicorn.access: {level: NOTSET, propagate: no}
`;
  const expected = {
    level: "DEBUG" as const,
    format: undefined,
    file: undefined,
    ignored: [
      "disable_existing_loggers",
      "formatters",
      "handlers",
      "loggers.uvicorn.handlers",
      "loggers.uvicorn.access.propagate",
    ],
  };
  assertEquals(await configOf(text), expected);
  const { ignored } = expected;
  assertEquals(await configOf(`${text}root: {handlers: [console]}\n`), {
    ...expected,
    ignored: [...ignored.slice(0, 3), "root.handlers", ...ignored.slice(3)],
  });
  assertEquals((await configOf(PYTHON))?.level, undefined);
});

Deno.test("loadLogConfig() maps Python's levels by name and by number", async () => {
  const table: Record<string, LogLevel> = {
    "DEBUG": "DEBUG",
    "info": "INFO",
    "WARN": "WARN",
    "WARNING": "WARN",
    "ERROR": "ERROR",
    "CRITICAL": "ERROR",
    "FATAL": "ERROR",
    "TRACE": "DEBUG",
    "NOTSET": "DEBUG",
    "0": "DEBUG",
    "5": "DEBUG",
    "10": "DEBUG",
    "11": "INFO",
    "20": "INFO",
    "25": "WARN",
    "30": "WARN",
    "40": "ERROR",
    "50": "ERROR",
    "1000": "ERROR",
  };
  for (const [level, expected] of Object.entries(table)) {
    assertEquals((await configOf(`version: 1\nroot: {level: ${level}}\n`))?.level, expected, level);
  }
});

Deno.test("loadLogConfig() rejects a level unknown to Python", async () => {
  const accepted = "expected an integer or one of NOTSET, DEBUG, INFO, WARN, WARNING, ERROR, FATAL, CRITICAL, TRACE";
  assertEquals(await problems("version: 1\nroot: {level: LOUD}\n"), [`root.level: ${accepted}, got "LOUD"`]);
  assertEquals(await problems("version: 1\nroot: [x]\nloggers: {a: {level: constructor}, b: x}\n"), [
    "root: expected a mapping, got a list",
    `loggers.a.level: ${accepted}, got "constructor"`,
    'loggers.b: expected a mapping, got "x"',
  ]);
});
