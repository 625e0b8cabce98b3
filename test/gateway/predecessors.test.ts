/** How the processes of the program before are had leave. Real ones, which Bun knows nothing of. */
import { afterEach, expect, test } from "bun:test";

import { Predecessors } from "../../src/gateway/supervisor/predecessors.ts";
import { sendSignal, signals } from "../../src/native/process.ts";
import { socketPair } from "../../src/native/socket.ts";
import { startProgram, takeEnd } from "../../src/native/start-program.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";

countDescriptors();

/** Longer than a test takes. */
const limitMs = 600_000;

const started: number[] = [];

afterEach(async () => {
  for (const pid of started.splice(0)) {
    if (takeEnd(pid) !== undefined) continue;
    sendSignal(pid, signals.SIGKILL);
    await until("it has ended", () => takeEnd(pid) !== undefined);
  }
});

/** A worker that runs a shell's script, its control channel on 3. */
function worker(script: string): Predecessors {
  const [ours, theirs] = socketPair();
  const program = { argv: ["sh", "-c", script], environment: [], places: ["/bin/sh"] };
  const start = { ...program, launcher: program, failure: new Uint8Array(16) };
  const pid = startProgram(start, [2, 2, theirs.number, 2]);
  theirs.close();
  if (pid === undefined) throw new Error("it was not started");
  started.push(pid);
  return new Predecessors({
    generation: 1,
    listeners: [],
    inherited: [],
    pauses: {},
    workers: [{ pid, control: ours.take() }],
    poolServer: null,
    farewell: "leave\n",
    limitMs,
  });
}

test("at the end of all, who has been told to leave and keeps idle visitors loses his supervisor", async () => {
  const predecessors = worker('read order <&3 && test "$order" = leave && cat <&3');
  predecessors.dismiss();
  await within("its end", predecessors.hurry(limitMs));
  expect(predecessors.pids).toEqual([]);
});

test("who is to be ended at once is, also where others begin to serve meanwhile", async () => {
  const predecessors = worker("exec sleep 600");
  const gone = predecessors.hurry(0);
  predecessors.dismiss();
  await within("its end", gone);
  expect(predecessors.pids).toEqual([]);
});
