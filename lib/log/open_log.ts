/**
 * The log as the settings and the log configuration file have it.
 *
 * @module
 */

import { type Problems, UserError } from "../errors.ts";
import { type ConfiguredCommand, sourceOf } from "../settings/command.ts";
import { LOG_CONFIG_FILE, type LogFormat } from "../settings/settings.ts";
import { createLog, type Log } from "./log.ts";
import { loadLogConfig, type LogConfig } from "./log_config.ts";

/** An open log. */
interface OpenLog {
  readonly log: Log;
  readonly format: LogFormat;
}

/**
 * Opens the log. Settings that were set override the file. What is wrong with the file is added to the problems; then
 * the log is on standard error only, to report them.
 */
export async function openLog(command: ConfiguredCommand, problems: Problems): Promise<OpenLog> {
  const { config, given } = command;
  const path = config.logConfig ?? LOG_CONFIG_FILE;
  const name = sourceOf("logConfig", command);
  const file = await problems.collect(name, loadFile(path, given.has("logConfig")));
  const level = given.has("logLevel") ? config.logLevel : file?.level ?? config.logLevel;
  const format = given.has("logFormat") ? config.logFormat : file?.format ?? config.logFormat;
  const opened = file?.file && await problems.collect(name, Promise.try(createLog, { level, format, file: file.file }));
  const log = opened ?? createLog({ level, format });
  if (file !== undefined && file.ignored.length > 0) {
    log.warn("Ignoring unsupported keys in log config", { file: path, keys: file.ignored.join(", ") });
  }
  return { log, format };
}

/** @returns `undefined` if the file does not exist and need not. */
async function loadFile(path: string, isRequired: boolean): Promise<LogConfig | undefined> {
  const file = await loadLogConfig(path);
  if (file === undefined && isRequired) throw new UserError(`${path}: No such file or directory`);
  return file;
}
