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
import { isRunning, kill, untilGone } from "../helpers/processes.ts";
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

const forked = ({ options }: Language) => options.spawnMethod !== "conservative";

/** What is in the log, by pid, once an instance is given up. */
async function untilGivenUp(server: ServerUnderTest, pid: number, cause: string, what: string) {
  const fields = `app=\\S+ pid=${pid} cause="${cause}" request="?${what}"?`;
  const line = new RegExp(`warning a request takes too long, its process is ended ${fields}$`, "m");
  await until("it is given up", () => line.test(server.log()));
  await untilGone(pid);
}

describe.each(languages.filter(forked))("$name:", (language) => {
  faultTest(
    "one that is stuck is ended when its time is up, and its place is free",
    async (server) => {
      const client = await server.connect();
      await client.send("setUseGlobalQueue", "true");
      await client.send("setMax", "1");
      const { root, session } = await block(server, client, language, { abandonTimeoutMs: 200 });
      session.stream.close();
      await client.send("abandon", session.id, "GET /block");
      const { pid, body } = await request(client, root, language.options, "/");
      expect(body).toBe(String(pid));
      expect(pid).not.toBe(session.pid);
      await untilGivenUp(server, session.pid, "its client gave it up", "GET /block");
      const tells = language.options.appType === "rack" || language.options.appType === "wsgi";
      if (tells) {
        await until("its stacks are in the log", () => server.output().includes("stack of thread"));
      }
      expect((await client.inspect()).counters.retirements).toMatchObject({ overdue: 1 });
    },
  );
});

faultTest("overdue leaves no time, a session that is not kept has its limit", async (server) => {
  const client = await server.connect();
  const [bun] = languages;
  if (bun === undefined) throw new Error("there are no languages");
  const late = await block(server, client, bun);
  late.session.stream.close();
  const overdue = "it took more than its time";
  await client.send("overdue", late.session.id, "GET /late");
  await untilGivenUp(server, late.session.pid, overdue, "GET /late");
  await configure(client, late.root, { concurrency: 1, requestTimeoutMs: 300 });
  const open = await client.get(late.root, bun.options);
  await sendRequest(open, "/block");
  await untilGivenUp(server, open.pid, overdue, "unknown");
  await client.closeSession(open);
  const quick = await request(client, late.root, bun.options, "/");
  await client.number("getCount");
  expect(isRunning(quick.pid)).toBe(true);
});

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
