import { assertEquals } from "@std/assert";
import type { LogLevel } from "../../../lib/settings/settings.ts";
import { loadLogConfig, type LogConfig } from "../../../lib/log/log_config.ts";
import { problemsOf, TemporaryFolder } from "../../support/temporary_folder.ts";

/** What a file says. */
async function configOf(text: string): Promise<LogConfig | undefined> {
  using folder = new TemporaryFolder();
  return await loadLogConfig(folder.write("log_config.yaml", text));
}

/** What is wrong with a file. */
async function problems(text: string): Promise<string[]> {
  using folder = new TemporaryFolder();
  return await problemsOf(folder.write("log_config.yaml", text), loadLogConfig);
}

Deno.test("loadLogConfig() reads level, format and file", async () => {
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

Deno.test("loadLogConfig() leaves out what the file does not say", async () => {
  const nothing: LogConfig = { level: undefined, format: undefined, file: undefined, ignored: [] };
  assertEquals(await configOf(""), nothing);
  assertEquals(await configOf("level: warning\n"), { ...nothing, level: "WARN" });
  assertEquals(await configOf("file: { path: /var/log/a.log }\n"), {
    ...nothing,
    file: { path: "/var/log/a.log", maxBytes: 10_485_760, maxBackupCount: 5 },
  });
});

Deno.test("loadLogConfig() gives nothing where there is no file, and fails where it cannot be read", async () => {
  using folder = new TemporaryFolder();
  assertEquals(await loadLogConfig(`${folder.path}/none.yaml`), undefined);
  assertEquals(await problemsOf(folder.path, loadLogConfig), ["It is not a file"]);
});

Deno.test("loadLogConfig() names all that is wrong, and what is accepted", async () => {
  assertEquals(
    await problems("level: loud\nformat: xml\nfile:\n  max_bytes: 10\n  backups: 0\n  mode: w\nlogfile: a.log\n"),
    [
      'level is "loud"; accepted: `DEBUG`, `INFO`, `WARNING` or `WARN`, `ERROR`, in any case',
      'format is "xml"; accepted: `text` or `json`',
      'file.max_bytes is "10"; accepted: a whole number from 65536 to 1099511627776',
      'file.backups is "0"; accepted: a whole number from 1 to 100',
      "file.mode is not supported; supported: path, max_bytes, backups",
      "file.path is missing",
      "logfile is not supported; supported: level, format, file",
    ],
  );
  assertEquals(await problems("level:\n"), [
    "level is empty; accepted: `DEBUG`, `INFO`, `WARNING` or `WARN`, `ERROR`, in any case",
  ]);
  assertEquals(await problems("file: a.log\n"), [
    'file is "a.log"; accepted: a mapping',
    "file.path is missing",
  ]);
  assertEquals(await problems("- level: INFO\n"), ["The file is a list; accepted: a mapping"]);
});

Deno.test("loadLogConfig() says where the file is broken", async () => {
  assertEquals(await problems("level: INFO\nfile: {path: a.log\n"), [
    "Line 3, column 1: Cannot read flow collection: unexpected end of the stream within a flow collection",
  ]);
});

/** As people have it for the original exporter. */
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

Deno.test("loadLogConfig() takes the root logger's level from a Python file, and names what it does not use", async () => {
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

Deno.test("loadLogConfig() takes the most talkative logger's level where the root logger has none", async () => {
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

Deno.test("loadLogConfig() knows Python's levels by name and by number", async () => {
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

Deno.test("loadLogConfig() names a level that Python does not know either", async () => {
  const accepted = "accepted: a number or one of NOTSET, DEBUG, INFO, WARN, WARNING, ERROR, FATAL, CRITICAL, TRACE";
  assertEquals(await problems("version: 1\nroot: {level: LOUD}\n"), [`root.level is "LOUD"; ${accepted}`]);
  assertEquals(await problems("version: 1\nroot: [x]\nloggers: {a: {level: constructor}, b: x}\n"), [
    "root is a list; accepted: a mapping",
    `loggers.a.level is "constructor"; ${accepted}`,
    'loggers.b is "x"; accepted: a mapping',
  ]);
});
