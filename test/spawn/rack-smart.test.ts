/** Rack applications that are loaded once and forked: the loader as a preloader. */
import { afterEach, expect, test } from "bun:test";
import { unlinkSync } from "node:fs";

import { sendSignal, signals } from "../../src/native/process.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { descriptorChanges, openDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, untilGone } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import {
  exchange,
  failureOf,
  get,
  notebook,
  parseAnswer,
  spawnRequest,
  writeApp,
} from "./support.ts";

const never = new AbortController().signal;
const temporaryDirectory = temporaryDirectories();
const lines: string[] = [];
const open: BuiltinSpawner[] = [];

function newSpawner(): BuiltinSpawner {
  const spawner = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: (pid, _root, line) => lines.push(`${pid} ${line}`),
  });
  open.push(spawner);
  return spawner;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((spawner) => spawner.close(never)));
});

const source = `
loaded = Process.pid
puts "loaded"
at_exit { puts "#{Process.pid == loaded ? 'preloader' : 'instance'} at_exit" }
run lambda { |env|
  puts "a line"
  facts = [Process.pid, Process.ppid, Process.getpgrp, loaded, rand, trap("CHLD", "DEFAULT")]
  [200, {}, [facts.join(" ")]]
}
`;

async function spawned(spawner: BuiltinSpawner, files = { "config.ru": source }) {
  const root = writeApp(temporaryDirectory(), "app", files);
  const request = spawnRequest(root);
  return { request, instances: await Promise.all([1, 2].map(() => spawner.spawn(request))) };
}

async function facts(instance: Instance): Promise<string[]> {
  return parseAnswer(await exchange(instance, get())).body.split(" ");
}

test("loads the code once, forks instances, and each is a process like any other", async () => {
  const { instances } = await spawned(newSpawner());
  const random = new Set<string>();
  for (const instance of instances) {
    const [pid, parent, group, loaded, number = "", handler] = await facts(instance);
    expect(Number(pid)).toBe(instance.pid);
    expect(group).toBe(pid ?? "");
    expect(loaded).toBe(parent ?? "");
    expect(handler).toBe("DEFAULT");
    random.add(number);
    const descriptors = openDescriptors(instance.pid);
    expect(descriptors.get(0)).toBe("/dev/null");
    expect([1, 2].map((fd) => descriptors.get(fd)?.startsWith("pipe:"))).toEqual([true, true]);
    expect([3, 4].map((fd) => descriptors.get(fd)?.startsWith("socket:"))).toEqual([true, true]);
    const more = [...descriptors].filter(([fd, what]) => fd > 4 && !what.startsWith("anon_inode:"));
    expect(more.filter(([, what]) => !what.startsWith("pipe:"))).toEqual([]);
  }
  expect(random.size).toBe(2);
});

test("keeps the outputs of preloader and instances apart", async () => {
  lines.length = 0;
  const { instances } = await spawned(newSpawner());
  const [first] = instances;
  if (first === undefined) throw new Error("no instance");
  const [pid, parent] = await facts(first);
  const expected = [`${parent} loaded`, `${pid} a line`];
  await until(
    "both lines are there",
    () => expected.every((line) => lines.includes(line)),
    () => lines,
  );
});

test("the preloader tells how an instance ended, and goes on", async () => {
  const spawner = newSpawner();
  const { request, instances } = await spawned(spawner);
  const [first, second] = instances;
  if (first === undefined || second === undefined) throw new Error("no instance");
  const [, parent] = await facts(first);
  sendSignal(first.pid, signals.SIGKILL);
  await untilGone(first.pid);
  await until("no zombie is left", () => childrenOf(Number(parent)).length === 1);
  const third = await spawner.spawn(request);
  expect((await facts(third))[1]).toBe(parent ?? "");
  expect(await facts(second)).toHaveLength(6);
});

test("instances run at_exit when they are let go; they outlive the preloader", async () => {
  lines.length = 0;
  const { instances } = await spawned(newSpawner());
  const [first, second] = instances;
  if (first === undefined || second === undefined) throw new Error("no instance");
  const [, parent] = await facts(first);
  sendSignal(Number(parent), signals.SIGKILL);
  await untilGone(Number(parent));
  expect((await facts(second))[0]).toBe(String(second.pid));
  first.release();
  await untilGone(first.pid);
  await until("at_exit ran", () => lines.includes(`${first.pid} instance at_exit`));
  expect(lines).not.toContain(`${parent} preloader at_exit`);
});

const scarce = `
module Scarce
  def _fork
    raise Errno::EAGAIN if File.exist?("no-fork")
    super
  end
end
Process.singleton_class.prepend(Scarce)
${source}`;

test("a preloader that cannot fork says so, keeps nothing, and goes on", async () => {
  const spawner = newSpawner();
  const root = writeApp(temporaryDirectory(), "app", { "config.ru": scarce });
  const request = spawnRequest(root);
  const parent = Number((await facts(await spawner.spawn(request)))[1]);
  await spawner.spawn(request); // Before the second it has put its heap in order.
  // What it was given for an instance it has closed before it answers.
  const received = [...openDescriptors(parent)].filter(
    ([fd, what]) => fd > 4 && /socket|null/.test(what),
  );
  expect(received).toEqual([]);
  const before = openDescriptors(parent);
  await Bun.write(`${root}/no-fork`, "");
  for (let i = 0; i < 3; i += 1) {
    const { message } = await failureOf(spawner.spawn(request));
    expect(message).toContain("could not fork it: Errno::EAGAIN: Resource temporarily unavailable");
  }
  expect(descriptorChanges(before, openDescriptors(parent))).toEqual([]);
  unlinkSync(`${root}/no-fork`);
  expect(Number((await facts(await spawner.spawn(request)))[1])).toBe(parent);
});

const full = `
highest = Dir.children("/proc/self/fd").map(&:to_i).max
Process.setrlimit(:NOFILE, highest + 1, Process.getrlimit(:NOFILE).last)
${source}`;

test("a preloader without free descriptors says so, each time", async () => {
  const spawner = newSpawner();
  const root = writeApp(temporaryDirectory(), "app", { "config.ru": full });
  for (let i = 0; i < 3; i += 1) {
    const { message } = await failureOf(spawner.spawn(spawnRequest(root)));
    expect(message).toContain("could not fork it: Errno::EMFILE: Too many open files");
  }
});
