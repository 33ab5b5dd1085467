/**
 * Structured log to standard error, one line per event, as logfmt or JSON. The only file that imports `@std/log`.
 *
 * @module
 */

import { BaseHandler, Logger, type LogRecord, RotatingFileHandler } from "@std/log";
import { fileErrorOf, UserError } from "../errors.ts";
import type { LogFormat, LogLevel } from "../settings/settings.ts";

/** Maximum length of a value, in characters. Longer values are truncated, so that a request cannot fill a disk. */
export const LOG_VALUE_LIMIT_CHARACTERS = 2048;

/** The folder that may have the log file, besides the working directory: a permission of the task `start`. */
const LOG_FOLDER = "/var/log/ollama-exporter";

/** Fields of an event, in snake_case. Fields that are `undefined` are omitted. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** A structured logger. Messages are constant; untrusted text belongs in fields. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** Whether DEBUG events are written; lets callers skip building their fields. */
  readonly isDebug: boolean;
}

/** Options of {@linkcode createLog}. */
interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Log file to write to in addition to standard error. Default: none. */
  readonly file?: LogFile;
  /** Writes a line, given without its line feed. Default: to standard error. */
  readonly write?: (line: string) => void;
}

/** A log file, rotated when full: `a.log` to `a.log.1`, `a.log.1` to `a.log.2` and so on. */
export interface LogFile {
  readonly path: string;
  /** Maximum size before rotation, in bytes. */
  readonly maxBytes: number;
  /** Maximum number of rotated files. */
  readonly maxBackupCount: number;
}

/**
 * Creates a log.
 *
 * @throws {UserError} If the log file cannot be opened.
 */
export function createLog(options: LogOptions): Log {
  const formatter = options.format === "json" ? json : logfmt;
  const writers = [options.write ?? toStderr];
  if (options.file !== undefined) writers.push(toFile(options.file));
  const handlers = writers.map((write) => new LineHandler(options.level, formatter, write));
  const logger = new Logger("ollama-exporter", options.level, { handlers });
  return {
    debug: (message, fields) => void logger.debug(message, fields),
    info: (message, fields) => void logger.info(message, fields),
    warn: (message, fields) => void logger.warn(message, fields),
    error: (message, fields) => void logger.error(message, fields),
    isDebug: options.level === "DEBUG",
  };
}

class LineHandler extends BaseHandler {
  readonly #write: (line: string) => void;

  constructor(level: LogLevel, formatter: (record: LogRecord) => string, write: (line: string) => void) {
    super(level, { formatter });
    this.#write = write;
  }

  override log(line: string): void {
    try {
      this.#write(line);
    } catch {
      // A full disk or a closed pipe must not stop the exporter, and cannot be logged.
    }
  }
}

function toStderr(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

function toFile({ path, maxBytes, maxBackupCount }: LogFile): (line: string) => void {
  const handler = new RotatingFileHandler("DEBUG", { filename: path, maxBytes, maxBackupCount, mode: "a" });
  try {
    handler.setup();
  } catch (error) {
    const isElsewhere = error instanceof Deno.errors.NotCapable;
    const reason = isElsewhere ? `expected a path in the working directory or ${LOG_FOLDER}` : fileErrorOf(error);
    throw new UserError(`Cannot open log file ${path}: ${reason}`);
  }
  return (line) => {
    handler.log(line);
    // Without a flush, lines appear in the file only when the buffer is full.
    handler.flush();
  };
}

function entries(record: LogRecord): [string, Fields[string]][] {
  const fields = record.args[0] as Fields | undefined;
  const all: [string, Fields[string]][] = [
    ["time", record.datetime.toISOString()],
    ["level", record.levelName],
    ["msg", record.msg],
    ...Object.entries(fields ?? {}),
  ];
  return all.map(([name, value]) => [name, typeof value === "string" ? truncate(value) : value]);
}

/** Truncates values rather than lines, which keeps lines well-formed. */
function truncate(value: string): string {
  return value.length > LOG_VALUE_LIMIT_CHARACTERS ? `${value.slice(0, LOG_VALUE_LIMIT_CHARACTERS - 1)}…` : value;
}

function json(record: LogRecord): string {
  return escape(JSON.stringify(Object.fromEntries(entries(record))));
}

function logfmt(record: LogRecord): string {
  return entries(record)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${quote(String(value))}`)
    .join(" ");
}

/** Quotes a value unless it is a plain word, so that it cannot break the line or forge a field. */
function quote(value: string): string {
  return /^[\w.:/@+*[\]-]+$/.test(value) ? value : escape(JSON.stringify(value));
}

/** Escapes control characters and line separators that JSON leaves unescaped but terminals and log readers act on. */
function escape(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
