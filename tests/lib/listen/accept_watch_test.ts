/** When a server is taken to accept nothing any more; that it then accepts again shows exhaustion_test.ts. */

import { assertEquals } from "@std/assert";
import { AcceptWatch, LEAST_OPEN } from "../../../lib/listen/accept_watch.ts";
import { delay, until } from "../../support/helpers.ts";

const LOOK_MS = 5;
/** Enough for several looks. */
const SOME_LOOKS_MS = 100;

/** Connects to a server that does not accept. */
const unanswered = (): Promise<void> => Promise.resolve();

/** A watch over a server that is made up, and what it did. */
class Stage implements Disposable {
  readonly watch: AcceptWatch;
  readonly complaints: string[] = [];
  connections = 0;
  relistened = 0;

  /** @param connect What becomes of connections of its own. */
  constructor(connect: () => Promise<void>, { open = LEAST_OPEN, isPassed = false } = {}) {
    this.watch = new AcceptWatch({
      countOpen: () => open,
      connect: () => {
        this.connections++;
        return connect();
      },
      ...!isPassed && { relisten: () => void this.relistened++ },
      complain: (message) => this.complaints.push(message),
      lookMs: LOOK_MS,
    });
    this.watch.opened();
  }

  [Symbol.dispose](): void {
    this.watch.end();
  }
}

Deno.test("AcceptWatch listens anew where a connection of its own is not accepted, and says so once", async () => {
  using stage = new Stage(unanswered);
  await until(() => stage.relistened >= 2, "it listens anew until that helps");
  assertEquals(stage.complaints, [
    "No connection is accepted any more, as after a lack of file descriptors: listening anew",
  ]);
  stage.watch.accepted();
  await until(() => stage.complaints.length === 2, "it says so again when it happens again");
});

Deno.test("AcceptWatch is content where its own connection is accepted", async () => {
  using stage: Stage = new Stage(() => Promise.resolve(stage.watch.accepted()));
  await until(() => stage.connections >= 3, "it looks");
  assertEquals([stage.relistened, stage.complaints], [0, []]);
});

Deno.test("AcceptWatch asks nothing where little is open, and nothing when it has ended", async () => {
  using little = new Stage(unanswered, { open: LEAST_OPEN - 1 });
  using ended = new Stage(unanswered);
  ended.watch.end();
  await delay(SOME_LOOKS_MS);
  assertEquals([little.connections, ended.connections], [0, 0]);
});

Deno.test("AcceptWatch says why no connection can be made, and waits", async () => {
  using stage = new Stage(() => Promise.reject(new Error("Too many open files")));
  await until(() => stage.connections >= 3, "it tries again");
  assertEquals([stage.relistened, stage.complaints], [0, ["No connection can be accepted: Too many open files"]]);
});

Deno.test("AcceptWatch listens anew where nothing listens", async () => {
  using stage = new Stage(() => Promise.reject(new Deno.errors.ConnectionRefused("refused")));
  await until(() => stage.relistened >= 1, "it listens anew");
  assertEquals(stage.complaints, ["No connection is accepted any more, refused: listening anew"]);
});

Deno.test("AcceptWatch says that it takes a restart where it cannot listen anew", async () => {
  using stage = new Stage(unanswered, { isPassed: true });
  await until(() => stage.complaints.length === 1, "it says so");
  assertEquals(stage.complaints, [
    "No connection is accepted any more, as after a lack of file descriptors: a restart is needed",
  ]);
});
