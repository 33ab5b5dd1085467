/**
 * The stream of events: followed while the page is seen, and taken up again when it was lost.
 *
 * @module
 */

/** A stream that says nothing for as long as this is lost, in milliseconds; it speaks every second. */
const SILENT_MS = 5000;
/** After this long a silent one is given up for a new one. */
const GIVEN_UP_MS = 15_000;
/** Before the exporter is asked again after it refused, in milliseconds. */
const RETRY_MS = 5000;
const WATCH_MS = 1000;
const REASON_LIMIT_CHARACTERS = 300;

/** Follows a stream of events. */
export class Link {
  #url;
  #parts;
  #onState;
  #source;
  #watch;
  #retry;
  #heardAt = 0;
  /** Whether the reader of the page wants to follow. */
  #isWanted = true;

  /**
   * @param url Where the events are.
   * @param parts What to do with the data of each event, by its name.
   * @param onState Called with `open`, or with `lost` and a sentence that says why, or with `paused`.
   */
  constructor(url, parts, onState) {
    this.#url = url;
    this.#parts = parts;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => this.#follow());
    // A page that is kept for going back to must not go on listening.
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", () => this.#follow());
  }

  /** Follows from now on, or no longer. */
  set isWanted(isWanted) {
    this.#isWanted = isWanted;
    this.#follow();
    if (!isWanted) this.#onState("paused");
  }

  /** Opens the stream if somebody looks, and closes it if nobody does. */
  #follow() {
    const looks = this.#isWanted && document.visibilityState === "visible";
    if (!looks) this.#close();
    else if (this.#source === undefined) this.#open();
  }

  #open() {
    this.#close();
    this.#heardAt = performance.now();
    this.#source = new EventSource(this.#url);
    for (const [name, take] of Object.entries(this.#parts)) {
      this.#source.addEventListener(name, ({ data }) => {
        this.#heardAt = performance.now();
        this.#onState("open");
        take(JSON.parse(data));
      });
    }
    this.#source.addEventListener("error", ({ target }) => {
      if (target.readyState === EventSource.CLOSED) this.#refused();
      else this.#onState("lost", "The connection to the exporter is lost.");
    });
    this.#watch = setInterval(() => this.#lookAfter(), WATCH_MS);
  }

  #close() {
    this.#source?.close();
    this.#source = undefined;
    clearInterval(this.#watch);
    clearTimeout(this.#retry);
  }

  /** A connection can die without a word. */
  #lookAfter() {
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs > SILENT_MS) this.#onState("lost", "The exporter says nothing.");
    if (silentMs > GIVEN_UP_MS) this.#open();
  }

  /** The exporter answered with something else than a stream. A stream does not tell why, so it is asked without one. */
  async #refused() {
    this.#close();
    this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    const controller = new AbortController();
    try {
      const response = await fetch(this.#url, { signal: controller.signal });
      if (response.ok) return;
      const isText = response.headers.get("content-type")?.startsWith("text/plain");
      const reason = isText ? await response.text() : `It answers with status ${response.status}.`;
      this.#onState("lost", reason.slice(0, REASON_LIMIT_CHARACTERS).trim());
    } catch {
      this.#onState("lost", "The exporter does not answer.");
    } finally {
      controller.abort();
    }
  }
}
