/**
 * Sends what changes to those who look, once a second, as server-sent events. Where nobody looks nothing happens: there
 * is no timer and nothing is serialised.
 *
 * @module
 */

import { type ServerSentEventMessage, ServerSentEventStream } from "@std/http/server-sent-event-stream";

/** How many may look at a time: every second costs some work and some kilobytes for each of them. */
export const VIEWER_LIMIT = 8;

const DEFAULT_SEND_MS = 1000;
const DEFAULT_STALLED_MS = 30_000;

/** Something that viewers are sent whenever it has changed. */
export interface Part {
  /** Name of its events. */
  readonly event: string;
  /** Another value whenever the content is another one. */
  version(): string | number;
  /** What is sent, as JSON. */
  content(): unknown;
}

/** Options of {@linkcode Feed}. */
export interface FeedOptions {
  readonly parts: readonly Part[];
  /** Called before each sending, so also: never where nobody looks. */
  readonly beforeSending: () => void;
  /** Called with an exception of our own code; viewers miss that sending. */
  readonly internalError: (error: unknown) => void;
  /** How often is sent, in milliseconds. Default: 1000. */
  readonly sendMs?: number;
  /** A viewer that takes nothing for as long as this is gone without a farewell, in milliseconds. Default: 30,000. */
  readonly stalledMs?: number;
}

type Controller = ReadableStreamDefaultController<ServerSentEventMessage>;

/** One who looks. */
interface Viewer {
  readonly controller: Controller;
  /** The version of each part that was sent last. */
  readonly sent: Map<Part, string | number>;
  /** Since when it has taken nothing, by `performance.now()`; `undefined` for one that keeps up. */
  stalledAt: number | undefined;
}

/** The viewers, and the clock that runs while there is one. */
export class Feed {
  readonly #options: FeedOptions;
  readonly #viewers = new Set<Viewer>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** How many look at the moment. */
  get viewers(): number {
    return this.#viewers.size;
  }

  /** A stream of events for one more viewer, which begins with all parts; `undefined` if there are enough of them. */
  open(): ReadableStream<Uint8Array> | undefined {
    if (this.#viewers.size >= VIEWER_LIMIT) return undefined;
    let viewer: Viewer | undefined;
    const events = new ReadableStream<ServerSentEventMessage>({
      start: (controller) => {
        viewer = { controller, sent: new Map(), stalledAt: undefined };
        this.#viewers.add(viewer);
        this.#timer ??= setInterval(() => this.#shieldedSend(this.#viewers), this.#options.sendMs ?? DEFAULT_SEND_MS);
        this.#shieldedSend([viewer]);
      },
      cancel: () => this.#remove(viewer),
      // Room for one sending; what a slow viewer does not take is left out and not kept.
    }, { highWaterMark: this.#options.parts.length });
    return events.pipeThrough(new ServerSentEventStream());
  }

  /** Ends the streams of all viewers, which otherwise have no end. */
  end(): void {
    for (const viewer of this.#viewers) {
      viewer.controller.close();
      this.#remove(viewer);
    }
  }

  /** An exception in a timer would end the process, and with it all that is proxied. */
  #shieldedSend(viewers: Iterable<Viewer>): void {
    try {
      this.#send(viewers);
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  /** Each part is serialised at most once, and only if somebody needs it. */
  #send(viewers: Iterable<Viewer>): void {
    this.#options.beforeSending();
    const ready = [...viewers].filter((viewer) => this.#isReady(viewer));
    for (const part of this.#options.parts) {
      const version = part.version();
      const waiting = ready.filter(({ sent }) => sent.get(part) !== version);
      if (waiting.length === 0) continue;
      const message = { event: part.event, data: JSON.stringify(part.content()) };
      for (const { controller, sent } of waiting) {
        controller.enqueue(message);
        sent.set(part, version);
      }
    }
  }

  /** Whether a viewer has taken what it was sent; one that has not for too long is given up. */
  #isReady(viewer: Viewer): boolean {
    if (viewer.controller.desiredSize === this.#options.parts.length) {
      viewer.stalledAt = undefined;
      return true;
    }
    viewer.stalledAt ??= performance.now();
    if (performance.now() - viewer.stalledAt > (this.#options.stalledMs ?? DEFAULT_STALLED_MS)) {
      viewer.controller.error(new Error("The viewer takes nothing any more"));
      this.#remove(viewer);
    }
    return false;
  }

  #remove(viewer: Viewer | undefined): void {
    if (viewer !== undefined) this.#viewers.delete(viewer);
    if (this.#viewers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
