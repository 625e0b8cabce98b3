/**
 * What hangs is dead: a worker or pool server that does not answer is ended and replaced, as one
 * that was killed. SIGSTOP is the hang that leaves everything else as it is.
 */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { Heartbeat } from "../../src/gateway/supervisor/heartbeat.ts";
import { until } from "../helpers/condition.ts";
import { type Gateway, gateways, statusOf, writeApplication } from "../helpers/gateway.ts";
import { isRunning, pidOf, stop } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

function start(silence: string): Gateway {
  const directory = temporaryDirectory();
  const file = join(directory, "pool.toml");
  const apps = ["app", "cold"].map((name) => {
    writeApplication(directory, name);
    return `[[apps]]\nroot = "${name}"\nprefix = "/${name}"\n`;
  });
  writeFileSync(
    file,
    `listen = ["127.0.0.1:0"]\nsilence_time = "${silence}"\n[log]\nlevel = 1\n${apps.join("")}`,
  );
  return startGateway(["--config", file]);
}

/** Asks on a connection of its own. @returns the status. */
async function ask(address: string, path: string): Promise<number> {
  const answer = await fetch(`${address}${path}`, { keepalive: false });
  await answer.text();
  return answer.status;
}

test("a worker that is stopped is replaced, and who asks meanwhile is answered", async () => {
  const gateway = start("1s");
  const address = await gateway.address();
  expect(await ask(address, "/app/")).toBe(200);
  const worker = pidOf(gateway.workers[0]);
  await stop(worker);
  await until("the kernel has stopped it", () => gateway.workers[0]?.state === "T");
  const statuses = await Promise.all(Array.from({ length: 6 }, () => ask(address, "/app/")));
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(isRunning(worker)).toBe(false);
  const line = `worker does not answer pid=${worker}`;
  await until("it is logged", () => gateway.log.includes(line));
  await gateway.end();
});

test("a pool server that is stopped is replaced, and who asks meanwhile is answered", async () => {
  const gateway = start("1s");
  const address = await gateway.address();
  expect(await ask(address, "/app/")).toBe(200);
  const server = pidOf(gateway.poolServer);
  await stop(server);
  const paths = ["/app/", "/cold/", "/cold/", "/app/"];
  const statuses = await Promise.all(paths.map((path) => ask(address, path)));
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(isRunning(server)).toBe(false);
  const line = `pool server does not answer pid=${server}`;
  await until("it is logged", () => gateway.log.includes(line));
  expect((await statusOf(gateway)).pool?.count).toBeGreaterThan(0);
  await gateway.end();
});

/** A process that says back what it is told, and the heartbeat that asks it. */
function watched(limitMs: number) {
  const child = Bun.spawn(["cat"], { stdio: ["pipe", "pipe", "ignore"] });
  const seen = { heard: 0, dead: 0 };
  const heartbeat = new Heartbeat({
    pid: child.pid,
    limitMs,
    ask: () => {
      void child.stdin.write("?");
      void child.stdin.flush();
    },
    dead: () => {
      seen.dead += 1;
    },
  });
  const reader = child.stdout.getReader();
  void (async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      seen.heard += 1;
      heartbeat.heard();
    }
  })();
  return {
    seen,
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      heartbeat.stop();
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test("who was late himself kills nobody: what he has not seen is no silence", async () => {
  await using child = watched(500);
  const { seen } = child;
  await until("it answers", () => seen.heard > 2);
  for (let round = 0; round < 3; round += 1) {
    const before = seen.heard;
    Bun.sleepSync(1500); // as a machine that sleeps, or a process that gets no processor
    await until("it answers again", () => seen.heard > before + 2);
  }
  expect(seen.dead).toBe(0);
  await stop(child.pid);
  await until("it is taken for dead", () => seen.dead > 0);
  expect(seen.dead).toBe(1);
});

test("without a limit nobody is ended, however long he is silent", async () => {
  await using child = watched(0);
  await stop(child.pid);
  await Bun.sleep(500);
  expect(child.seen.dead).toBe(0);
});
