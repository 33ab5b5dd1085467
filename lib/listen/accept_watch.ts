/**
 * Detects that a server on `node:http` no longer accepts connections, and makes it listen again. Out of file
 * descriptors, Deno stops accepting for good without an error; a probe connection that is not accepted reveals it.
 *
 * @module
 */

/** Default interval between checks, in milliseconds. */
const INTERVAL_MS = 1000;

/** Minimum number of open connections and requests for a check: no descriptor limit is that low. */
export const MIN_OPEN = 16;

/** Number of intervals within which the probe connection must be accepted. With one, a busy server would fail. */
const MAX_PROBE_INTERVALS = 2;

/** Options of {@linkcode AcceptWatch}. */
interface AcceptWatchOptions {
  /** Returns the number of open connections and requests. */
  readonly countOpen: () => number;
  /** Connects to the server and disconnects. Rejects if that fails. */
  readonly connect: () => Promise<void>;
  /** Listens again. Default: a restart is required. */
  readonly relisten?: () => void;
  /** Called with an error message, once until a connection is accepted again. */
  readonly report: (message: string) => void;
  /** Interval between checks, in milliseconds. Default: 1000. */
  readonly intervalMs?: number;
}

/** A watch over a server. Runs until {@linkcode AcceptWatch.stop}. */
export class AcceptWatch {
  readonly #options: AcceptWatchOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Maximum of open connections and requests since a connection was last accepted. */
  #maxOpen = 0;
  /** Whether a connection was accepted since the last check. */
  #hasAccepted = false;
  /** Intervals since the probe connection was made; `undefined` if there is none. */
  #probeIntervals: number | undefined;
  #hasReported = false;

  constructor(options: AcceptWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#check(), options.intervalMs ?? INTERVAL_MS);
  }

  /** To be called when a connection is accepted. */
  onConnection(): void {
    this.#hasAccepted = true;
    this.#probeIntervals = undefined;
    this.#hasReported = false;
    this.#maxOpen = this.#options.countOpen();
  }

  /** To be called when a request is received. */
  onRequest(): void {
    this.#maxOpen = Math.max(this.#maxOpen, this.#options.countOpen());
  }

  /** Stops the checks. */
  stop(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    const hasAccepted = this.#hasAccepted;
    this.#hasAccepted = false;
    if (hasAccepted || this.#maxOpen < MIN_OPEN) return;
    if (this.#probeIntervals === undefined) return await this.#probe();
    this.#probeIntervals += 1;
    if (this.#probeIntervals < MAX_PROBE_INTERVALS) return;
    this.#relisten("probably out of file descriptors");
  }

  async #probe(): Promise<void> {
    this.#probeIntervals = 0;
    try {
      await this.#options.connect();
    } catch (error) {
      this.#probeIntervals = undefined;
      // Nothing listens: a previous attempt to listen again has failed.
      if (error instanceof Deno.errors.ConnectionRefused) this.#relisten(error.message);
      else this.#report(`Cannot accept connections: ${error}`);
    }
  }

  #relisten(reason: string): void {
    this.#probeIntervals = undefined;
    const remedy = this.#options.relisten === undefined ? "restart required" : "listening again";
    this.#report(`No longer accepting connections, ${reason}: ${remedy}`);
    this.#options.relisten?.();
  }

  #report(message: string): void {
    if (!this.#hasReported) this.#options.report(message);
    this.#hasReported = true;
  }
}
