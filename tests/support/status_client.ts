/**
 * A client of the status page's events.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import type { EndedRequest } from "../../lib/status/last_requests.ts";
import type { Plots, Totals } from "../../lib/status/history.ts";
import type { About, Present } from "../../lib/status/status.ts";
import { PATIENCE_MS } from "./helpers.ts";

/** The data of events, by name. */
interface Events {
  exporter: About;
  present: Present;
  plots: Plots;
  totals: Totals;
  requests: EndedRequest[];
  failures: EndedRequest[];
}

/** A client of the feed. It disconnects at the end of its block. */
export class StatusViewer implements AsyncDisposable {
  readonly response: Response;
  readonly #controller: AbortController;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(response: Response, controller: AbortController) {
    this.response = response;
    this.#controller = controller;
    const body = response.body ?? fail("the response has no body");
    this.#reader = body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Connects to the exporter at this URL. */
  static async open(url: string): Promise<StatusViewer> {
    const controller = new AbortController();
    const response = await fetch(`${url}/-/events`, { signal: controller.signal });
    assertEquals(response.status, 200);
    return new StatusViewer(response, controller);
  }

  /** Returns the data of the next event of this name that the predicate accepts, skipping others. */
  async next<Name extends keyof Events>(
    name: Name,
    accepts: (content: Events[Name]) => boolean = () => true,
  ): Promise<Events[Name]> {
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline) {
      const [event, data] = await this.#event() ?? fail("the stream has ended");
      const content = event === name ? JSON.parse(data) : undefined;
      if (content !== undefined && accepts(content)) return content;
    }
    fail(`no such event: ${name}`);
  }

  /** Reads the stream to its end. */
  async end(): Promise<void> {
    while (await this.#event() !== undefined);
  }

  async #event(): Promise<[name: string, data: string] | undefined> {
    for (;;) {
      const [all = "", name = "", data = ""] = /^event:(\w+)\ndata:(.*)\n\n/.exec(this.#text) ?? [];
      this.#text = this.#text.slice(all.length);
      if (all !== "") return [name, data];
      const { value } = await this.#reader.read();
      if (value === undefined) return undefined;
      this.#text += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort();
    await this.#reader.cancel().catch(() => {});
  }
}
