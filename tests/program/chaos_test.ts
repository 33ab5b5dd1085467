/** A short chaos run over each listener. `deno task chaos` runs long ones. */

import { assert, assertEquals } from "@std/assert";
import { runChaos } from "../../bench/chaos_run.ts";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";

const SEED = 1;
const EXCHANGES = 500;

for (const server of WEB_SERVERS) {
  Deno.test(`runChaos() loses no byte and counts each request once over ${server} (seed ${SEED})`, async () => {
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
    for (const [fault, count] of Object.entries(result.faults)) assert(count > 0, `fault ${fault} did not occur`);
    assert(result.bytesChecked > 0);
  });
}
