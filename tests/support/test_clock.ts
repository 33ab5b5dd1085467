/**
 * A clock and timers that a test controls.
 *
 * @module
 */

/** Replaces `performance.now()` until the end of its block. Timers are not affected. */
export class TestClock implements Disposable {
  /** The time, in milliseconds. */
  now = 0;
  readonly #replaced = performance.now;

  /** @param options.stepMs How far each reading advances the clock. Default: 0. */
  constructor({ stepMs = 0 } = {}) {
    performance.now = () => this.now += stepMs;
  }

  [Symbol.dispose](): void {
    performance.now = this.#replaced;
  }
}

/** Holds all timers of one duration until the test fires them. Others run as usual. */
export class TestTimers implements Disposable {
  readonly #held = new Set<() => void>();
  readonly #replaced = globalThis.setTimeout;

  /** @param ms The duration, which nothing else uses. */
  constructor(ms: number) {
    globalThis.setTimeout = new Proxy(this.#replaced, {
      apply: (setTimeout, self, args: Parameters<typeof globalThis.setTimeout>) => {
        if (args[1] !== ms) return Reflect.apply(setTimeout, self, args);
        this.#held.add(args[0]);
        return 0;
      },
    });
  }

  /** Lets the held timers expire, those that were cleared included, but not those that are set meanwhile. */
  fire(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const callback of held) callback();
  }

  [Symbol.dispose](): void {
    globalThis.setTimeout = this.#replaced;
  }
}
