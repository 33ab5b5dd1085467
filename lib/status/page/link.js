/**
 * Connection to the event stream: open while the page is visible, and reopened when lost.
 *
 * @module
 */

/** Time without events after which the stream is considered lost, in milliseconds; there is one every second. */
const LOST_MS = 5000;
/** Time without events after which the stream is reopened, in milliseconds. */
const REOPEN_MS = 15_000;
/** Delay before reopening a rejected stream, in milliseconds. */
const RETRY_MS = 5000;
const CHECK_INTERVAL_MS = 1000;
/** Maximum length of an error response to show. */
const REASON_LIMIT_CHARACTERS = 300;

/** A connection to an event stream. */
export class Link {
  #url;
  #handlers;
  #onState;
  #source;
  #watch;
  #retry;
  #lastEventAt = 0;
  /** Whether the user has not paused the page. */
  #isWanted = true;

  /**
   * @param url URL of the event stream.
   * @param handlers Functions by event name, called with the event's data.
   * @param onState Called with `open`, `paused`, or `lost` and a reason.
   */
  constructor(url, handlers, onState) {
    this.#url = url;
    this.#handlers = handlers;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.#update());
    // Pages in the back/forward cache must not keep the stream open.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", () => this.#update());
  }

  /** Resumes or pauses. */
  set isWanted(isWanted) {
    this.#isWanted = isWanted;
    this.#update();
    if (!isWanted) this.#onState("paused");
  }

  /** Opens the stream if the page is visible and not paused, else closes it. */
  #update() {
    const isViewed = this.#isWanted && document.visibilityState === "visible";
    if (!isViewed) this.#close();
    else if (this.#source === undefined) this.#open();
  }

  #open() {
    this.#close();
    this.#lastEventAt = performance.now();
    this.#source = new EventSource(this.#url);
    for (const [name, handle] of Object.entries(this.#handlers)) {
      this.#source.addEventListener(name, ({ data }) => {
        this.#lastEventAt = performance.now();
        this.#onState("open");
        handle(JSON.parse(data));
      });
    }
    this.#source.addEventListener("error", ({ target }) => {
      if (target.readyState === EventSource.CLOSED) this.#reject();
      else this.#onState("lost", "Connection to the exporter lost.");
    });
    this.#watch = setInterval(() => this.#check(), CHECK_INTERVAL_MS);
  }

  #close() {
    this.#source?.close();
    this.#source = undefined;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
  }

  /** Detects a connection that was lost without an error. */
  #check() {
    const idleMs = performance.now() - this.#lastEventAt;
    if (idleMs > LOST_MS) this.#onState("lost", "No updates from the exporter.");
    if (idleMs > REOPEN_MS) this.#open();
  }

  /** Handles an error response. `EventSource` does not expose it, so the request is repeated with `fetch()`. */
  async #reject() {
    this.#close();
    this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    const controller = new AbortController();
    try {
      const response = await fetch(this.#url, { signal: controller.signal });
      if (response.ok) return;
      const isText = response.headers.get("content-type")?.startsWith("text/plain");
      const reason = isText ? await response.text() : `The exporter responded with status ${response.status}.`;
      this.#onState("lost", reason.slice(0, REASON_LIMIT_CHARACTERS).trim());
    } catch {
      this.#onState("lost", "The exporter is unreachable.");
    } finally {
      controller.abort();
    }
  }
}
