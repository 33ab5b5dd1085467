import { assertEquals } from "@std/assert";
import { ModelDiscovery } from "../../../lib/ollama/model_discovery.ts";
import type { ServerState } from "../../../lib/ollama/state.ts";
import { AskedOllama, listing, refusing } from "../../support/asked_ollama.ts";
import { turns } from "../../support/fixtures.ts";
import { TestClock } from "../../support/test_clock.ts";

const MINUTE_MS = 60_000;

/** Holds all timers, and fires them one by one. */
class HeldTimers implements Disposable {
  /** Delays of the held timers. */
  readonly delays: number[] = [];
  readonly #callbacks = new Map<number, () => void>();
  readonly #replaced = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };

  constructor() {
    let id = 0;
    // The probes' own timeout is not of interest.
    const hold = (callback: () => void, delay: number): number => {
      id++;
      if (delay === PROBE_TIMEOUT_MS) return id;
      this.delays.push(delay);
      this.#callbacks.set(id, callback);
      return id;
    };
    Object.assign(globalThis, { setTimeout: hold, clearTimeout: (id: number) => this.#callbacks.delete(id) });
  }

  /** Fires the held timers, and returns how many there were. */
  async fire(): Promise<number> {
    const callbacks = [...this.#callbacks.values()];
    this.#callbacks.clear();
    for (const callback of callbacks) callback();
    await turns(10);
    return callbacks.length;
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, this.#replaced);
  }
}

const PROBE_TIMEOUT_MS = 20_000;

/** The names of installed models of each fetched state. */
function namesOf(states: readonly ServerState[]): (string[] | undefined)[] {
  return states.map(({ installed }) => installed?.map(({ name }) => name));
}

Deno.test("ModelDiscovery.start() asks again until the server has answered, at most a minute apart", async () => {
  using asked = new AskedOllama({ version: refusing, ps: refusing, tags: refusing }, { timeoutMs: PROBE_TIMEOUT_MS });
  const states: ServerState[] = [];
  using timers = new HeldTimers();
  using discovery = new ModelDiscovery({ ollama: asked.ollama, onState: (state) => states.push(state) });
  assertEquals(asked.asked, []);
  discovery.start();
  await turns(10);
  for (let attempt = 0; attempt < 8; attempt++) assertEquals(await timers.fire(), 1);
  assertEquals(timers.delays, [1000, 2000, 4000, 8000, 16_000, 32_000, MINUTE_MS, MINUTE_MS, MINUTE_MS]);
  asked.answers.tags = listing({ name: "llama3.2:latest" });
  assertEquals(await timers.fire(), 1);
  assertEquals(namesOf(states).at(-1), ["llama3.2:latest"]);
  assertEquals([await timers.fire(), states.length], [0, 10]);
});

Deno.test("ModelDiscovery asks for a model that is not known at most once a minute", async () => {
  using clock = new TestClock();
  using asked = new AskedOllama();
  const states: ServerState[] = [];
  using discovery = new ModelDiscovery({ ollama: asked.ollama, onState: (state) => states.push(state) });
  const meet = async (now: number): Promise<number> => {
    clock.now = now;
    for (let index = 0; index < 3; index++) discovery.onUnknownModel();
    await turns(10);
    return states.length;
  };
  assertEquals(await meet(0), 0, "not before the start");
  discovery.start();
  await turns(10);
  assertEquals([await meet(1), await meet(MINUTE_MS - 1)], [1, 1]);
  assertEquals([await meet(MINUTE_MS), await meet(MINUTE_MS + 1), await meet(2 * MINUTE_MS)], [2, 2, 3]);
  assertEquals(asked.asked.filter((url) => url.endsWith("/api/tags")).length, 3);
});

Deno.test("ModelDiscovery asks no more once it is disposed of", async () => {
  using asked = new AskedOllama({ tags: refusing }, { timeoutMs: PROBE_TIMEOUT_MS });
  const states: ServerState[] = [];
  using timers = new HeldTimers();
  const discovery = new ModelDiscovery({ ollama: asked.ollama, onState: (state) => states.push(state) });
  discovery.start();
  await turns(10);
  discovery[Symbol.dispose]();
  assertEquals([await timers.fire(), states.length], [0, 1]);
  // In the middle of an attempt.
  discovery.start();
  discovery[Symbol.dispose]();
  await turns(10);
  assertEquals(await timers.fire(), 0);
});

Deno.test("ModelDiscovery asks for the models in memory at most once in ten seconds, and not while it waits for them", async () => {
  using clock = new TestClock();
  using asked = new AskedOllama();
  using discovery = new ModelDiscovery({ ollama: asked.ollama, onState: () => {} });
  const requests = async (now: number): Promise<number> => {
    clock.now = now;
    discovery.onUnknownContext();
    await turns(10);
    return asked.asked.filter((url) => url.endsWith("/ps")).length;
  };
  assertEquals(await requests(0), 0, "not before the start");
  discovery.start();
  await turns(10);
  const counts = [];
  for (const now of [1, 1, 10_000, 10_001, 20_000, 20_001]) counts.push(await requests(now));
  assertEquals(counts, [2, 2, 2, 3, 3, 4]);
  const gate = Promise.withResolvers<Response>();
  asked.answers.ps = () => gate.promise;
  assertEquals([await requests(40_000), await requests(60_000)], [5, 5]);
  gate.resolve(new Response('{"models":[]}'));
  assertEquals([await requests(60_001), await requests(70_001)], [5, 6]);
});
