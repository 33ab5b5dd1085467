/** A short chaos run over each listener. `deno task chaos` runs long ones. */

import { assert, assertEquals } from "@std/assert";
import { runChaos } from "../../bench/chaos.ts";
import { WEB_SERVERS } from "../../lib/settings/settings.ts";

const SEED = 1;
const EXCHANGES = 500;

for (const server of WEB_SERVERS) {
  Deno.test(`runChaos() loses no byte and counts each request once over ${server} (seed ${SEED})`, async () => {
    const result = await runChaos({ server, seed: SEED, exchanges: EXCHANGES, clients: 16 });
    const { problems, exchanges, bytesChecked, bytesLost, observationsMissing, observationsDoubled } = result.tally;
    assertEquals(problems.slice(0, 10), []);
    assertEquals({ exchanges, bytesLost, observationsMissing, observationsDoubled }, {
      exchanges: EXCHANGES,
      bytesLost: 0,
      observationsMissing: 0,
      observationsDoubled: 0,
    });
    assertEquals(result.remark, `seed ${SEED}, POSTs repeated: 0, connections left: 0`);
    for (const [fault, count] of Object.entries(result.faults)) assert(count > 0, `fault ${fault} did not occur`);
    assert(bytesChecked > 0);
  });
}
