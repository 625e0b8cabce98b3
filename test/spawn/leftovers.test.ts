/** How what an instance leaves in its process group is found. */
import { expect, test } from "bun:test";
import { join } from "node:path";

const source = join(import.meta.dir, "../../src");

/** Beside processes of others', one is left by the leader of a group. */
const script = `
  const { readFileSync } = await import("node:fs");
  const { ProcessGroup } = await import("${source}/spawn/builtin/leftovers.ts");
  const { hasEnded, openPidfd } = await import("${source}/native/pidfd.ts");
  const { adoptOrphans } = await import("${source}/native/process.ts");
  adoptOrphans();
  const others = Bun.spawn(["sh", "-c", "for i in $(seq 200); do sleep 60 & done; echo; wait"], {
    detached: true, stdio: ["ignore", "pipe", "inherit"],
  });
  await others.stdout.getReader().read();
  const leader = Bun.spawn(["sh", "-c", "read line; sleep 60 >/dev/null & echo"], {
    detached: true, stdio: ["pipe", "pipe", "inherit"],
  });
  const group = new ProcessGroup(leader.pid, openPidfd(leader.pid));
  leader.stdin.end("go\\n");
  await leader.exited;
  const reads = () => Number(/syscr: (\\d+)/.exec(readFileSync("/proc/self/io", "latin1"))[1]);
  const look = async () => {
    const before = reads();
    return { isThere: await group.isThere(), reads: reads() - before };
  };
  const running = await look();
  const orphan = Number(readFileSync("/proc/self/task/" + process.pid + "/children", "latin1")
    .trim().split(" ").at(-1));
  const held = openPidfd(orphan);
  group.signal(9);
  while (!hasEnded(held.number)) await Bun.sleep(1);
  const ended = await look();
  process.kill(-others.pid, "SIGKILL");
  await others.exited;
  console.log(JSON.stringify({ running, ended }));`;

interface Look {
  readonly isThere: boolean;
  readonly reads: number;
}

test("to see whether an orphan that has come to us runs takes no look at all processes", async () => {
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  const { running, ended } = (await child.stdout.json()) as { running: Look; ended: Look };
  expect([running.isThere, ended.isThere]).toEqual([true, false]);
  // To look at a process takes a read or two, and there are more than 200.
  expect(Math.max(running.reads, ended.reads)).toBeLessThan(200);
  expect(await child.exited).toBe(0);
});
