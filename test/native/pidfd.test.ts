/** Pidfds against the real kernel. */
import { expect, test } from "bun:test";

import {
  hasEnded,
  openPidfd,
  sendPidfdGroupSignal,
  sendPidfdSignal,
} from "../../src/native/pidfd.ts";
import { sendSignal, signals } from "../../src/native/process.ts";
import type { OwnedFd } from "../../src/native/owned-fd.ts";
import { hammer } from "../helpers/collect.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";

countDescriptors();

function pidfdOf(pid: number): OwnedFd {
  const opened = openPidfd(pid);
  if (opened === undefined) throw new Error("no pidfd");
  return opened;
}

test("a pidfd means its process and, once that is gone, nobody", async () => {
  const child = Bun.spawn(["sleep", "60"], { stdout: "ignore" });
  using pidfd = pidfdOf(child.pid);
  expect(sendPidfdSignal(pidfd.number, 0)).toBe(true);
  expect(hasEnded(pidfd.number)).toBe(false);
  expect(sendPidfdSignal(pidfd.number, signals.SIGKILL)).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(hasEnded(pidfd.number)).toBe(true);
  expect(sendPidfdSignal(pidfd.number, 0)).toBe(false);
  expect(sendPidfdGroupSignal(pidfd.number, child.pid, 0)).toBe(false);
  expect(openPidfd(child.pid)).toBeUndefined();
});

test("a signal to the group reaches what the process has started, and nobody else", async () => {
  const script = "sleep 60 & echo $!; wait";
  const child = Bun.spawn(["setsid", "sh", "-c", script], { stdout: "pipe" });
  await using other = Bun.spawn(["sleep", "60"], { stdout: "ignore" });
  using pidfd = pidfdOf(child.pid);
  const { value } = await child.stdout.getReader().read();
  const grandchild = Number(Buffer.from(value ?? []).toString());
  expect(isRunning(grandchild)).toBe(true);
  expect(sendPidfdGroupSignal(pidfd.number, child.pid, signals.SIGTERM)).toBe(true);
  await child.exited;
  await untilGone(grandchild);
  expect(isRunning(other.pid)).toBe(true);
});

test("60,000 signals to a pidfd and to a process arrive at living ones only", async () => {
  await using child = Bun.spawn(["sleep", "60"], { stdout: "ignore" });
  using pidfd = pidfdOf(child.pid);
  let wrong = 0;
  hammer(() => {
    if (!sendPidfdSignal(pidfd.number, 0)) wrong += 1;
    if (sendSignal(2 ** 22 - 1, 0)) wrong += 1;
  });
  expect(wrong).toBe(0);
});
