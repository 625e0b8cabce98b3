/**
 * Preloaders of wsgi applications: driven by hand on their descriptor 4, and through the spawner.
 */
import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";

import { sendDescriptor } from "../../src/native/descriptors.ts";
import { send } from "../../src/native/socket.ts";
import { BuiltinSpawner } from "../../src/spawn/builtin/builtin-spawner.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors, descriptorChanges, openDescriptors } from "../helpers/descriptors.ts";
import { childrenOf, isRunning, untilGone } from "../helpers/processes.ts";
import { frame, readExactly, readToEnd } from "../helpers/raw-client.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { Ends, Preloader } from "./loader-by-hand.ts";
import { exchange, get, notebook, parseAnswer, writeApp } from "./support.ts";
import { application, wsgiRequest } from "./wsgi-programs.ts";

const temporaryDirectory = temporaryDirectories();
const preloaderOf = (source: string) => new Preloader(temporaryDirectory(), "wsgi", source);

countDescriptors();

const withNotes = `
import atexit, os, random
loaded_by = os.getpid()
print("loaded")
atexit.register(print, "farewell")
${application}
def who(environ, start):
    return text(start, [loaded_by, os.getpid(), os.getpgid(0), random.random()])
paths["who"] = who
`;

/** What it was given for an instance it has closed before it answers. */
function holds({ pid }: Preloader, expected: ReadonlyMap<number, string>): void {
  expect(descriptorChanges(expected, openDescriptors(pid))).toEqual([]);
}

function numbers(fds: ReadonlyMap<number, string>): number[] {
  return [...fds.keys()].toSorted((a, b) => a - b);
}

test("loads the application once and forks instances that serve as the rest do", async () => {
  using preloader = preloaderOf(withNotes);
  expect(await preloader.said()).toBe("ready 1");
  using first = await preloader.fork();
  using second = await preloader.fork();
  const [one, two] = [first, second].map((instance) => instance.ask("/who"));
  const facts = (await Promise.all([one, two])).map((text) => JSON.parse(text ?? "") as number[]);
  for (const [at, { pid }] of [first, second].entries()) {
    expect(facts[at]?.slice(0, 3)).toEqual([preloader.pid, pid, pid]);
  }
  expect(facts[0]?.[3]).not.toBe(facts[1]?.[3]);
  expect(preloader.log).toBe("loaded\n");
  expect(first.log + second.log).toBe("");
});

test("gives an instance 0 to 4 and its own output, and holds nothing of it itself", async () => {
  using preloader = preloaderOf(withNotes);
  await preloader.said();
  const before = openDescriptors(preloader.pid);
  using first = await preloader.fork();
  using second = await preloader.fork();
  holds(preloader, before);
  for (const instance of [first, second]) {
    const open = openDescriptors(instance.pid);
    // Two more are the ends of a pipe of its own, by which signals wake it.
    expect(numbers(open)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(open.get(5)).toBe(open.get(6) ?? "");
    expect([...before.values()]).not.toContain(open.get(5));
  }
  await first.ask("/raising");
  await until("it is told", () => first.log.includes("RuntimeError: thrown <here>"));
  expect(preloader.log + second.log).toBe("loaded\n");
});

test("restores the signals it uses itself, and keeps the application's", async () => {
  const handlers = `
import signal
signal.signal(signal.SIGUSR2, lambda *_: print("usr2", flush=True))
def signals(environ, start):
    return text(start, [signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGINT)])
paths["signals"] = signals
`;
  using preloader = preloaderOf(application + handlers);
  await preloader.said();
  using instance = await preloader.fork();
  expect(await instance.ask("/signals")).toContain("SIG_DFL: 0>, <Handlers.SIG_DFL: 0>");
  process.kill(instance.pid, "SIGUSR2");
  await until("its handler has run", () => instance.log === "usr2\n");
});

test("reports how its children end, and leaves no zombie", async () => {
  using preloader = preloaderOf(withNotes);
  await preloader.said();
  using polite = await preloader.fork();
  using killed = await preloader.fork();
  using leaving = await preloader.fork();
  polite.lifeline.close();
  expect(await preloader.said()).toBe(`exited ${polite.pid} 0`);
  expect(polite.log).toBe("farewell\n");
  process.kill(killed.pid, "SIGKILL");
  expect(await preloader.said()).toBe(`exited ${killed.pid} -9`);
  await leaving.ask("/leave");
  expect(await preloader.said()).toBe(`exited ${leaving.pid} 5`);
  expect(childrenOf(preloader.pid)).toEqual([]);
});

test("takes orders in any number of pieces, and many at once", async () => {
  using preloader = preloaderOf(withNotes);
  await preloader.said();
  using ends = new Ends(`${preloader.directory}/pieces`);
  for (const byte of frame("fork", "12345")) {
    send(preloader.control.number, new Uint8Array([byte]));
    await Bun.sleep(1);
  }
  for (const end of ends.inherited) {
    await Bun.sleep(1);
    sendDescriptor(preloader.control.number, end.number);
    end.close();
  }
  expect(await preloader.said()).toStartWith("forked 12345 ");
  const many = Array.from({ length: 10 }, () => preloader.order());
  const answers = [];
  for (const _ of many) answers.push((await preloader.said()).replace(/ \d+$/, ""));
  expect(answers).toEqual(many.map((_, at) => `forked ${at + 1}`));
  for (const each of many) {
    expect(await each.said()).toBe("ready 1 done");
    each.lifeline.close();
  }
});

test("survives a fork that fails, and keeps nothing of it", async () => {
  const failing = `
really = os.fork
def fork():
    if os.path.exists("full"):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return really()
os.fork = fork
`;
  using preloader = preloaderOf(withNotes + failing);
  await preloader.said();
  const before = openDescriptors(preloader.pid);
  writeFileSync(`${preloader.directory}/app/full`, "");
  using failed = preloader.order();
  expect(await preloader.said()).toBe("fork_failed 1 fork: Resource temporarily unavailable");
  expect(await readToEnd(failed.lifeline.number)).toBe("");
  holds(preloader, before);
  rmSync(`${preloader.directory}/app/full`);
  using instance = await preloader.fork();
  expect(isRunning(instance.pid)).toBe(true);
});

test("survives it that it has no room for what it receives", async () => {
  const scarce = `
import resource
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (8, limits[1]))
`;
  using preloader = preloaderOf(withNotes + scarce);
  await preloader.said();
  const before = openDescriptors(preloader.pid);
  using failed = preloader.order();
  expect(await preloader.said()).toBe(
    "fork_failed 1 fork: a descriptor was lost for want of a free one",
  );
  expect(await readToEnd(failed.lifeline.number)).toBe("");
  holds(preloader, before);
});

test("ends at once with its descriptor 4, and its instances live on", async () => {
  using preloader = preloaderOf(withNotes);
  await preloader.said();
  using instance = await preloader.fork();
  preloader.control.close();
  expect(await preloader.exited).toBe(0);
  expect(preloader.log).toBe("loaded\n");
  expect(JSON.parse(await instance.ask("/who"))).toContain(instance.pid);
  instance.lifeline.close();
  await untilGone(instance.pid);
  expect(instance.log).toBe("farewell\n");
});

test.each([
  ["an unknown command", frame("forge", "1"), "b'forge\\x001\\x00' is not `fork` and a number"],
  ["no number", frame("fork", "x"), "is not `fork` and a number"],
  ["a command beyond all", Buffer.from([255, 255]), "a command of 65535 bytes, 1024 at most"],
  [
    "bytes instead of descriptors",
    Buffer.concat([frame("fork", "1"), Buffer.from([0, 7])]),
    "b'\\x07' with 0 descriptors instead of one",
  ],
])("ends when it is told %s", async (_, bytes, why) => {
  using preloader = preloaderOf(withNotes);
  await preloader.said();
  send(preloader.control.number, bytes);
  expect(await preloader.exited).toBe(1);
  expect(preloader.log).toContain("preloader: ");
  expect(preloader.log).toContain(why);
});

test("says why the application cannot be loaded", async () => {
  using preloader = preloaderOf("raise ValueError('x1')");
  expect(await preloader.said()).toBe("error_page");
  const size = Buffer.from(await readExactly(preloader.control.number, 4), "latin1");
  const text = await readExactly(preloader.control.number, size.readUInt32BE());
  expect(text).toStartWith("ValueError: x1\n");
  expect(await preloader.exited).toBe(1);
});

test("spawns smartly: one process loads, its children serve", async () => {
  const directory = temporaryDirectory();
  const lines: string[] = [];
  const spawner = new BuiltinSpawner({
    notify: notebook().notify,
    writeOutput: (pid, _root, line) => lines.push(`${pid} ${line}`),
    baseDirectory: directory,
  });
  const root = writeApp(directory, "app", { "wsgi.py": withNotes });
  const request = wsgiRequest(root, { spawnMethod: "smart" });
  const instances = [await spawner.spawn(request), await spawner.spawn(request)];
  const loaders = new Set<number>();
  for (const instance of instances) {
    const answer = parseAnswer(await exchange(instance, get({ PATH_INFO: "/who" })));
    const [loaded = 0, pid = 0, group] = JSON.parse(answer.body) as number[];
    expect([pid, group]).toEqual([instance.pid, instance.pid]);
    loaders.add(loaded);
    instance.release();
  }
  expect(loaders.size).toBe(1);
  await spawner.close(new AbortController().signal);
  const [loadedBy] = loaders;
  await untilGone(loadedBy ?? 0);
  expect(lines.toSorted()).toEqual(
    [`${loadedBy} loaded`, ...instances.map(({ pid }) => `${pid} farewell`)].toSorted(),
  );
});
