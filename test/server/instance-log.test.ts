/** What is said of instances: a death with its cause, memory where that has just run out. */
import { expect, test } from "bun:test";

import { InstanceLog } from "../../src/server/instance-log.ts";
import { Log } from "../../src/logging/log.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";

const instance: Instance = {
  pid: 7,
  concurrency: 1,
  speaksHttp: false,
  reports: undefined,
  death: Promise.resolve(),
  describeEnd: () => Promise.resolve("was ended by SIGKILL"),
  connect: () => "full",
  giveUp: () => {},
  showStack: () => {},
  release: () => {},
};

test("memory is named when the count of the kernel's kills has grown since the last look", async () => {
  const lines: string[] = [];
  const counts = [5, 5, 6, 6];
  const log = new Log(0, "text", (line) => void lines.push(line));
  const said = new InstanceLog(log, () => counts.shift());
  said.spawned(instance, "/a", 1);
  for (let i = 0; i < 4; i += 1) await said.died(instance);
  const death = 'warning instance died app=/a pid=7 end="was ended by SIGKILL"';
  expect(lines.map((line) => line.slice(25))).toEqual([
    `${death}\n`,
    `${death} memory="ran out in the control group"\n`,
    `${death}\n`,
    `${death}\n`,
  ]);
});

test("each line names the application; of one that refused a session the end is said too", async () => {
  const lines: string[] = [];
  const said = new InstanceLog(new Log(1, "text", (line) => void lines.push(line)));
  said.spawned(instance, "/a", 1);
  said.givenUp(instance, "abandoned", "GET /slow");
  said.givenUp(instance, "overdue");
  said.retired(instance, "idle");
  said.retired(instance, "unreachable");
  await until("the end is said", () => lines.length === 6);
  const late = "warning a request takes too long, its process is ended app=/a pid=7";
  expect(lines.map((line) => line.slice(25, -1))).toEqual([
    "notice instance spawned app=/a pid=7 ms=1",
    `${late} cause="its client gave it up" request="GET /slow"`,
    `${late} cause="it took more than its time" request=unknown`,
    "notice instance retired app=/a pid=7 reason=idle",
    "notice instance retired app=/a pid=7 reason=unreachable",
    'warning instance ended app=/a pid=7 end="was ended by SIGKILL"',
  ]);
});

test("the first process of an application is news at every level, and so it is anew after a restart or failure", () => {
  const lines: string[] = [];
  const said = new InstanceLog(new Log(0, "text", (line) => void lines.push(line)));
  const known = { ...instance, user: "alice" };
  said.spawned(known, "/a", 5);
  said.spawned(known, "/a", 5);
  said.spawned(instance, "/of a spawn server's", 5);
  said.restarts("/a");
  said.spawned(known, "/a", 6);
  said.spawnFailed("/a", "boom");
  said.spawned(known, "/a", 7);
  const started = "notice application started app=/a pid=7 user=alice";
  expect(lines.map((line) => line.slice(25, -1))).toEqual([
    `${started} ms=5`,
    `${started} ms=6`,
    "warning spawn failed app=/a cause=boom",
    `${started} ms=7`,
  ]);
});
