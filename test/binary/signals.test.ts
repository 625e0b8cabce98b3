/** Section 1: signals and the end. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";

import { duplicate } from "../../src/native/fd.ts";
import { receive } from "../../src/native/socket.ts";
import { turn, until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { ParentEnd } from "../helpers/parent-end.ts";
import {
  serverTests,
  ServerUnderTest,
  withEndingServer,
  type ServerTest,
} from "../helpers/pool-server.ts";
import { isRunning, killIfThere, markedProcesses } from "../helpers/processes.ts";
import { exchange } from "../helpers/raw-client.ts";

countDescriptors();
const binaryTest = serverTests("binary");

/** Sends a signal about every 100 µs until the process has ended, or so often. */
async function storm(
  server: ServerUnderTest,
  signal: NodeJS.Signals,
  times: number,
): Promise<void> {
  for (let sent = 0; sent < times && isRunning(server.pid); sent += 1) {
    process.kill(server.pid, signal);
    const next = performance.now() + 0.1;
    while (performance.now() < next);
    // The test's own loop must turn, or the end is never seen.
    if (sent % 100 === 99) await turn();
  }
}

/** A server with busy and idle instances and a spawn under way. */
async function busyServer(server: ServerUnderTest): Promise<number[]> {
  const client = await server.connect();
  const sessions = [];
  for (const name of ["padded-a", "padded-b", "file"]) {
    sessions.push(await client.get(server.app(name)));
  }
  const [idle] = sessions;
  if (idle !== undefined) await client.closeSession(idle);
  const other = await server.connect();
  await other.sendGet(server.app("slow-1000"));
  await until("the spawn is under way", () => server.commands().length === 4);
  return sessions.map(({ pid }) => pid);
}

function ending(body: ServerTest): Promise<void> {
  return withEndingServer("binary", { statusFifo: true }, body);
}

test("the end of its parent, with sessions open and a spawn under way, ends it cleanly", async () => {
  await ending(async (server) => {
    const pids = await busyServer(server);
    server.parent.close();
    expect(await within("its end", server.ended, 4000)).toBe(0);
    await until("its instances leave", () => !pids.some(isRunning));
    expect(existsSync(server.files.fifo)).toBe(false);
  });
});

test("it lives while anybody holds the other end of its socket", async () => {
  await ending(async (server) => {
    const child = new ParentEnd(duplicate(server.parent.fd));
    server.parent.close();
    const client = await child.connect();
    expect(await client.number("getCount")).toBe(0);
    child.closeClients();
    child.close();
    expect(await within("its end", server.ended, 4000)).toBe(0);
  });
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} ends it cleanly: clients are closed, instances leave`, async () => {
    await ending(async (server) => {
      const pids = await busyServer(server);
      const client = await server.connect();
      process.kill(server.pid, signal);
      expect(await client.end()).toBe("");
      expect(await within("its end", server.ended, 4000)).toBe(0);
      await until("its instances leave", () => !pids.some(isRunning));
    });
  });
}

test("a storm of SIGINT, then SIGTERM, as 2.0 parents send it, neither dirties nor delays its end", async () => {
  await ending(async (server) => {
    await busyServer(server);
    await storm(server, "SIGINT", 40_000);
    killIfThere(server.pid, "SIGTERM");
    expect(await within("its end", server.ended, 4000)).toBe(0);
  });
});

test("a storm of SIGTERM ends it cleanly too", async () => {
  await ending(async (server) => {
    await busyServer(server);
    await storm(server, "SIGTERM", 40_000);
    expect(await within("its end", server.ended, 4000)).toBe(0);
  });
});

test("a storm of SIGINT from its very start ends it, and nothing that it started is left", async () => {
  for (let round = 0; round < 10; round += 1) {
    const server = await ServerUnderTest.startEarly("binary", { statusFifo: true });
    await storm(server, "SIGINT", 40_000);
    const status = await within("its end", server.ended, 5000);
    // Before the first line of main the kernel's default is its end; afterwards it ends itself.
    expect([0, "SIGINT"]).toContain(status);
    server.parent.close();
    await until("nothing is left", () => markedProcesses(server.mark).length === 0);
    server.remove();
  }
});

test("SIGTERM at any moment of its start ends it, and nothing that it started is left", async () => {
  for (let delay = 0; delay < 40; delay += 2) {
    const server = await ServerUnderTest.startEarly("binary", {});
    await Bun.sleep(delay);
    process.kill(server.pid, "SIGTERM");
    expect([0, "SIGTERM"]).toContain(await within("its end", server.ended, 5000));
    server.parent.close();
    await until("nothing is left", () => markedProcesses(server.mark).length === 0);
    server.remove();
  }
});

test("a second SIGTERM skips the wait for a spawn server that does not leave", async () => {
  const shellSpawnServer = 'trap "" TERM\necho started\nexec sleep 60\n';
  await withEndingServer("binary", { binary: { shellSpawnServer } }, async (server) => {
    const spawnServer = await server.spawnServerPid();
    const began = performance.now();
    process.kill(server.pid, "SIGTERM");
    await until("it has begun to end", () => server.log().includes("server ends"));
    expect(isRunning(spawnServer)).toBe(true);
    process.kill(server.pid, "SIGTERM");
    expect(await within("its end", server.ended, 4000)).toBe(0);
    expect(performance.now() - began).toBeLessThan(4000);
    expect(isRunning(spawnServer)).toBe(false);
  });
});

test("a storm of SIGINT counts as one: the spawn server gets its time to leave", async () => {
  // It leaves when its socket is closed, half a second later.
  const shellSpawnServer = "echo started\ncat <&3 >/dev/null\nsleep 0.5\necho left by itself\n";
  await withEndingServer("binary", { binary: { shellSpawnServer } }, async (server) => {
    await storm(server, "SIGINT", 40_000);
    expect(await within("its end", server.ended, 4000)).toBe(0);
    expect(server.output()).toContain("left by itself");
  });
});

binaryTest(
  "SIGHUP, SIGUSR1, SIGUSR2 and SIGPIPE, one and in storms, change nothing",
  async (server) => {
    const client = await server.connect();
    await client.send("setMaxPerApp", "1");
    const { pid } = await client.get(server.app("padded"));
    for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"] as const) {
      await storm(server, signal, 300);
      const session = await client.get(server.app("padded"));
      expect(await exchange(session, signal)).toBe(`${pid} ${signal}`);
    }
    expect(receive(client.fd, 1)).toBe("empty");
  },
);
