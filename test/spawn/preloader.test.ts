/** The server's side of a preloader, with one that is small and can misbehave. */
import { beforeEach, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";

import { sendSignal, signals } from "../../src/native/process.ts";
import { AppGroup, memoryCause } from "../../src/spawn/builtin/app-group.ts";
import {
  makeInstance,
  type InstanceProcessOptions,
} from "../../src/spawn/builtin/instance-process.ts";
import type { Preloader } from "../../src/spawn/builtin/preloader.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { until, within } from "../helpers/condition.ts";
import { countDescriptors, openDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, isRunning, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { smallPreloader } from "./small-preloader.ts";

countDescriptors();
const temporaryDirectory = temporaryDirectories();

const lines: string[] = [];
let sockets = 0;

beforeEach(() => {
  lines.length = 0;
});

function start(how = "") {
  return smallPreloader(how, (pid, line) => lines.push(`${pid} ${line}`));
}

function options(): InstanceProcessOptions {
  const directory = `${temporaryDirectory()}/sockets`;
  mkdirSync(directory);
  sockets += 1;
  const times = { retiredMs: 2_000, shutdownMs: 1_000, terminatedMs: 1_000 };
  const never = new AbortController().signal;
  return {
    socketPlace: { directory, name: String(sockets) },
    urgency: { times, shutdown: never, hurry: never },
    writeLine: (pid, line) => lines.push(`${pid} ${line}`),
  };
}

function fork(preloader: Preloader, ms = 10_000) {
  return makeInstance(options(), (inherited) => preloader.fork(inherited, ms));
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return String(error);
  }
  throw new Error("it succeeded");
}

test("forks instances that are ready, have a group of their own, and inherit 0 to 4", async () => {
  await using preloader = start();
  expect(await preloader.lifeline.announced).toMatchObject({ kind: "ready", concurrency: 1 });
  const instances = await Promise.all([fork(preloader), fork(preloader)]);
  for (const instance of instances) {
    expect(await instance.lifeline.announced).toMatchObject({ kind: "ready", concurrency: 1 });
    expect([...openDescriptors(instance.pid).keys()].toSorted((a, b) => a - b)).toEqual([
      0, 1, 2, 3, 4,
    ]);
    expect(childrenOf(preloader.pid).map(({ pid }) => pid)).toContain(instance.pid);
  }
  await Promise.all(instances.map((instance) => instance.end(5_000)));
  for (const { pid } of instances) expect(isRunning(pid)).toBe(false);
  expect(isRunning(preloader.pid)).toBe(true);
});

test("copies the output of each instance and of the preloader apart", async () => {
  await using preloader = start();
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  await instance.lifeline.announced;
  const expected = [
    ascii(`${preloader.pid} loaded`),
    ascii(`${instance.pid} a line of ${instance.pid}`),
  ];
  await until("both lines are there", () => lines.length === 2);
  expect(lines).toEqual(expected);
  await instance.end(5_000);
});

test("sees an instance that is killed, and says how it ended", async () => {
  await using preloader = start();
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  await instance.lifeline.announced;
  sendSignal(instance.pid, signals.SIGKILL);
  await within("the end to be seen", instance.death);
  expect(await instance.describeEnd()).toBe("was ended by SIGKILL");
});

test("an instance that ends before it is ready says with what status", async () => {
  await using preloader = start("exit-in-child");
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  sendSignal(instance.pid, signals.SIGUSR1);
  expect(await instance.lifeline.announced).toBeUndefined();
  expect(await instance.describeEnd()).toBe("exited with status 7");
});

test("an instance that has ended before it is named says why all the same", async () => {
  await using preloader = start("buries first");
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  const said = await instance.lifeline.announced;
  expect(said?.kind === "failed" && Buffer.from(said.text).toString()).toContain("no luck today");
  expect(await instance.output.lastText()).toContain("a line of");
  expect(await instance.describeEnd()).toBe("ended");
  await instance.end(0);
});

test("instances live on when their preloader is killed, and are still made to go", async () => {
  await using preloader = start();
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  await instance.lifeline.announced;
  sendSignal(preloader.pid, signals.SIGKILL);
  await until("the preloader's end is seen", () => !preloader.isUsable);
  expect(isRunning(instance.pid)).toBe(true);
  expect(await failure(fork(preloader))).toContain("its preloader is gone");
  await within("the instance to go", instance.end(5_000));
  expect(isRunning(instance.pid)).toBe(false);
});

test("ends what an instance has left behind in its process group", async () => {
  await using preloader = start("linger");
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  await instance.lifeline.announced;
  await until("it has a child", () => childrenOf(instance.pid).length === 1);
  const [child] = childrenOf(instance.pid);
  sendSignal(instance.pid, signals.SIGKILL);
  await within("the instance to go", instance.end(5_000));
  expect(isRunning(child?.pid ?? 0)).toBe(false);
});

test("ends what the code started while it was loaded, once nothing forked needs it", async () => {
  await using preloader = start("helper");
  await preloader.lifeline.announced;
  const instance = await fork(preloader);
  await instance.lifeline.announced;
  const helper = childrenOf(preloader.pid).find(({ pid }) => pid !== instance.pid)?.pid ?? 0;
  sendSignal(preloader.pid, signals.SIGKILL);
  await untilGone(preloader.pid);
  expect([instance.pid, helper].map(isRunning)).toEqual([true, true]);
  await within("the instance to go", instance.end(5_000));
  await untilGone(helper);
});

const misbehaving: [how: string, answer: string][] = [
  ["refuse", "its preloader could not fork it: no memory today"],
  ["die", "its preloader ended"],
  ["garbage", "its preloader ended"],
];

for (const [how, answer] of misbehaving) {
  test(`a fork fails with a reason where the preloader does this: ${how}`, async () => {
    await using preloader = start(how);
    await preloader.lifeline.announced;
    expect(await failure(fork(preloader))).toContain(answer);
    expect(preloader.isUsable).toBe(how === "refuse");
  });
}

const impossible: [how: string, cause: string][] = [
  ["names children", "is not ordered, or answered already"],
  ["repeats", "fork 1 is not ordered, or answered already"],
  ["refuses late", "fork 1 is not ordered, or answered already"],
  ["ready again", "'ready' with 2 elements is neither"],
  ["buries many", "the end of process 4711 is one more than it has forked"],
  ["says too much", "its last element lacks the NUL"],
];

for (const [how, cause] of impossible) {
  test(`a preloader is killed and costs no descriptor when it does this: ${how}`, async () => {
    await using preloader = start(how);
    await preloader.lifeline.announced;
    const before = openDescriptors(process.pid).size;
    const instance = await fork(preloader);
    expect((await within("its offence", preloader.lifeline.misbehaved)).message).toContain(cause);
    await within("its end", preloader.end());
    expect(isRunning(preloader.pid)).toBe(false);
    await within("the instance to go", instance.end(5_000));
    // Of the preloader's three at most, and nothing for what it named.
    expect(openDescriptors(process.pid).size).toBeLessThanOrEqual(before);
  });
}

test("a preloader that does not answer is ended at the time limit", async () => {
  await using preloader = start("mute");
  await preloader.lifeline.announced;
  expect(await failure(fork(preloader, 100))).toContain("its preloader does not answer");
  await untilGone(preloader.pid);
});

test("a failure to load is what an instance would say", async () => {
  await using preloader = start("fail");
  const said = await preloader.lifeline.announced;
  if (said?.kind !== "failed") throw new Error("it did not fail");
  expect(Buffer.from(said.text).toString()).toBe("NoLuckError: no luck today");
});

test("one that the kernel ended for its memory while it loaded says so to all who ask", async () => {
  const directory = temporaryDirectory();
  writeFileSync(`${directory}/memory.events`, "oom 1\noom_kill 1\n");
  await using preloader = smallPreloader("hang", () => {}, new AppGroup(directory));
  sendSignal(preloader.pid, signals.SIGKILL);
  expect(await preloader.lifeline.announced).toBeUndefined();
  const ends = await Promise.all([preloader.describeEnd(), preloader.diedByItself]);
  const end = `was ended by SIGKILL: ${memoryCause}`;
  expect(ends).toEqual([end, end]);
});

test("one that still loads is ended without waiting for it", async () => {
  await using preloader = start("hang");
  await until("it runs", () => isRunning(preloader.pid));
  await within("the end", preloader.end());
  expect(isRunning(preloader.pid)).toBe(false);
});
