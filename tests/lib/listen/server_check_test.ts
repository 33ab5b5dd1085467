/** The choice of the HTTP server. */

import { assertEquals } from "@std/assert";
import { listenNode } from "../../../lib/listen/node_listener.ts";
import { type ChoiceOptions, chooseServer, MIN_DENO } from "../../../lib/listen/server_check.ts";
import { REPOSITORY } from "../../support/fixtures.ts";
import { ANY_PORT, PATIENCE_MS, until } from "../../support/helpers.ts";

type Start = NonNullable<ChoiceOptions["start"]>;

const THIS_DENO = { isPassed: false, version: MIN_DENO };

/** A listener without defects. */
const sound: Start = (handler) => listenNode(handler, ANY_PORT);

/** Like a server that does not abort the signal of a request. */
const unnoticing: Start = (handler) =>
  sound((request, info) => handler({ ...request, signal: new AbortController().signal }, info));

/** Like a server that never calls its handler. */
const silent: Start = () => sound(() => new Promise<Response>(() => {}));

const REJECTS_OFFER = "Deno.serve rejects requests with a body that offer an HTTP upgrade";
const UNNOTICED = "Deno.serve does not notice clients that disconnect before the response";

/** Fails a test that leaves a connection, a listener or a timer open. */
const NOTHING_OPEN = { sanitizeOps: true, sanitizeResources: true };

/** The outcomes of a check that ends by itself. */
const OUTCOMES: [what: string, start: Start | undefined, defect: string | undefined][] = [
  ["a server without defects", sound, undefined],
  ["Deno.serve of this Deno; a Deno that serves the request fails this test", undefined, REJECTS_OFFER],
  ["a server that cannot listen", () => Promise.reject(new Error("no")), "The check of Deno.serve failed: no"],
];

for (const [what, start, defect] of OUTCOMES) {
  Deno.test({
    name: `chooseServer() checks ${what}`,
    ...NOTHING_OPEN,
    fn: async () => {
      const options = { ...THIS_DENO, timeoutMs: PATIENCE_MS, ...start && { start } };
      const server = defect === undefined ? "deno" : "node";
      assertEquals(await chooseServer("auto", options), { server, defect });
      assertEquals(await chooseServer("deno", options), { server: "deno", defect });
      assertEquals(await chooseServer("node", options), { server: "node", defect: undefined });
    },
  });
}

/** The outcomes of a check that its timeout ends. */
const LATE_OUTCOMES: [what: string, start: Start, defect: RegExp][] = [
  ["does not notice a disconnect", unnoticing, new RegExp(`^${UNNOTICED}$`)],
  ["does not respond", silent, /^The check of Deno.serve took over \d+ ms$/],
];

for (const [what, start, defect] of LATE_OUTCOMES) {
  Deno.test({
    name: `chooseServer() chooses node:http where a server ${what}`,
    ...NOTHING_OPEN,
    fn: async () => {
      // On a busy machine an earlier check may already take that long.
      await until(async () => {
        const choice = await chooseServer("auto", { ...THIS_DENO, start });
        assertEquals(choice.server, "node");
        return defect.test(choice.defect ?? "");
      }, `${defect}`);
    },
  });
}

Deno.test("chooseServer() checks nothing where Deno is too old, or the socket was passed", async () => {
  const unused: Start = () => Promise.reject(new Error("started"));
  for (const version of ["2.9.5", "2.8.10", "2.7.14", "2.9.5-rc.1"]) {
    const defect = `Deno ${version} is older than ${MIN_DENO}`;
    assertEquals(await chooseServer("auto", { isPassed: false, version, start: unused }), { server: "node", defect });
  }
  for (const version of ["2.7.13", "2.6.10", "1.46.3"]) {
    const defect = `node:http of Deno ${version} cannot be used`;
    const options = { isPassed: false, version, start: unused };
    for (const setting of ["auto", "node"] as const) {
      assertEquals(await chooseServer(setting, options), { server: "deno", defect }, setting);
    }
    assertEquals(await chooseServer("deno", options), { server: "deno", defect: undefined });
  }
  const passed = await chooseServer("auto", { ...THIS_DENO, isPassed: true, start: unused });
  assertEquals(passed, { server: "node", defect: "Deno.serve cannot use the socket that systemd passed" });
  for (const version of ["2.9.6", "2.10.0", "3.0.0", "2.9.7+1a2b3c4"]) {
    const { server } = await chooseServer("auto", { isPassed: false, version, start: sound, timeoutMs: PATIENCE_MS });
    assertEquals(server, "deno", version);
  }
});

Deno.test("MIN_DENO is the version of the README's commands", () => {
  const readme = Deno.readTextFileSync(new URL("README.md", REPOSITORY));
  assertEquals(new Set(readme.match(/(?<=deno@)[\d.]+/g)), new Set([MIN_DENO]));
});
