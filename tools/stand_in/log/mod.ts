/**
 * A stand-in for `@std/log` 0.224.14, which `tools/deps.ts` copies to `vendor/` if JSR cannot be reached: the npm
 * package of the other modules has no `log`.
 *
 * It has the names, signatures and behaviour of the part that `lib/log/log.ts` uses, written for this project. If JSR
 * answers, the real package is used and this file is not.
 *
 * @module
 */

/** The numeric levels by name. */
export const LogLevels = {
  NOTSET: 0,
  DEBUG: 10,
  INFO: 20,
  WARN: 30,
  ERROR: 40,
  CRITICAL: 50,
} as const;

/** A level's name: what users write. */
export type LevelName = keyof typeof LogLevels;

/** A level's number: what is compared. */
export type LogLevel = typeof LogLevels[LevelName];

/** All levels' names, from the most to the least talkative. */
export const LogLevelNames: LevelName[] = Object.keys(LogLevels) as LevelName[];

/** The number of a level, or an error for a name that is none. */
export function getLevelByName(name: LevelName): LogLevel {
  const level = LogLevels[name];
  if (level === undefined) throw new Error(`Cannot get log level: no level named ${name}`);
  return level;
}

/** The name of a level, or an error for a number that is none. */
export function getLevelName(level: LogLevel): LevelName {
  const name = LogLevelNames.find((candidate) => LogLevels[candidate] === level);
  if (name === undefined) throw new Error(`Cannot get log level: no name for level: ${level}`);
  return name;
}

/** What a {@linkcode LogRecord} is made of. */
export interface LogRecordOptions {
  msg: string;
  args: unknown[];
  level: LogLevel;
  loggerName: string;
}

/** One message with its level, its logger and the time at which it was made. */
export class LogRecord {
  readonly msg: string;
  readonly level: number;
  readonly levelName: string;
  readonly loggerName: string;
  readonly #args: unknown[];
  readonly #time = Date.now();

  constructor(options: LogRecordOptions) {
    this.msg = options.msg;
    this.level = options.level;
    this.levelName = getLevelName(options.level);
    this.loggerName = options.loggerName;
    this.#args = [...options.args];
  }

  /** A copy of what was passed after the message. */
  get args(): unknown[] {
    return [...this.#args];
  }

  get datetime(): Date {
    return new Date(this.#time);
  }
}

/** Makes the line of a record. */
export type FormatterFunction = (logRecord: LogRecord) => string;

export interface BaseHandlerOptions {
  /** Default: the level's name, a space, the message. */
  formatter?: FormatterFunction;
}

/** Formats the records that are at or above its level, and leaves writing them to its child. */
export abstract class BaseHandler {
  level: LogLevel;
  formatter: FormatterFunction;

  constructor(levelName: LevelName, options?: BaseHandlerOptions) {
    this.level = getLevelByName(levelName);
    this.formatter = options?.formatter ?? (({ levelName, msg }) => `${levelName} ${msg}`);
  }

  get levelName(): LevelName {
    return getLevelName(this.level);
  }

  set levelName(name: LevelName) {
    this.level = getLevelByName(name);
  }

  handle(logRecord: LogRecord): void {
    if (logRecord.level >= this.level) this.log(this.format(logRecord));
  }

  format(logRecord: LogRecord): string {
    return this.formatter(logRecord);
  }

  abstract log(msg: string): void;
  setup(): void {}
  destroy(): void {}

  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** `a` appends, `w` begins anew, `x` refuses a file that is there. */
export type LogMode = "a" | "w" | "x";

export interface FileHandlerOptions extends BaseHandlerOptions {
  filename: string;
  /** Default: `a`. */
  mode?: LogMode;
  /** Bytes that are held back before they are written. Default: 4096. */
  bufferSize?: number;
}

/**
 * Writes to a file, through a buffer. The buffer is written when it is full, after a record above
 * ERROR, on `flush()`, on `destroy()` and when the program ends.
 */
export class FileHandler extends BaseHandler {
  protected filename: string;
  protected mode: LogMode;
  readonly #bufferSize: number;
  readonly #onUnload = (): void => this.destroy();
  #file: Deno.FsFile | undefined;
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(levelName: LevelName, options: FileHandlerOptions) {
    super(levelName, options);
    this.filename = options.filename;
    this.mode = options.mode ?? "a";
    this.#bufferSize = options.bufferSize ?? 4096;
  }

  override setup(): void {
    this.openFile();
    addEventListener("unload", this.#onUnload);
  }

  override handle(logRecord: LogRecord): void {
    super.handle(logRecord);
    if (logRecord.level > LogLevels.ERROR) this.flush();
  }

  override log(msg: string): void {
    const line = new TextEncoder().encode(msg + "\n");
    if (this.#heldBytes + line.byteLength > this.#bufferSize) this.flush();
    this.#held.push(line);
    this.#heldBytes += line.byteLength;
    if (this.#heldBytes > this.#bufferSize) this.flush();
  }

  flush(): void {
    if (this.#file === undefined) return;
    for (const line of this.#held) {
      for (let written = 0; written < line.byteLength;) {
        written += this.#file.writeSync(line.subarray(written));
      }
    }
    this.#held = [];
    this.#heldBytes = 0;
  }

  override destroy(): void {
    this.closeFile();
    removeEventListener("unload", this.#onUnload);
  }

  protected openFile(): void {
    this.#file = Deno.openSync(this.filename, {
      write: true,
      createNew: this.mode === "x",
      create: this.mode !== "x",
      append: this.mode === "a",
      truncate: this.mode !== "a",
    });
  }

  protected closeFile(): void {
    this.flush();
    this.#file?.close();
    this.#file = undefined;
  }
}

export interface RotatingFileHandlerOptions extends FileHandlerOptions {
  /** Bytes that the file may have before it is put aside. */
  maxBytes: number;
  /** Files put aside (`<filename>.1` is the youngest) that are kept. */
  maxBackupCount: number;
}

/** A {@linkcode FileHandler} that puts its file aside before a line would make it too large. */
export class RotatingFileHandler extends FileHandler {
  readonly #maxBytes: number;
  readonly #maxBackupCount: number;
  #fileBytes = 0;

  constructor(levelName: LevelName, options: RotatingFileHandlerOptions) {
    super(levelName, options);
    this.#maxBytes = options.maxBytes;
    this.#maxBackupCount = options.maxBackupCount;
  }

  override setup(): void {
    for (
      const [name, value] of [
        ["maxBytes", this.#maxBytes],
        ["maxBackupCount", this.#maxBackupCount],
      ] as const
    ) {
      if (value < 1) throw new Error(`"${name}" must be >= 1: received ${value}`);
    }
    super.setup();
    this.#fileBytes = Deno.statSync(this.filename).size;
    if (this.mode === "a") return;
    for (let index = 1; index <= this.#maxBackupCount; index++) {
      const backup = `${this.filename}.${index}`;
      if (this.mode === "w") ignoreMissing(() => Deno.removeSync(backup));
      else if (ignoreMissing(() => Deno.lstatSync(backup)) !== undefined) {
        this.destroy();
        throw new Deno.errors.AlreadyExists(`Backup log file ${backup} already exists`);
      }
    }
  }

  override log(msg: string): void {
    const lineBytes = new TextEncoder().encode(msg).byteLength + 1;
    if (this.#fileBytes + lineBytes > this.#maxBytes) this.rotateLogFiles();
    super.log(msg);
    this.#fileBytes += lineBytes;
  }

  rotateLogFiles(): void {
    this.closeFile();
    for (let index = this.#maxBackupCount - 1; index >= 0; index--) {
      const source = index === 0 ? this.filename : `${this.filename}.${index}`;
      ignoreMissing(() => Deno.renameSync(source, `${this.filename}.${index + 1}`));
    }
    this.openFile();
    this.#fileBytes = 0;
  }
}

export interface LoggerOptions {
  handlers?: BaseHandler[];
}

/** How `setup()` of the real package is told about a logger. */
export interface LoggerConfig {
  level?: LevelName;
  handlers?: string[];
}

/** A function, whose result is logged instead of itself, and only if its level is. */
// deno-lint-ignore no-explicit-any -- as in the real package
export type GenericFunction = (...args: any[]) => any;

/** What can be logged: a value, or a function that makes it if it is wanted. */
type Loggable<T> = (T extends GenericFunction ? never : T) | (() => T);

/** Hands records that are at or above its level to its handlers. */
export class Logger {
  readonly loggerName: string;
  level: LogLevel;
  handlers: BaseHandler[];

  constructor(loggerName: string, levelName: LevelName, options: LoggerOptions = {}) {
    this.loggerName = loggerName;
    this.level = getLevelByName(levelName);
    this.handlers = options.handlers ?? [];
  }

  get levelName(): LevelName {
    return getLevelName(this.level);
  }

  set levelName(name: LevelName) {
    this.level = getLevelByName(name);
  }

  debug<T>(msg: () => T, ...args: unknown[]): T | undefined;
  debug<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  debug<T>(msg: Loggable<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.DEBUG, msg, args);
  }

  info<T>(msg: () => T, ...args: unknown[]): T | undefined;
  info<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  info<T>(msg: Loggable<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.INFO, msg, args);
  }

  warn<T>(msg: () => T, ...args: unknown[]): T | undefined;
  warn<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  warn<T>(msg: Loggable<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.WARN, msg, args);
  }

  error<T>(msg: () => T, ...args: unknown[]): T | undefined;
  error<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  error<T>(msg: Loggable<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.ERROR, msg, args);
  }

  critical<T>(msg: () => T, ...args: unknown[]): T | undefined;
  critical<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  critical<T>(msg: Loggable<T>, ...args: unknown[]): T | undefined {
    return this.#log(LogLevels.CRITICAL, msg, args);
  }

  #log<T>(level: LogLevel, msg: Loggable<T>, args: unknown[]): T | undefined {
    if (level < this.level) return msg instanceof Function ? undefined : msg;
    const value = msg instanceof Function ? msg() : msg;
    const { loggerName } = this;
    const record = new LogRecord({ msg: asString(value), args, level, loggerName });
    for (const handler of this.handlers) handler.handle(record);
    return value;
  }
}

/** A value as the text of a message. */
function asString(value: unknown): string {
  if (value instanceof Error) return value.stack ?? value.message;
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return String(value);
}

/** What `action` returns; `undefined` if the file that it works on is not there. */
function ignoreMissing<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
