/** A short chaos run over each listener. The long ones are `deno task chaos`. */

import { assert, assertEquals } from "@std/assert";
import { runChaos } from "../../bench/chaos_run.ts";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";

const SEED = 1;
const EXCHANGES = 500;

for (const server of WEB_SERVERS) {
  Deno.test(`over ${server}, whatever goes wrong, no byte is lost and each request is counted once (seed ${SEED})`, async () => {
    const result = await runChaos({ server, seed: SEED, exchanges: EXCHANGES, clients: 16 });
    const { problems, bytesLost, observationsMissing, observationsDoubled, postsRepeated, connectionsLeft } = result;
    assertEquals(problems.slice(0, 10), []);
    assertEquals({ bytesLost, observationsMissing, observationsDoubled, postsRepeated, connectionsLeft }, {
      bytesLost: 0,
      observationsMissing: 0,
      observationsDoubled: 0,
      postsRepeated: 0,
      connectionsLeft: 0,
    });
    for (const [fault, count] of Object.entries(result.faults)) assert(count > 0, `${fault} was not among the faults`);
    assert(result.bytesChecked > 0);
  });
}
