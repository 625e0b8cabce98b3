/**
 * Run by strays.test.ts in a process of its own, since whoever adopts orphans adopts all there are.
 * Two instances of one user: the second starts while what the first has left is being ended.
 */
import { adoptOrphans } from "../../src/native/process.ts";
import { Strays } from "../../src/spawn/builtin/strays.ts";
import { noteChild } from "../../src/spawn/our-children.ts";

const terminatedMs = 500;

/** An instance that has left a program behind which ignores SIGTERM. @returns both. */
async function instanceWithOrphan(): Promise<{ pid: number; orphan: number; kill: () => void }> {
  // In a session of its own and without a parent: nothing but its user says whose it is.
  const script = `(setsid sh -c 'trap "" TERM; echo $$; exec sleep 60' &) ; exec sleep 60`;
  const child = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
  noteChild(child);
  for await (const text of child.stdout) {
    return {
      pid: child.pid,
      orphan: Number(Buffer.from(text).toString()),
      kill: () => child.kill(),
    };
  }
  throw new Error("there is no orphan");
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

adoptOrphans();
const strays = new Strays();
const user = process.getuid?.() ?? 0;
const first = await instanceWithOrphan();
strays.enter(first.pid, user);
first.kill();
const hurry = new AbortController();
const left = strays.leave(first.pid, terminatedMs, hurry.signal);
const second = await instanceWithOrphan();
strays.enter(second.pid, user);
await left;
const isLeftAlone = isThere(second.orphan);
strays.ending(second.pid);
second.kill();
await strays.leave(second.pid, 0, hurry.signal);
process.stdout.write(JSON.stringify([isLeftAlone, isThere(second.orphan), isThere(first.orphan)]));
process.exit(0);
