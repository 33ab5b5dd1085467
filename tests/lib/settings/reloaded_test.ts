import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Reloaded } from "../../../lib/settings/reloaded.ts";
import { TestClock } from "../../support/test_clock.ts";

const SECOND_MS = 1000;

/** A number that is loaded from `source`, where an error stands for one that cannot be loaded. */
class ReloadedNumber extends Reloaded<number> {
  source: number | Error = 1;
  loads = 0;
  readonly reports: (string | undefined)[] = [];
  /** Called while a load is in progress, after the source was read. */
  onLoad = (): void => {};

  constructor(intervalMs?: number) {
    super(1, intervalMs);
  }

  async number(): Promise<number> {
    await this.refresh();
    return this.value;
  }

  protected override async load(): Promise<number> {
    this.loads++;
    const { source } = this;
    await Promise.resolve();
    this.onLoad();
    if (source instanceof Error) throw source;
    return source;
  }

  protected override reloaded(error: string | undefined): void {
    this.reports.push(error);
  }
}

Deno.test("Reloaded.refresh() loads the value again, at most once per interval, and reports changes", async () => {
  using clock = new TestClock();
  const file = new ReloadedNumber();
  file.source = 2;
  clock.now += SECOND_MS - 1;
  assertEquals([await file.number(), file.loads, file.reports], [1, 0, []]);
  clock.now += 1;
  assertEquals(await Promise.all([file.number(), file.number(), file.number()]), [2, 2, 2]);
  assertEquals([file.loads, file.reports], [1, [undefined]], "those at once share a load");
  file.source = 3;
  assertEquals(await file.number(), 2);
  clock.now += SECOND_MS;
  assertEquals([await file.number(), file.reports.length], [3, 2]);
  clock.now += SECOND_MS;
  assertEquals([await file.number(), file.loads, file.reports.length], [3, 3, 2], "an unchanged value is no reload");
});

Deno.test("Reloaded.refresh() keeps the previous value after an error, and reports each error once", async () => {
  using clock = new TestClock();
  const file = new ReloadedNumber();
  for (const message of ["a", "a", "b", "b"]) {
    file.source = new Error(message);
    clock.now += SECOND_MS;
    assertEquals([await file.number(), file.isCurrent], [1, false]);
  }
  assertEquals(file.reports, ["a", "b"]);
  file.source = 1;
  clock.now += SECOND_MS;
  assertEquals([await file.number(), file.isCurrent], [1, true]);
  assertEquals(file.reports, ["a", "b", undefined], "it is valid again, unchanged");
});

Deno.test("Reloaded.reload() loads the value at once, and reports each result", async () => {
  const file = new ReloadedNumber(3_600_000);
  const { loadedAtSeconds } = file;
  await file.reload();
  assertEquals([file.reports, file.isCurrent], [[undefined], true]);
  assert(file.loadedAtSeconds >= loadedAtSeconds);
  file.source = new Error("a");
  for (let count = 0; count < 2; count++) await file.reload();
  assertEquals([file.reports, file.isCurrent, await file.number()], [[undefined, "a", "a"], false, 1]);
});

Deno.test("Reloaded.reload() loads the value again after a load in progress, once for all requests", async () => {
  const file = new ReloadedNumber(0);
  let reload: Promise<void> | undefined;
  file.onLoad = (): void => {
    if (file.loads > 1) return;
    file.source = 2;
    reload = file.reload();
    assertStrictEquals(file.reload(), reload);
  };
  await file.number();
  await reload;
  assertEquals([file.loads, file.reports], [2, [undefined]]);
  file.onLoad = (): void => {};
  assertEquals(await file.number(), 2);
});

Deno.test("Reloaded.reload() loads the value again after a report that has thrown", async () => {
  class Unreported extends ReloadedNumber {
    protected override reloaded(error: string | undefined): void {
      super.reloaded(error);
      if (this.reports.length === 1) throw new Error("not logged");
    }
  }
  const file = new Unreported(0);
  await assertRejects(() => file.reload(), Error, "not logged");
  file.source = 2;
  assertEquals(await file.number(), 2);
  assertEquals(file.reports, [undefined, undefined]);
});
