/** What is shown of processes whose sessions are kept: those without a request make nobody busy. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { withoutIdle } from "../../src/gateway/supervisor/idle-sessions.ts";
import { until } from "../helpers/condition.ts";
import { gateways, poolOf } from "../helpers/gateway.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { applicationWith, inspected, instanceWith, poolWith } from "../status/snapshots.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const full = { state: "busy", sessions: 2, keptSessions: 2, concurrency: 2 } as const;

test.each([
  ["one of two without a request", full, 1, { state: "active", sessions: 1, keptSessions: 1 }],
  ["both", full, 2, { state: "idle", sessions: 0, keptSessions: 0, oldestSessionMs: null }],
  ["more than the pool knows of", full, 5, { state: "idle", sessions: 0 }],
  ["one that is not done with", { ...full, closing: 1 }, 2, { state: "active", sessions: 0 }],
  [
    "one beside those that last",
    { ...full, sessions: 3, keptSessions: 1, longSessions: 2, concurrency: 1 },
    1,
    { state: "active", sessions: 2, longSessions: 2 },
  ],
  ["one of a process that leaves", { ...full, state: "leaving" as const }, 2, { sessions: 2 }],
] as const)("kept sessions: %s", (_, facts, idle, shown) => {
  const pool = inspected(
    poolWith({ applications: [applicationWith("/a", [instanceWith(7, facts)])] }),
  );
  const keepers = [{ idleSessions: (pid: number) => (pid === 7 ? idle : 0) }];
  const { applications, active } = withoutIdle(pool, keepers);
  expect(applications[0]?.instances).toMatchObject([shown]);
  expect(active).toBe("state" in shown && shown.state === "active" && shown.sessions > 0 ? 1 : 0);
});

const holding = `import os, time
def application(environ, start_response):
    while environ["PATH_INFO"] == "/hold" and not os.path.exists("go"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
`;

test("a process is idle whose request is over, while another has one", async () => {
  const root = temporaryDirectory();
  mkdirSync(join(root, "app"));
  writeFileSync(join(root, "app", "passenger_wsgi.py"), holding);
  const gateway = startGateway([join(root, "app"), "--listen", "127.0.0.1:0", "--max", "2"]);
  const address = await gateway.address();
  const held = fetch(`${address}/hold`);
  const instances = async () => (await poolOf(gateway)).applications[0]?.instances ?? [];
  await until("one is busy", async () => (await instances()).some(({ state }) => state === "busy"));
  const ending = new AbortController();
  let pid = 0;
  // Often enough that its session is kept, and does not end.
  const visits = (async () => {
    while (!ending.signal.aborted) {
      pid = Number(await (await fetch(address)).text());
      await Bun.sleep(20);
    }
  })();
  await until("another answers", () => pid > 0);
  let ended = 0;
  await until("it is idle, and its session has not ended", async () => {
    const found = await instances();
    expect(found.filter((one) => one.pid !== pid).map(({ state }) => state)).toEqual(["busy"]);
    const { state, served } = found.find((one) => one.pid === pid) ?? { served: -1 };
    const isKept = served === ended;
    ended = served;
    return state === "idle" && isKept;
  });
  ending.abort();
  await visits;
  writeFileSync(join(root, "app", "go"), "");
  await held;
  await gateway.end();
});
