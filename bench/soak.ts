/**
 * `deno task soak`: an exporter in a process of its own under loads that could exhaust its memory or grow its metrics,
 * over both listeners, and a table of the results. Fails if a limit is exceeded.
 *
 * @module
 */

import { messageOf } from "../lib/errors.ts";
import type { WebServer } from "../lib/settings/settings.ts";
import { writeLine } from "./child.ts";
import { chosen, type Flags, type FlagTable } from "./flags.ts";
import { portOf, startScript } from "./proxies.ts";
import { FULL_SOAK, QUICK_SOAK, RSS_LIMITS_BYTES, type SoakCase, soakCases } from "./soak_cases.ts";
import { Trial } from "./soak_trial.ts";
import { type Checked, report } from "./tally.ts";

/** Flags of the command line. */
export const SOAK_FLAGS: FlagTable = {
  quick: ["", "reduced loads"],
  case: ["A,B", "run only these cases, explained in bench/README.md"],
  seed: ["N", "seed of the order of the soak's requests (1)"],
  write: ["", "also write the table to bench/README.md"],
};

/**
 * Runs the cases and prints a table of the results.
 *
 * @throws {Error} If a limit is exceeded, a byte lost or a count wrong.
 */
export async function soak(flags: Flags): Promise<void> {
  const all = soakCases({ seed: flags.number("seed", 1), ...flags.has("quick") ? QUICK_SOAK : FULL_SOAK });
  const cases = chosen(all, ({ name }) => name, flags.names("case"), "case");
  await report("soak", flags, await runSoak(cases, (text) => writeLine(Deno.stderr, text)));
}

/**
 * Runs cases over their listeners, each with a new exporter.
 *
 * @param note Called before each case with its name.
 */
export async function runSoak(cases: readonly SoakCase[], note: (text: string) => void): Promise<Checked[]> {
  const upstream = startScript("upstream.ts", ["0"]);
  try {
    const port = await portOf(upstream);
    const results: Checked[] = [];
    for (const soakCase of cases) {
      for (const server of soakCase.servers) {
        note(`${soakCase.name} ${server}`);
        const result = runCase(soakCase, server, port).catch((error) => {
          throw new Error(`${soakCase.name} ${server}: ${messageOf(error)}`);
        });
        results.push(await result);
      }
    }
    return results;
  } finally {
    await upstream.stop();
  }
}

async function runCase(soakCase: SoakCase, server: WebServer, upstreamPort: number): Promise<Checked> {
  const { name, load, limit, deadlineMs } = soakCase;
  await using trial = await Trial.start(upstreamPort, server);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not done within ${deadlineMs / 1000} s`)), deadlineMs);
  let remark = "failed";
  try {
    remark = await Promise.race([soakCase.run(trial), late.promise]);
  } catch (error) {
    trial.problem(messageOf(error));
  } finally {
    clearTimeout(timer);
  }
  await trial.end();
  return { name, server, load, limit: [limit, RSS_LIMITS_BYTES[limit]], remark, tally: trial.tally };
}
