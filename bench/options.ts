/**
 * Command line of the bench.
 *
 * @module
 */

import { FULL_SCALE, QUICK_CASES, QUICK_SCALE, type Scale } from "./cases.ts";

/** Options of the command line. */
export interface Options {
  readonly help: boolean;
  readonly quick: boolean;
  readonly write: boolean;
  /** Names of the cases and proxies to run. Default: all. */
  readonly cases: readonly string[] | undefined;
  readonly proxies: readonly string[] | undefined;
  readonly reps: number;
  /** Seed of the order of runs. */
  readonly seed: number;
  readonly upstreams: number;
  readonly clients: number;
  readonly scale: Scale;
  /** Additional exporters by name: source tree or executable. */
  readonly variants: ReadonlyMap<string, string>;
}

/** Text of `--help`. */
export const HELP = `Usage: deno task bench [flags]

Measures the exporter against a direct connection, nginx and a bare Deno pass-through, alternating. A full run takes
about 20 minutes.

  --quick             run a few cases, in under two minutes
  --case=A,B          run only these cases
  --proxy=A,B         run only these proxies: direct, nginx, pass, pass_pooled, pass_tapped (all bodies through JavaScript),
                      us (WEB_SERVER=deno), us_node (WEB_SERVER=node), us_viewed (with a viewer of the status page),
                      us_scraped (once a second, 200 models), and variants
  --reps=N            repetitions; ratios are of the same repetition (3, with --quick 2)
  --variant=NAME=PATH measure another source tree or executable as well; repeatable
  --seed=N            seed of the order of proxies (1)
  --measure-ms=N      time for which a load is measured (3000, with --quick 1000)
  --warm-up-ms=N      time for which a proxy is warmed up (3000, with --quick 1200)
  --paced-tokens=N    tokens of a paced stream, which determine the ramp of a paced case (150, with --quick 60)
  --body-bytes=N      size of large bodies (1 GiB, with --quick 256 MiB)
  --upstreams=N       upstream processes, sharing a port (2)
  --clients=N         load client processes (2)
  --write             also write the results to bench/RESULTS.md`;

const DEFAULT_REPS = 3;
const QUICK_REPS = 2;

/**
 * Parses the command line.
 *
 * @throws {Error} If an argument is unknown or invalid.
 */
export function parseOptions(args: readonly string[]): Options {
  const values = new Map<string, string[]>();
  for (const arg of args) {
    const [, name = "", value = ""] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (!HELP.includes(`--${name}`) && name !== "help") throw new Error(`Unknown argument ${JSON.stringify(arg)}`);
    values.set(name, [...values.get(name) ?? [], value]);
  }
  const quick = values.has("quick");
  const standard = quick ? QUICK_SCALE : FULL_SCALE;
  const number = (name: string, other: number): number => {
    const text = values.get(name)?.at(-1);
    if (text === undefined) return other;
    if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} must be an integer over 0: ${JSON.stringify(text)}`);
    return Number(text);
  };
  const names = (name: string): string[] | undefined => values.get(name)?.flatMap((text) => text.split(","));
  return {
    help: values.has("help"),
    quick,
    write: values.has("write"),
    cases: names("case") ?? (quick ? QUICK_CASES : undefined),
    proxies: names("proxy"),
    reps: number("reps", quick ? QUICK_REPS : DEFAULT_REPS),
    seed: number("seed", 1),
    upstreams: number("upstreams", 2),
    clients: number("clients", 2),
    scale: {
      measureMs: number("measure-ms", standard.measureMs),
      warmUpMs: number("warm-up-ms", standard.warmUpMs),
      pacedTokens: number("paced-tokens", standard.pacedTokens),
      bodyBytes: number("body-bytes", standard.bodyBytes),
    },
    variants: new Map(values.get("variant")?.map(parseVariant)),
  };
}

function parseVariant(text: string): [name: string, path: string] {
  const [, name, path] = /^([\w.-]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || path === undefined) {
    throw new Error(`--variant must be NAME=PATH: ${JSON.stringify(text)}`);
  }
  return [name, path];
}
