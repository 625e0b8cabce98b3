/**
 * Instances of node and bun whose program never gets back to the event loop, when nobody is there
 * any more to end them: the spawner's own limits are set far beyond the ten seconds of PROTOCOL 10.
 */
import { test } from "bun:test";

import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import { until } from "../helpers/condition.ts";
import { childrenOf, isRunning } from "../helpers/processes.ts";
import { sendAll } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { connected, get, notebook, spawnRequest, writeApp } from "./support.ts";

const temporaryDirectory = temporaryDirectories();

// It waits in the kernel for ever; a loop would take a processor from the other tests.
const stick = `console.log("stuck " + process.pid);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;

test("a stuck instance ends ten seconds after its lifeline, whatever its program does", async () => {
  const lines: string[] = [];
  const spawner = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: (_pid, _root, line) => lines.push(line),
    baseDirectory: temporaryDirectory(),
    endTimes: { retiredMs: 60_000, shutdownMs: 60_000, terminatedMs: 60_000 },
  });
  const node = `require("http").createServer(() => { ${stick} }).listen(1)`;
  const bun = `export default { fetch() { ${stick} } }`;
  const parent = temporaryDirectory();
  const instances = await Promise.all([
    spawner.spawn(spawnRequest(writeApp(parent, "n", { "app.js": node }), { appType: "node" })),
    spawner.spawn(spawnRequest(writeApp(parent, "b", { "server.ts": bun }), { appType: "bun" })),
  ]);
  const sessions = instances.map((instance) => connected(instance));
  for (const session of sessions) await sendAll(session.number, get());
  const pids = instances.map(({ pid }) => pid);
  const isStuck = (pid: number) => lines.includes(`stuck ${pid}`);
  await until("both are stuck", () => pids.every(isStuck));
  const helpers = pids.flatMap((pid) => childrenOf(pid).map((child) => child.pid));
  for (const instance of instances) instance.release();
  await until("both are gone", () => !pids.some(isRunning), undefined, 20_000);
  await until("nothing is left of them", () => !helpers.some(isRunning));
  for (const session of sessions) session.close();
  await spawner.close(new AbortController().signal);
});
