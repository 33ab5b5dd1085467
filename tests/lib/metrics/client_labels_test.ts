import { assertEquals } from "@std/assert";
import { ClientLabels } from "../../../lib/metrics/client_labels.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Labels, with the clock and the requests in flight of a test. */
class Clients {
  readonly labels: ClientLabels;
  now = 0;
  /** The clients of the requests in flight. */
  open: string[] = [];

  constructor(limit: number) {
    this.labels = new ClientLabels(limit);
  }

  /** A request of the client ends. Returns its label, and the removed one if there is any. */
  end(client: string, hasSucceeded = true): string[] {
    const openRequests = this.open.map((client) => ({ client }));
    const { label, removed } = this.labels.use(client, hasSucceeded, { now: this.now, openRequests });
    return removed === undefined ? [label] : [label, removed];
  }
}

Deno.test("ClientLabels.use() adds a label for a client that succeeds, and none for one that fails", () => {
  const clients = new Clients(2);
  for (let count = 0; count < 60; count++) assertEquals(clients.end(`c${count}`, false), ["unknown"]);
  assertEquals([clients.labels.free, clients.labels.has("c1")], [2, false]);
  assertEquals(clients.end("c1"), ["c1"]);
  assertEquals(clients.end("c1", false), ["c1"]);
  assertEquals([clients.labels.free, clients.labels.has("c1")], [1, true]);
});

Deno.test("ClientLabels.use() returns `other` over the limit, and `unknown` for failures there", () => {
  const clients = new Clients(2);
  assertEquals(["a", "b", "c", "a"].flatMap((name) => clients.end(name)), ["a", "b", "other", "a"]);
  assertEquals(clients.end("c", false), ["unknown"]);
});

Deno.test("ClientLabels.use() gives no label of its own to clients that are named as the common labels", () => {
  const clients = new Clients(1);
  assertEquals([...clients.end("unknown"), ...clients.end("other"), clients.labels.free], ["unknown", "other", 1]);
});

Deno.test("ClientLabels.use() gives a label that was unused for a day to another client, the oldest first", () => {
  const clients = new Clients(3);
  for (const name of ["c", "a", "b", "c"]) {
    clients.now += 1;
    clients.end(name);
  }
  clients.now = DAY_MS + 1;
  assertEquals(clients.end("d"), ["other"], "a was used a day ago less a millisecond");
  clients.now = DAY_MS + 4;
  clients.open = ["a"];
  assertEquals(clients.end("a", false), ["a"], "a failure is a use");
  assertEquals(clients.end("d"), ["d", "b"]);
  clients.open = ["c"];
  assertEquals(clients.end("e"), ["other"], "c has an open request, a and d were used");
  clients.open = [];
  assertEquals(clients.end("e", false), ["unknown"], "a failure takes no label");
  assertEquals(clients.end("e"), ["e", "c"]);
});
