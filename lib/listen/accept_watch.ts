/**
 * Notices that a server of `node:http` accepts nothing any more, and has it listen anew: without file descriptors
 * Deno stops accepting for good and tells nobody. What tells is a connection of our own that is not accepted.
 *
 * @module
 */

/** How often it is looked, in milliseconds. */
const LOOK_MS = 1000;

/** Where less than this is open nothing is asked: so few use up the descriptors of no system. */
export const LEAST_OPEN = 16;

/** Looks after which a connection must have been accepted: with one, a busy moment would be taken for the end. */
const PATIENCE_LOOKS = 2;

/** Options of {@linkcode AcceptWatch}. */
export interface AcceptWatchOptions {
  /** How many connections and requests are open at the moment. */
  readonly countOpen: () => number;
  /** Connects to the server, and leaves at once. Rejects where that is not possible. */
  readonly connect: () => Promise<void>;
  /** Listens anew. Absent: it takes a restart. */
  readonly relisten?: () => void;
  /** Called with what is wrong, once until a connection is accepted again. */
  readonly complain: (message: string) => void;
  /** How often it is looked, in milliseconds. Default: 1000. */
  readonly lookMs?: number;
}

/** The watch. It is to be told what comes, and to be ended. */
export class AcceptWatch {
  readonly #options: AcceptWatchOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Most that was open at a time since a connection was last accepted. */
  #mostOpen = 0;
  /** Since the last look. */
  #hasAccepted = false;
  /** Looks since a connection of our own was made that was not accepted; absent: there is none. */
  #looks: number | undefined;
  #hasComplained = false;

  constructor(options: AcceptWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), options.lookMs ?? LOOK_MS);
  }

  /** A connection was accepted. */
  accepted(): void {
    this.#hasAccepted = true;
    this.#looks = undefined;
    this.#hasComplained = false;
    this.#mostOpen = this.#options.countOpen();
  }

  /** A request has come. */
  opened(): void {
    this.#mostOpen = Math.max(this.#mostOpen, this.#options.countOpen());
  }

  /** Looks no more. */
  end(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const hasAccepted = this.#hasAccepted;
    this.#hasAccepted = false;
    if (hasAccepted || this.#mostOpen < LEAST_OPEN) return;
    if (this.#looks === undefined) return await this.#connect();
    this.#looks += 1;
    if (this.#looks < PATIENCE_LOOKS) return;
    this.#relisten("as after a lack of file descriptors");
  }

  async #connect(): Promise<void> {
    this.#looks = 0;
    try {
      await this.#options.connect();
    } catch (error) {
      this.#looks = undefined;
      // Nothing listens: listening anew has failed before.
      if (error instanceof Deno.errors.ConnectionRefused) this.#relisten(error.message);
      else this.#complain(`No connection can be accepted: ${error instanceof Error ? error.message : error}`);
    }
  }

  #relisten(why: string): void {
    this.#looks = undefined;
    const remedy = this.#options.relisten === undefined ? "a restart is needed" : "listening anew";
    this.#complain(`No connection is accepted any more, ${why}: ${remedy}`);
    this.#options.relisten?.();
  }

  #complain(message: string): void {
    if (!this.#hasComplained) this.#options.complain(message);
    this.#hasComplained = true;
  }
}
