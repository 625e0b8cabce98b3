/** How many preloaders there are, and when they go. */
import { expect, test } from "bun:test";

import type { Preloader } from "../../src/spawn/builtin/preloader.ts";
import { Preloaders } from "../../src/spawn/builtin/preloaders.ts";
import { sendSignal, signals } from "../../src/native/process.ts";
import { fromText, type ByteString } from "../../src/wire/bytes.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { isRunning, untilGone } from "../helpers/processes.ts";
import { smallPreloader } from "./small-preloader.ts";

countDescriptors();

function never(): Preloader {
  throw new Error("it has one");
}

async function gone(pid: number): Promise<void> {
  await untilGone(pid);
}

/** A set of preloaders that is closed when the test is over, and who was started in it. */
function scene(idleMs?: number) {
  const preloaders = new Preloaders(idleMs);
  const started: number[] = [];
  const start = (): Preloader => {
    const preloader = smallPreloader("", () => {});
    started.push(preloader.pid);
    return preloader;
  };
  const use = (root: string, signature = "") =>
    preloaders.with(fromText(root), signature, start, async (preloader) => {
      await preloader.lifeline.announced;
      return preloader.pid;
    });
  return { preloaders, started, use, [Symbol.asyncDispose]: () => preloaders.close() };
}

test("an application has one, also when several spawns want it at once", async () => {
  await using it = scene();
  const [first, second] = await Promise.all([it.use("/a"), it.use("/a")]);
  expect(second).toBe(first);
  expect(await it.use("/a")).toBe(first);
  expect(it.started).toEqual([first]);
});

test("one that has died is replaced", async () => {
  await using it = scene();
  const first = await it.use("/a");
  sendSignal(first, signals.SIGKILL);
  await gone(first);
  await until("another is used", async () => (await it.use("/a")) !== first);
});

test("one that would run its instances otherwise is replaced", async () => {
  await using it = scene();
  const first = await it.use("/a", "as nobody");
  expect(await it.use("/a", "as somebody")).not.toBe(first);
  await gone(first);
});

test("one goes on reload, but not before the spawn that uses it is done", async () => {
  await using it = scene();
  const first = await it.use("/a");
  const { promise: done, resolve: finish } = Promise.withResolvers<void>();
  const using = it.preloaders.with(fromText("/a"), "", never, () => done);
  it.preloaders.reload(fromText("/a"));
  expect(await it.use("/a")).not.toBe(first);
  expect(isRunning(first)).toBe(true);
  finish();
  await using;
  await gone(first);
});

test("there are no more than the pool has places: the longest unused goes", async () => {
  await using it = scene();
  it.preloaders.setMax(2);
  const [a, b] = [await it.use("/a"), await it.use("/b")];
  await it.use("/a");
  const c = await it.use("/c");
  await gone(b);
  expect([a, c].map(isRunning)).toEqual([true, true]);
  it.preloaders.setMax(1);
  await gone(a);
  expect(isRunning(c)).toBe(true);
});

test("one is not too many for the spawn that wants it, however many hang in theirs", async () => {
  await using it = scene();
  it.preloaders.setMax(1);
  await it.use("/hangs");
  const { promise: done, resolve: finish } = Promise.withResolvers<void>();
  const using = it.preloaders.with(fromText("/hangs"), "", never, () => done);
  const announced = it.preloaders.with(
    fromText("/b"),
    "",
    () => smallPreloader("", () => {}),
    (preloader) => preloader.lifeline.announced,
  );
  expect((await announced)?.kind).toBe("ready");
  finish();
  await using;
});

test("where there are as many as places, who takes turns with them is started without", async () => {
  await using it = scene();
  const [a, b, c] = ["/a", "/b", "/c"].map(fromText) as [ByteString, ByteString, ByteString];
  expect(it.preloaders.isWorthOne(a)).toBe(true);
  it.preloaders.setMax(2);
  await it.use("/a");
  await it.use("/b");
  // Those that have one keep it, however often others come in their turn.
  for (let turn = 0; turn < 20; turn += 1) {
    expect([a, b].map((root) => it.preloaders.isWorthOne(root))).toEqual([true, true]);
    await it.use("/a");
    await it.use("/b");
    expect(it.preloaders.isWorthOne(c)).toBe(false);
  }
  expect(it.started).toHaveLength(2);
});

test("one that is used less often than another application is started makes room", async () => {
  await using it = scene();
  it.preloaders.setMax(1);
  await it.use("/a");
  await until("the first start of the other is a moment ago, and a's a longer one", async () => {
    const wasWorth = it.preloaders.isWorthOne(fromText("/b"));
    return wasWorth || it.preloaders.isWorthOne(fromText("/b"));
  });
  const [a] = it.started;
  const b = await it.use("/b");
  if (a !== undefined) await gone(a);
  expect(isRunning(b)).toBe(true);
});

test("one that is in use makes no room for another's", async () => {
  await using it = scene();
  it.preloaders.setMax(1);
  await it.use("/a");
  const { promise: done, resolve: finish } = Promise.withResolvers<void>();
  const using = it.preloaders.with(fromText("/a"), "", never, () => done);
  for (let start = 0; start < 1_000; start += 1) {
    expect(it.preloaders.isWorthOne(fromText("/b"))).toBe(false);
  }
  finish();
  await using;
});

test("one that has forked nothing for long goes", async () => {
  await using it = scene(50);
  const first = await it.use("/a");
  await gone(first);
  expect(await it.use("/a")).not.toBe(first);
});
