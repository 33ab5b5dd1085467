/**
 * The log configuration file: level, format and log file. Python logging configurations, as used by the original
 * exporter, are accepted for their level.
 *
 * @module
 */

import { dirname } from "node:path";
import { LOG_LEVELS, type LogFormat, type LogLevel, SETTINGS } from "../settings/settings.ts";
import type { LogFile } from "./log.ts";
import { Checker, filePath, integer, isMapping, readYaml, scalar, type ValueReader } from "../settings/yaml_file.ts";

/** Contents of a log configuration file. */
export interface LogConfig {
  /** `undefined` if the file does not set it. */
  readonly level: LogLevel | undefined;
  /** `undefined` if the file does not set it. */
  readonly format: LogFormat | undefined;
  /** `undefined` logs to standard error only. */
  readonly file: LogFile | undefined;
  /** Paths of unsupported keys of a Python file, such as `root.handlers`. */
  readonly ignored: readonly string[];
}

const DEFAULT_MAX_BYTES = 10_485_760;
const DEFAULT_BACKUPS = 5;
/** A smaller file would be rotated every few lines. */
const MIN_FILE_BYTES = 65_536;
const MAX_FILE_BYTES = 1_099_511_627_776;
const MAX_BACKUPS = 100;

/**
 * Reads a log configuration file.
 *
 * @returns `undefined` if the file does not exist.
 * @throws {UserError} If the file is invalid: with line and column of a syntax error, or with a line for each problem.
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
  const config = isPython(value) ? readPython(value, checker) : readNative(value, checker, dirname(path));
  checker.end();
  return config;
}

function readNative(value: unknown, checker: Checker, folder: string): LogConfig {
  const { level, format, file } = checker.mapping(value, "", {
    level: scalar(SETTINGS.logLevel.accepts, SETTINGS.logLevel.parse),
    format: scalar(SETTINGS.logFormat.accepts, SETTINGS.logFormat.parse),
    file: fileReader(folder),
  });
  return { level, format, file, ignored: [] };
}

function fileReader(folder: string): ValueReader<LogFile | undefined> {
  return (value, key, checker) => {
    const values = checker.mapping(value, key, {
      path: filePath(folder),
      max_bytes: integer(MIN_FILE_BYTES, MAX_FILE_BYTES),
      backups: integer(1, MAX_BACKUPS),
    });
    if (!("path" in values)) checker.add(`missing key ${key}.path`);
    if (values.path === undefined) return undefined;
    const { path, max_bytes: maxBytes = DEFAULT_MAX_BYTES, backups: maxBackupCount = DEFAULT_BACKUPS } = values;
    return { path, maxBytes, maxBackupCount };
  };
}

/** Every Python logging configuration has a `version`; ours has none. */
function isPython(value: unknown): value is Record<string, unknown> {
  return isMapping(value) && Object.hasOwn(value, "version");
}

/** Takes the level of the root logger or, if it has none, the lowest level of the others, so as to lose no messages. */
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

/** A Python logger. NOTSET makes the root logger log everything, and other loggers inherit the level. */
interface PythonLogger {
  readonly level: LogLevel | "NOTSET" | undefined;
  /** Paths of its other keys. */
  readonly ignored: readonly string[];
}

function readLogger(value: unknown, key: string, checker: Checker): PythonLogger {
  const { level, ...others } = Object.fromEntries(checker.entries(value, key));
  return {
    level: level === undefined ? undefined : pythonLevel(level, `${key}.level`, checker),
    ignored: Object.keys(others).map((name) => `${key}.${name}`),
  };
}

/** Python's levels; TRACE is uvicorn's. */
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

const pythonLevel = scalar(`an integer or one of ${Object.keys(PYTHON_LEVELS).join(", ")}`, (text) => {
  const name = text.toUpperCase();
  const level = /^\d+$/.test(text)
    ? Number(text)
    : Object.hasOwn(PYTHON_LEVELS, name)
    ? PYTHON_LEVELS[name]
    : undefined;
  if (level === undefined) return undefined;
  if (level === 0) return "NOTSET";
  // Our levels are 10, 20, 30 and 40; those in between are rounded up.
  return LOG_LEVELS[Math.min(Math.ceil(level / 10), LOG_LEVELS.length) - 1];
});
