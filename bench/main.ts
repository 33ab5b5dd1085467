/**
 * `deno task bench`, `deno task chaos` and `deno task soak`: flags, signals and the end of all processes.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import { bench, BENCH_FLAGS } from "./bench.ts";
import { chaos, CHAOS_FLAGS } from "./chaos.ts";
import { stopAll, writeLine } from "./child.ts";
import { Flags, type FlagTable, helpOf } from "./flags.ts";
import { soak, SOAK_FLAGS } from "./soak.ts";

interface Task {
  readonly about: string;
  readonly flags: FlagTable;
  /** @throws {Error} If a check fails, after the report. */
  readonly run: (flags: Flags) => Promise<void>;
}

const TASKS: Readonly<Record<string, Task>> = {
  bench: {
    about:
      "Measures the exporter against a direct connection, nginx and bare proxies, alternating. Takes two hours, with\n" +
      "--quick less than a minute.",
    flags: BENCH_FLAGS,
    run: bench,
  },
  chaos: {
    about: "Injects faults between clients and upstream, over both listeners, and checks bytes and counts.",
    flags: CHAOS_FLAGS,
    run: chaos,
  },
  soak: {
    about:
      "Applies loads that could exhaust the exporter's memory or grow its metrics, and checks bytes, counts and\n" +
      "limits. Takes about 15 minutes, with --quick a minute or two.",
    flags: SOAK_FLAGS,
    run: soak,
  },
};

async function main(): Promise<void> {
  const [name = "", ...args] = Deno.args;
  const task = TASKS[name];
  if (task === undefined) {
    throw new Error(`unknown task ${JSON.stringify(name)}: want ${Object.keys(TASKS).join(", ")}`);
  }
  if (args.includes("--help")) return writeLine(Deno.stdout, helpOf(name, task.about, task.flags));
  await task.run(new Flags(task.flags, args));
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // On a signal all processes are terminated, so the run fails and cleans up as after any error.
  Deno.addSignalListener(signal, stopAll);
}
try {
  await main();
} catch (error) {
  writeLine(Deno.stderr, messageOf(error));
  Deno.exitCode = 1;
}
await stopAll();
Deno.exit();
