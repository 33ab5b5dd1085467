/**
 * The log: one line an event on standard error, as text (logfmt) or JSON. The only file that imports `@std/log`.
 *
 * @module
 */

import { BaseHandler, Logger, type LogRecord, RotatingFileHandler } from "@std/log";
import { UserError } from "../errors.ts";
import { UNKNOWN_MODEL } from "../model_name.ts";
import type { Observation, Observe } from "../observation.ts";
import { type LogLevel } from "../settings/settings.ts";

/** Longest value in a line, in characters; the rest is cut off. What one request brings along must not fill a disk. */
export const LOG_VALUE_LIMIT_CHARACTERS = 2048;

/** What an event says beside its message. Fields that are `undefined` are left out. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Takes events. Messages are sentences of ours; whatever comes from outside belongs into fields. */
export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** Whether events of DEBUG are written, for callers that would gather fields in vain. */
  readonly isDebug: boolean;
}

/** Options of {@linkcode createLog}. */
export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "text" | "json";
  /** Where lines are written beside standard error; absent: nowhere. */
  readonly file?: LogFile;
  /** Writes one line, without its line feed. Default: to standard error. */
  readonly write?: (line: string) => void;
}

/** A file that is renamed when it is full: `a.log` to `a.log.1`, that one to `a.log.2`. */
export interface LogFile {
  readonly path: string;
  /** Size at which it is renamed, in bytes. */
  readonly maxBytes: number;
  /** How many renamed ones are kept. */
  readonly maxBackupCount: number;
}

/**
 * Makes a log.
 *
 * @throws {UserError} Where the file cannot be opened.
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
      // A full disk or a closed pipe must not end what the log tells of, and there is nobody to tell.
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
    throw new UserError(`The log cannot be written to ${path}: ${error instanceof Error ? error.message : error}`);
  }
  return (line) => {
    handler.log(line);
    // It writes when its buffer is full; whoever follows the file wants the line now.
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
  return all.map(([name, value]) => [name, typeof value === "string" ? shortened(value) : value]);
}

/** Values are cut and not lines, so that a line keeps its form. */
function shortened(value: string): string {
  return value.length > LOG_VALUE_LIMIT_CHARACTERS ? `${value.slice(0, LOG_VALUE_LIMIT_CHARACTERS - 1)}…` : value;
}

function json(record: LogRecord): string {
  return escaped(JSON.stringify(Object.fromEntries(entries(record))));
}

function logfmt(record: LogRecord): string {
  return entries(record)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${quote(String(value))}`)
    .join(" ");
}

/** Quoted unless it is a plain word: whatever is in it, it stays on its line and in its field. */
function quote(value: string): string {
  return /^[\w.:/@+*[\]-]+$/.test(value) ? value : escaped(JSON.stringify(value));
}

/** JSON without the characters that it leaves as they are, though terminals and log readers act on them. */
function escaped(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * A consumer of observations that logs a line for each at DEBUG, and at the usual levels when Ollama goes away or comes
 * back. Prompts, answers, queries and headers are in no observation, so they are in no line.
 *
 * @param upstream How Ollama's address is shown.
 */
export function logObservations(log: Log, upstream: string): Observe {
  let isAway = false;
  return (observation) => {
    // A client that left says nothing of Ollama.
    const away = observation.outcome === "client_closed" ? isAway : observation.outcome === "upstream_unreachable";
    if (away && !isAway) log.warn("Ollama does not answer", { ollama: upstream, error: observation.upstreamError });
    if (!away && isAway) log.info("Ollama answers again", { ollama: upstream });
    isAway = away;
    if (log.isDebug) log.debug("Request", requestFields(observation));
  };
}

function requestFields(observation: Observation): Fields {
  const { report } = observation;
  return {
    method: observation.method,
    route: observation.route,
    model: report.model ?? observation.requestedModel ?? (observation.api && UNKNOWN_MODEL),
    status: observation.status,
    outcome: observation.outcome,
    promptTokens: report.promptTokens,
    outputTokens: report.outputTokens,
    seconds: Number(observation.durationSeconds.toFixed(3)),
    firstOutputSeconds: observation.firstOutputSeconds && Number(observation.firstOutputSeconds.toFixed(3)),
  };
}
