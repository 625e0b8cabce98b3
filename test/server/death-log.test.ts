/** A death is said with its cause, and with memory only where that has just run out. */
import { expect, test } from "bun:test";

import { DeathLog } from "../../src/server/death-log.ts";
import { Log } from "../../src/server/log.ts";
import type { Instance } from "../../src/spawn/spawner.ts";

const instance: Instance = {
  pid: 7,
  concurrency: 1,
  reports: undefined,
  death: Promise.resolve(),
  describeEnd: () => Promise.resolve("was ended by SIGKILL"),
  connect: () => "full",
  giveUp: () => {},
  release: () => {},
};

test("memory is named when the count of the kernel's kills has grown since the last look", async () => {
  const lines: string[] = [];
  const counts = [5, 5, 6, 6];
  const log = new Log(1, "text", (line) => void lines.push(line));
  const deaths = new DeathLog(log, () => counts.shift());
  deaths.begin();
  for (let i = 0; i < 4; i += 1) await deaths.died(instance, "/a");
  const said = 'notice instance died app=/a pid=7 end="was ended by SIGKILL"';
  expect(lines.map((line) => line.slice(25))).toEqual([
    `${said}\n`,
    `${said} memory="ran out in the control group"\n`,
    `${said}\n`,
    `${said}\n`,
  ]);
});
