/**
 * Faults of requests that never end: a process that is stuck in one is not free because its client
 * has left, so that nobody else is given to it; and in the end it is made to go.
 */
import { describe, expect } from "bun:test";

import {
  configure,
  faultTests,
  request,
  sendRequest,
  writeFiles,
} from "../helpers/builtin-apps.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { languages, type Language } from "../helpers/languages.ts";
import type { ServerUnderTest } from "../helpers/pool-server.ts";
import { isRunning } from "../helpers/processes.ts";
import type { RawClient } from "../helpers/raw-client.ts";

countDescriptors();
const faultTest = faultTests();

/** A session whose instance is stuck in its request; `settings` are those of `configure`. */
async function block(
  server: ServerUnderTest,
  client: RawClient,
  { file, options, programs }: Language,
  settings: object = {},
) {
  const root = writeFiles(server, "blocked", { [file]: programs.blocks });
  await configure(client, root, { concurrency: 1, ...settings });
  const session = await client.get(root, options);
  await sendRequest(session, "/block");
  await until("it is stuck", () => /\] blocked$/m.test(server.output()));
  return { root, session };
}

async function kill(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await until(`${pid} is gone`, () => !isRunning(pid));
}

describe.each(languages)("$name:", (language) => {
  faultTest("one that is stuck is not free when its client leaves", async (server) => {
    const client = await server.connect();
    const { root, session } = await block(server, client, language);
    await client.closeSession(session);
    const [application] = (await client.inspect()).applications;
    expect(application?.instances).toMatchObject([{ state: "busy", sessions: 0, closing: 1 }]);
    for (let i = 0; i < 3; i += 1) {
      const { pid, body } = await request(client, root, language.options, "/");
      expect(body).toBe(String(pid));
      expect(pid).not.toBe(session.pid);
    }
    await kill(session.pid);
    await client.untilCount(1);
  });
});
