/**
 * The undertaker's work (hand-over.ts): instances have what is left of their time, and all of their
 * output goes to the log; preloaders, whose programs the instances may need, end after them.
 */
import { OwnedFd } from "../../native/owned-fd.ts";
import type { WriteOutput } from "./builtin-spawner.ts";
import type { Charge, Plan } from "./hand-over.ts";
import { endRunning, type Urgency } from "./instance-process.ts";
import { OutputReader } from "./output.ts";
import { lookAfter, RunningProcess } from "./running-process.ts";
import { endStrays } from "./strays.ts";

/** @param hurry aborts when there is no time left. @returns when nothing of them is left. */
export async function undertake(
  { charges, strays, times }: Plan,
  write: WriteOutput,
  hurry: AbortSignal,
): Promise<void> {
  // They were told to leave when the server's end began.
  const urgency = { times, shutdown: AbortSignal.abort(), hurry };
  const all = charges.map((charge) => ({ charge, end: watch(charge, write, urgency) }));
  const endOf = (arePreloaders: boolean) => {
    const chosen = all.filter(({ charge }) => charge.isPreloader === arePreloaders);
    return Promise.all(chosen.map(({ end }) => end()));
  };
  await endOf(false);
  await endOf(true);
  await endStrays(strays, times.terminatedMs, hurry);
}

/** Sees to a process. @returns what ends it, and waits for its end. */
function watch(charge: Charge, write: WriteOutput, urgency: Urgency): () => Promise<void> {
  const { pid, root, leader, rest } = charge;
  const running = new RunningProcess(pid, new OwnedFd(leader));
  lookAfter(running);
  const readEnd = charge.output === undefined ? undefined : new OwnedFd(charge.output);
  const output = readEnd && new OutputReader(readEnd, (line) => write(pid, root, line), rest);
  return async () => {
    await endRunning(running, urgency, 0);
    await running.group?.end(urgency.times.terminatedMs, urgency.hurry);
    await output?.untilWritten();
    output?.stop();
  };
}
