/**
 * A reader of the status page's events, as the page itself reads them.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import type { Present } from "../../lib/status/status.ts";
import type { EndedRequest, Plots } from "../../lib/status/history.ts";
import { PATIENCE_MS } from "./helpers.ts";

/** What the events of each name carry. */
interface Events {
  present: Present;
  plots: Plots;
  requests: EndedRequest[];
}

/** One who looks. It leaves at the end of its block. */
export class StatusViewer implements AsyncDisposable {
  readonly response: Response;
  readonly #controller: AbortController;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(response: Response, controller: AbortController) {
    this.response = response;
    this.#controller = controller;
    const body = response.body ?? fail("There is a stream");
    this.#reader = body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Begins to look at the exporter at this URL. */
  static async open(url: string): Promise<StatusViewer> {
    const controller = new AbortController();
    const response = await fetch(`${url}/-/events`, { signal: controller.signal });
    assertEquals(response.status, 200);
    return new StatusViewer(response, controller);
  }

  /** The content of the next event of this name that the predicate accepts; others are passed over. */
  async next<Name extends keyof Events>(
    name: Name,
    accepts: (content: Events[Name]) => boolean = () => true,
  ): Promise<Events[Name]> {
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline) {
      const [event, data] = await this.#event() ?? fail("The stream goes on");
      const content = event === name ? JSON.parse(data) : undefined;
      if (content !== undefined && accepts(content)) return content;
    }
    fail(`There was no such event: ${name}`);
  }

  /** Reads to the end of the stream. */
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
