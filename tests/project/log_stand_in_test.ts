import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import {
  BaseHandler,
  getLevelByName,
  getLevelName,
  type LevelName,
  Logger,
  LogLevelNames,
  LogLevels,
  type LogRecord,
  RotatingFileHandler,
  type RotatingFileHandlerOptions,
} from "../../tools/stand_in/log/mod.ts";

/** Collects lines. */
class Kept extends BaseHandler {
  readonly lines: string[] = [];

  override log(line: string): void {
    this.lines.push(line);
  }
}

/** A rotating file in a folder of its own. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "log_stand_in_test_" });

  handler(options: Partial<RotatingFileHandlerOptions> = {}): RotatingFileHandler {
    const filename = `${this.path}/log`;
    const formatter = ({ msg }: LogRecord): string => msg;
    return new RotatingFileHandler("INFO", {
      filename,
      formatter,
      maxBytes: 10,
      maxBackupCount: 2,
      ...options,
    });
  }

  write(name: string, text: string): void {
    Deno.writeTextFileSync(`${this.path}/${name}`, text);
  }

  /** Returns the texts of the files, by name. */
  files(): Record<string, string> {
    const names = [...Deno.readDirSync(this.path)].map(({ name }) => name).sort();
    return Object.fromEntries(
      names.map((name) => [name, Deno.readTextFileSync(`${this.path}/${name}`)]),
    );
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

Deno.test("getLevelByName() and getLevelName() are each other's inverse", () => {
  for (const name of LogLevelNames) assertEquals(getLevelName(getLevelByName(name)), name);
  assertThrows(() => getLevelByName("LOUD" as LevelName), Error, "no level named LOUD");
  assertThrows(() => getLevelName(15 as typeof LogLevels.INFO), Error, "no name for level: 15");
});

Deno.test("Logger and handlers pass on records of their level and above", () => {
  const [all, warnings] = [new Kept("NOTSET"), new Kept("WARN")];
  const logger = new Logger("x", "INFO", { handlers: [all, warnings] });
  logger.debug("d");
  logger.info("i");
  logger.warn("w");
  logger.error("e");
  logger.critical("c");
  assertEquals(all.lines, ["INFO i", "WARN w", "ERROR e", "CRITICAL c"]);
  assertEquals(warnings.lines, ["WARN w", "ERROR e", "CRITICAL c"]);
});

Deno.test("Logger returns the message, and calls a function only if its result is logged", () => {
  const logger = new Logger("x", "INFO", { handlers: [new Kept("NOTSET")] });
  assertEquals(logger.info("text"), "text");
  assertEquals(logger.debug(7), 7);
  assertEquals(logger.info(() => 7), 7);
  assertEquals(
    logger.debug((): number => {
      throw new Error("called");
    }),
    undefined,
  );
});

Deno.test("Logger gives the formatter message, arguments, level, name and time", () => {
  const records: LogRecord[] = [];
  const formatter = (record: LogRecord): string => String(records.push(record));
  const before = Date.now();
  new Logger("name", "INFO", { handlers: [new Kept("INFO", { formatter })] }).warn({ a: 1 }, 2, "3");
  const [record] = records;
  assertEquals(
    [record?.msg, record?.args, record?.level, record?.levelName, record?.loggerName],
    [`{"a":1}`, [2, "3"], LogLevels.WARN, "WARN", "name"],
  );
  assertEquals((record?.datetime.getTime() ?? 0) >= before, true);
});

Deno.test("Logger writes an error with its stack", () => {
  const kept = new Kept("INFO");
  new Logger("x", "INFO", { handlers: [kept] }).error(new TypeError("bad"));
  assertMatch(kept.lines[0] ?? "", /^ERROR TypeError: bad\n +at /);
});

Deno.test("RotatingFileHandler writes on flush, on destroy and after a record above ERROR", () => {
  using folder = new Folder();
  const handler = folder.handler({ maxBytes: 100 });
  handler.setup();
  const logger = new Logger("x", "INFO", { handlers: [handler] });
  logger.info("a");
  assertEquals(folder.files(), { log: "" });
  handler.flush();
  assertEquals(folder.files(), { log: "a\n" });
  logger.critical("b");
  assertEquals(folder.files(), { log: "a\nb\n" });
  logger.info("c");
  handler.destroy();
  assertEquals(folder.files(), { log: "a\nb\nc\n" });
});

Deno.test("RotatingFileHandler writes when its buffer is full, also lines longer than the buffer", () => {
  using folder = new Folder();
  const handler = folder.handler({ maxBytes: 100, bufferSize: 4 });
  handler.setup();
  handler.log("ab");
  handler.log("cd");
  assertEquals(folder.files(), { log: "ab\n" });
  handler.log("longer");
  assertEquals(folder.files(), { log: "ab\ncd\nlonger\n" });
  handler.destroy();
});

Deno.test("RotatingFileHandler rotates files before they exceed the limit, and removes the oldest", () => {
  using folder = new Folder();
  const handler = folder.handler();
  handler.setup();
  for (const line of ["12345", "678", "9", "äöü", "abc", "x".repeat(20)]) handler.log(line);
  handler.destroy();
  assertEquals(folder.files(), {
    "log": `${"x".repeat(20)}\n`,
    "log.1": "abc\n",
    "log.2": "9\näöü\n",
  });
});

Deno.test("RotatingFileHandler appends to the file in mode a", () => {
  using folder = new Folder();
  folder.write("log", "1234567\n");
  const handler = folder.handler();
  handler.setup();
  handler.log("ab");
  handler.destroy();
  assertEquals(folder.files(), { "log": "ab\n", "log.1": "1234567\n" });
});

Deno.test("RotatingFileHandler truncates the file and removes backups in mode w", () => {
  using folder = new Folder();
  for (const name of ["log", "log.1", "log.2", "log.3"]) folder.write(name, "old");
  const handler = folder.handler({ mode: "w" });
  handler.setup();
  handler.log("ab");
  handler.destroy();
  assertEquals(folder.files(), { "log": "ab\n", "log.3": "old" });
});

for (const name of ["log", "log.2"]) {
  Deno.test(`RotatingFileHandler fails in mode x if there is ${name}`, () => {
    using folder = new Folder();
    folder.write(name, "old");
    assertThrows(() => folder.handler({ mode: "x" }).setup(), Deno.errors.AlreadyExists);
    assertEquals(folder.files()[name], "old");
  });
}

Deno.test("RotatingFileHandler rejects limits below one", () => {
  using folder = new Folder();
  assertThrows(() => folder.handler({ maxBytes: 0 }).setup(), Error, `"maxBytes" must be >= 1`);
  assertThrows(() => folder.handler({ maxBackupCount: 0 }).setup(), Error, `"maxBackupCount"`);
});
