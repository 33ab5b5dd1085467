/**
 * `LOG_CONFIG`: level, format and file of the log. It also takes the level from logging files for Python, since the
 * original exporter had one.
 *
 * @module
 */

import { dirname } from "node:path";
import { LOG_LEVELS, type LogLevel, SETTINGS } from "../settings/settings.ts";
import type { LogFile } from "./log.ts";
import { Checker, filePath, isMapping, type Reader, readYaml, scalar, wholeNumber } from "../settings/yaml_file.ts";

/** What the file says. */
export interface LogConfig {
  /** Absent: the setting or its default. */
  readonly level: LogLevel | undefined;
  /** Absent: the setting or its default. */
  readonly format: "text" | "json" | undefined;
  /** Absent: the log goes to standard error only. */
  readonly file: LogFile | undefined;
  /** Paths of the keys that were not used (`handlers`, `root.handlers`), to be named in one warning. */
  readonly ignored: readonly string[];
}

const DEFAULT_MAX_BYTES = 10_485_760;
const DEFAULT_BACKUPS = 5;
/** A file that is full after a few lines would be renamed all the time. */
const LEAST_MAX_BYTES = 65_536;
const MOST_MAX_BYTES = 1_099_511_627_776;
const MOST_BACKUPS = 100;

/**
 * Reads the file.
 *
 * @returns `undefined` where there is no such file.
 * @throws {UserError} With line and column where it is not YAML, else with a line for everything that is wrong.
 */
export async function loadLogConfig(path: string): Promise<LogConfig | undefined> {
  let value: unknown;
  try {
    value = await readYaml(path);
  } catch (error) {
    if (error instanceof Error && error.cause instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const checker = new Checker(path);
  const config = isPython(value) ? readPython(value, checker) : readOwn(value, checker, dirname(path));
  checker.end();
  return config;
}

function readOwn(value: unknown, checker: Checker, folder: string): LogConfig {
  const { level, format, file } = checker.mapping(value, "", {
    level: scalar(SETTINGS.logLevel.accepts, SETTINGS.logLevel.parse),
    format: scalar(SETTINGS.logFormat.accepts, SETTINGS.logFormat.parse),
    file: fileReader(folder),
  });
  return { level, format, file, ignored: [] };
}

function fileReader(folder: string): Reader<LogFile | undefined> {
  return (value, key, checker) => {
    const read = checker.mapping(value, key, {
      path: filePath(folder),
      max_bytes: wholeNumber(LEAST_MAX_BYTES, MOST_MAX_BYTES),
      backups: wholeNumber(1, MOST_BACKUPS),
    });
    if (!("path" in read)) checker.add(`${key}.path is missing`);
    if (read.path === undefined) return undefined;
    const { path, max_bytes: maxBytes = DEFAULT_MAX_BYTES, backups: maxBackupCount = DEFAULT_BACKUPS } = read;
    return { path, maxBytes, maxBackupCount };
  };
}

/** Python demands a version in every such file, and there is none in ours. */
function isPython(value: unknown): value is Record<string, unknown> {
  return isMapping(value) && Object.hasOwn(value, "version");
}

/**
 * The level is the root logger's; where that has none, the most talkative one of the other loggers, so that nothing is
 * missing that anybody asked for.
 */
function readPython(value: Record<string, unknown>, checker: Checker): LogConfig {
  const { version: _, root = null, loggers = null, ...others } = value;
  const { level, ignored } = readLogger(root, "root", checker);
  const config = { format: undefined, file: undefined, ignored: [...Object.keys(others), ...ignored] };
  if (level !== undefined) {
    if (loggers !== null) config.ignored.push("loggers");
    return { level: level === "NOTSET" ? "DEBUG" : level, ...config };
  }
  const named = checker.entries(loggers, "loggers").map(([name, logger]) =>
    readLogger(logger, `loggers.${name}`, checker)
  );
  config.ignored.push(...named.flatMap((logger) => logger.ignored));
  return { level: LOG_LEVELS.find((known) => named.some((logger) => logger.level === known)), ...config };
}

/** What a Python logger says. NOTSET has a root logger log everything, another one as its parent does. */
interface PythonLogger {
  readonly level: LogLevel | "NOTSET" | undefined;
  /** Paths of the other keys. */
  readonly ignored: readonly string[];
}

function readLogger(value: unknown, key: string, checker: Checker): PythonLogger {
  const { level, ...others } = Object.fromEntries(checker.entries(value, key));
  return {
    level: level === undefined ? undefined : pythonLevel(level, `${key}.level`, checker),
    ignored: Object.keys(others).map((name) => `${key}.${name}`),
  };
}

/** Python's levels, by number and by name; the last is uvicorn's. */
const PYTHON_LEVELS: Readonly<Record<string, number>> = {
  NOTSET: 0,
  DEBUG: 10,
  INFO: 20,
  WARN: 30,
  WARNING: 30,
  ERROR: 40,
  FATAL: 50,
  CRITICAL: 50,
  TRACE: 5,
};

const pythonLevel = scalar(`a number or one of ${Object.keys(PYTHON_LEVELS).join(", ")}`, (text) => {
  const name = text.toUpperCase();
  const level = /^\d+$/.test(text)
    ? Number(text)
    : Object.hasOwn(PYTHON_LEVELS, name)
    ? PYTHON_LEVELS[name]
    : undefined;
  if (level === undefined) return undefined;
  if (level === 0) return "NOTSET";
  // Ours stand at 10, 20, 30 and 40; one between them shows what the next one shows.
  return LOG_LEVELS[Math.min(Math.ceil(level / 10), LOG_LEVELS.length) - 1];
});
