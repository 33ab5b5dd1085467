/**
 * Sends changes to the viewers of the status page as server-sent events, once a second. Without viewers there is no
 * timer, and nothing is serialized.
 *
 * @module
 */

import { type ServerSentEventMessage, ServerSentEventStream } from "@std/http/server-sent-event-stream";

/** Maximum number of viewers: each costs some work and some kilobytes per second. */
export const VIEWER_LIMIT = 8;

const DEFAULT_INTERVAL_MS = 1000;
const DEFAULT_STALLED_MS = 30_000;

/** A part of the page that is sent whenever it has changed. */
export interface Part {
  /** Name of its events. */
  readonly event: string;
  /** Changes whenever the content changes. */
  version(): string | number;
  /** Content of the event, serialized as JSON. */
  content(): unknown;
}

/** Options of {@linkcode Feed}. */
export interface FeedOptions {
  readonly parts: readonly Part[];
  /** Called before each send, hence never without viewers. */
  readonly beforeSend: () => void;
  /** Called with an exception in the exporter's own code. Viewers miss that send. */
  readonly internalError: (error: unknown) => void;
  /** Interval between sends, in milliseconds. Default: 1000. */
  readonly intervalMs?: number;
  /** Time after which a viewer that reads nothing is disconnected, in milliseconds. Default: 30,000. */
  readonly stallTimeoutMs?: number;
}

type Controller = ReadableStreamDefaultController<ServerSentEventMessage>;

/** An open page. */
interface Viewer {
  readonly controller: Controller;
  /** Version of each part that was sent last. */
  readonly sent: Map<Part, string | number>;
  /** Time since which it has read nothing, as of `performance.now()`; `undefined` if it keeps up. */
  stalledAt: number | undefined;
}

/** Sends the parts of the page to all viewers. */
export class Feed {
  readonly #options: FeedOptions;
  readonly #viewers = new Set<Viewer>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Number of viewers. */
  get viewers(): number {
    return this.#viewers.size;
  }

  /** Adds a viewer. Returns its stream of events, which starts with all parts; `undefined` at the maximum number. */
  open(): ReadableStream<Uint8Array> | undefined {
    if (this.#viewers.size >= VIEWER_LIMIT) return undefined;
    let viewer: Viewer | undefined;
    const events = new ReadableStream<ServerSentEventMessage>({
      start: (controller) => {
        viewer = { controller, sent: new Map(), stalledAt: undefined };
        this.#viewers.add(viewer);
        this.#timer ??= setInterval(
          () => this.#sendSafely(this.#viewers),
          this.#options.intervalMs ?? DEFAULT_INTERVAL_MS,
        );
        this.#sendSafely([viewer]);
      },
      cancel: () => this.#remove(viewer),
      // Room for one send. A slow viewer misses sends; they are not queued.
    }, { highWaterMark: this.#options.parts.length });
    return events.pipeThrough(new ServerSentEventStream());
  }

  /** Ends the streams of all viewers. They do not end by themselves. */
  end(): void {
    for (const viewer of this.#viewers) {
      viewer.controller.close();
      this.#remove(viewer);
    }
  }

  /** Sends, and reports an exception: in a timer it would end the process and all proxied streams. */
  #sendSafely(viewers: Iterable<Viewer>): void {
    try {
      this.#send(viewers);
    } catch (error) {
      this.#options.internalError(error);
    }
  }

  /** Sends the parts that have changed. Each is serialized at most once, and only if a viewer needs it. */
  #send(viewers: Iterable<Viewer>): void {
    this.#options.beforeSend();
    const ready = [...viewers].filter((viewer) => this.#isReady(viewer));
    for (const part of this.#options.parts) {
      const version = part.version();
      const outdated = ready.filter(({ sent }) => sent.get(part) !== version);
      if (outdated.length === 0) continue;
      const message = { event: part.event, data: JSON.stringify(part.content()) };
      for (const { controller, sent } of outdated) {
        controller.enqueue(message);
        sent.set(part, version);
      }
    }
  }

  /** Returns whether a viewer has read everything it was sent. One that has not for too long is disconnected. */
  #isReady(viewer: Viewer): boolean {
    if (viewer.controller.desiredSize === this.#options.parts.length) {
      viewer.stalledAt = undefined;
      return true;
    }
    viewer.stalledAt ??= performance.now();
    const timeoutMs = this.#options.stallTimeoutMs ?? DEFAULT_STALLED_MS;
    if (performance.now() - viewer.stalledAt > timeoutMs) {
      viewer.controller.error(new Error(`Viewer stalled: nothing read for ${timeoutMs} ms`));
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
