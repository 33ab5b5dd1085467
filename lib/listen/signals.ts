/**
 * What signals ask of the process. Listens to none itself.
 *
 * @module
 */

/**
 * Time after the first signal to stop in which further ones are ignored, in milliseconds. Ctrl-C signals all processes
 * of a terminal, and `deno task` passes its signal on to its child, which so receives two within 2 ms (Deno 2.9.6).
 */
const REPEAT_MS = 1000;

/** What to do: stop and wait for open requests, exit now, or reload configuration files. */
type Action = "stop" | "exit" | "reload";

/** Where the process runs. */
interface SignalOptions {
  readonly os: typeof Deno.build.os;
  /** Whether standard error is a terminal. Then SIGHUP reports that it was closed. */
  readonly hasTerminal: boolean;
}

/** Returns the signals to listen to. Windows has SIGBREAK (Ctrl-Break) and sends no SIGTERM. */
export function signalsOf(os: typeof Deno.build.os): readonly Deno.Signal[] {
  return ["SIGINT", os === "windows" ? "SIGBREAK" : "SIGTERM", "SIGHUP"];
}

/** Remembers that the process was asked to stop. */
export class Signals {
  /** Whether SIGHUP asks to stop. Windows sends it when the console window is closed, and for nothing else. */
  readonly #isHangupStop: boolean;
  /** Time of the first signal to stop; `undefined` before it. */
  #stopAtMs: number | undefined;

  constructor({ os, hasTerminal }: SignalOptions) {
    this.#isHangupStop = hasTerminal || os === "windows";
  }

  /**
   * Returns what a signal asks for, or `undefined` for nothing.
   *
   * @param nowMs Time on a monotonic clock, in milliseconds.
   */
  receive(signal: Deno.Signal, nowMs: number): Action | undefined {
    const isReload = signal === "SIGHUP" && !this.#isHangupStop;
    if (this.#stopAtMs === undefined) {
      if (isReload) return "reload";
      this.#stopAtMs = nowMs;
      return "stop";
    }
    return isReload || nowMs - this.#stopAtMs < REPEAT_MS ? undefined : "exit";
  }
}
