/** Detection of servers that no longer accept connections; exhaustion_test.ts tests the recovery. */

import { assertEquals } from "@std/assert";
import { AcceptWatch, MIN_OPEN } from "../../../lib/listen/accept_watch.ts";
import { delay, until } from "../../support/helpers.ts";

const INTERVAL_MS = 5;
/** Enough for several checks. */
const SOME_INTERVALS_MS = 100;

/** A connection that the server does not accept. */
const notAccepted = (): Promise<void> => Promise.resolve();

/** A watch over a simulated server, and what it did. */
class Stage implements Disposable {
  readonly watch: AcceptWatch;
  readonly reports: string[] = [];
  connections = 0;
  relistened = 0;

  /** @param connect Result of probe connections. */
  constructor(connect: () => Promise<void>, { open = MIN_OPEN, isPassed = false } = {}) {
    this.watch = new AcceptWatch({
      countOpen: () => open,
      connect: () => {
        this.connections++;
        return connect();
      },
      ...!isPassed && { relisten: () => void this.relistened++ },
      report: (message) => this.reports.push(message),
      intervalMs: INTERVAL_MS,
    });
    this.watch.onRequest();
  }

  [Symbol.dispose](): void {
    this.watch.stop();
  }
}

Deno.test("AcceptWatch listens again if the probe connection is not accepted, and reports it once", async () => {
  using stage = new Stage(notAccepted);
  await until(() => stage.relistened >= 2, "it retries");
  assertEquals(stage.reports, [
    "No longer accepting connections, probably out of file descriptors: listening again",
  ]);
  stage.watch.onConnection();
  await until(() => stage.reports.length === 2, "it reports the next failure");
});

Deno.test("AcceptWatch does nothing if the probe connection is accepted", async () => {
  using stage: Stage = new Stage(() => Promise.resolve(stage.watch.onConnection()));
  await until(() => stage.connections >= 3, "it checks");
  assertEquals([stage.relistened, stage.reports], [0, []]);
});

Deno.test("AcceptWatch does not probe if few connections are open or it was stopped", async () => {
  using few = new Stage(notAccepted, { open: MIN_OPEN - 1 });
  using stopped = new Stage(notAccepted);
  stopped.watch.stop();
  await delay(SOME_INTERVALS_MS);
  assertEquals([few.connections, stopped.connections], [0, 0]);
});

Deno.test("AcceptWatch reports a failed probe connection and probes again", async () => {
  using stage = new Stage(() => Promise.reject(new Error("Too many open files")));
  await until(() => stage.connections >= 3, "it probes again");
  assertEquals([stage.relistened, stage.reports], [0, ["Cannot accept connections: Error: Too many open files"]]);
});

Deno.test("AcceptWatch listens again if nothing listens", async () => {
  using stage = new Stage(() => Promise.reject(new Deno.errors.ConnectionRefused("refused")));
  await until(() => stage.relistened >= 1, "it listens again");
  assertEquals(stage.reports, ["No longer accepting connections, refused: listening again"]);
});

Deno.test("AcceptWatch reports that a restart is required if it cannot listen again", async () => {
  using stage = new Stage(notAccepted, { isPassed: true });
  await until(() => stage.reports.length === 1, "it reports it");
  assertEquals(stage.reports, [
    "No longer accepting connections, probably out of file descriptors: restart required",
  ]);
});
