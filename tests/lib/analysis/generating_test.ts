/** The most streams at once in the last minute, in steps of 10 s. Times are in seconds. */

import { assertEquals } from "@std/assert";
import { Generating, GENERATING_MODELS_LIMIT } from "../../../lib/analysis/generating.ts";
import type { OpenRequest } from "../../../lib/observation.ts";

function stream(model: string | undefined = "m"): OpenRequest {
  return { api: "chat", model, client: undefined, waiting: false };
}

/** Streams on a clock of its own. */
class Course {
  seconds = 0;
  readonly generating = new Generating(() => this.seconds * 1000);

  begin(model?: string): OpenRequest {
    const open = stream(model);
    this.generating.add(open);
    return open;
  }

  end(...streams: OpenRequest[]): void {
    for (const open of streams) this.generating.delete(open);
  }

  max(seconds: number, key = "m:latest"): number | undefined {
    this.seconds = seconds;
    return this.generating.maxima.get(key);
  }
}

Deno.test("Generating keeps the most streams at once for a minute, in steps of 10 s", () => {
  const course = new Course();
  course.seconds = 1;
  const [first, second, third] = [course.begin(), course.begin(), course.begin()];
  course.end(third);
  course.seconds = 15;
  course.end(second);
  assertEquals(course.max(15), 3);
  assertEquals([59.9, 60, 69.9, 70, 1000].map((at) => course.max(at)), [3, 2, 2, 1, 1], "one is still open");
  course.end(first);
  assertEquals([1000, 1059.9, 1060].map((at) => course.max(at)), [1, 1, undefined]);
});

Deno.test("Generating counts a stream in each step that it lasts", () => {
  const course = new Course();
  const open = course.begin();
  course.seconds = 35;
  course.end(course.begin());
  course.seconds = 95;
  assertEquals(course.max(95), 1);
  const other = course.begin();
  assertEquals(course.max(95), 2);
  course.end(open, other);
  assertEquals([149.9, 150].map((at) => course.max(at)), [2, undefined]);
});

Deno.test("Generating gives every reader the same: reading changes nothing", () => {
  const [read, unread] = [new Course(), new Course()];
  for (const course of [read, unread]) {
    for (let at = 0; at < 300; at += 7) {
      course.seconds = at;
      const streams = Array.from({ length: at % 5 }, () => course.begin());
      if (course === read) assertEquals(course.max(at), course.max(at));
      course.end(...streams.slice(1));
    }
  }
  assertEquals(read.max(300), unread.max(300));
  assertEquals(read.max(300), 37, "33 were left open when 4 began at 294 s");
});

Deno.test("Generating tells models apart by their canonical names", () => {
  const course = new Course();
  const streams = [course.begin("m"), course.begin("M:latest"), course.begin("library/m"), course.begin("n")];
  assertEquals([...course.generating.maxima], [["m:latest", 3], ["n:latest", 1]]);
  course.end(...streams, ...streams);
  assertEquals([...course.generating.maxima], [["m:latest", 3], ["n:latest", 1]]);
  course.seconds = 100;
  course.begin("m");
  assertEquals([...course.generating.maxima], [["m:latest", 1]], "each ended once");
});

Deno.test("Generating ignores streams of models that are not known, and ends of streams that did not begin", () => {
  const { generating } = new Course();
  for (const open of [stream("no name"), { ...stream(), model: undefined }]) {
    generating.add(open);
    generating.delete(open);
  }
  generating.delete(stream());
  assertEquals([...generating.maxima], []);
  const open = stream();
  generating.add(open);
  generating.add(open);
  assertEquals([...generating.maxima], [["m:latest", 1]]);
});

Deno.test("Generating counts a bounded number of models: those without streams for a minute make room", () => {
  const course = new Course();
  const names = Array.from({ length: GENERATING_MODELS_LIMIT }, (_, index) => `m${index}`);
  const [first, ...others] = names.map((name) => course.begin(name));
  course.end(course.begin("late"));
  assertEquals(course.generating.maxima.size, GENERATING_MODELS_LIMIT);
  assertEquals(course.max(0, "late:latest"), undefined);
  if (first !== undefined) course.end(first);
  course.seconds = 59;
  course.begin("late");
  assertEquals(course.max(59, "late:latest"), undefined, "m0 had a stream in the last minute");
  course.seconds = 60;
  course.begin("late");
  assertEquals(course.max(60, "late:latest"), 1);
  assertEquals(course.generating.maxima.size, others.length + 1);
});
