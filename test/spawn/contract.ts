/**
 * What every Spawner owes the driver, whoever makes the instances: run by each spawner's test file.
 */
import { expect, test } from "bun:test";

import { sendSignal, signals } from "../../src/native/process.ts";
import { SpawnFailedError, type Spawner, type SpawnRequest } from "../../src/spawn/spawner.ts";
import { until, within } from "../helpers/condition.ts";
import { descriptorFlags, O_NONBLOCK } from "../helpers/descriptors.ts";
import { errorCode, errorOf } from "../helpers/errors.ts";
import { childrenOf, isRunning, untilGone } from "../helpers/processes.ts";
import { connected, exchange, failureOf, pageOf } from "./support.ts";

/** A spawner and the applications it is tried with. */
export interface SpawnerSetup {
  readonly spawner: Spawner;
  readonly pid: () => number;
  /** One that answers `question` with an answer that contains its process id. */
  readonly working: SpawnRequest;
  readonly question: Uint8Array;
  /** One whose start fails with a page that says `no luck today`. */
  readonly failing: SpawnRequest;
  /** One that never becomes ready. */
  readonly hanging: SpawnRequest;
}

const never = new AbortController().signal;

/** @param make a fresh setup for each test; the test closes its spawner. */
export function spawnerContract(name: string, make: () => SpawnerSetup): void {
  const trial = (claim: string, run: (setup: SpawnerSetup) => Promise<void>): void => {
    test(`${name}: ${claim}`, async () => {
      const children = new Set(childrenOf(process.pid).map(({ pid }) => pid));
      const setup = make();
      try {
        await run(setup);
      } finally {
        await setup.spawner.close(never);
      }
      const ours = () => childrenOf(process.pid).filter(({ pid }) => !children.has(pid));
      await until("no child is left", () => ours().length === 0, ours);
    });
  };

  trial("makes an instance that answers sessions, and says its process id", async (setup) => {
    setup.spawner.start();
    const instance = await setup.spawner.spawn(setup.working);
    expect(isRunning(instance.pid)).toBe(true);
    expect(instance.concurrency).toBeGreaterThanOrEqual(1);
    expect(await exchange(instance, setup.question)).toContain(String(instance.pid));
    expect(await exchange(instance, setup.question)).toContain(String(instance.pid));
    instance.release();
  });

  trial("makes instances without having been started first", async ({ spawner, working }) => {
    const instance = await spawner.spawn(working);
    expect(isRunning(instance.pid)).toBe(true);
    instance.release();
  });

  trial("makes a process of its own for each instance, also for two at once", async (setup) => {
    const { spawner, working } = setup;
    const [first, second] = await Promise.all([spawner.spawn(working), spawner.spawn(working)]);
    expect(first.pid).not.toBe(second.pid);
    expect(await exchange(first, setup.question)).toContain(String(first.pid));
    expect(await exchange(second, setup.question)).toContain(String(second.pid));
    first.release();
    second.release();
  });

  trial(
    "lets an instance go on release, and takes a second release in its stride",
    async (setup) => {
      const instance = await setup.spawner.spawn(setup.working);
      instance.release();
      instance.release();
      await untilGone(instance.pid);
      expect(errorOf(() => instance.connect()).message).toContain("after release");
    },
  );

  trial("leaves an instance in peace until its release", async ({ spawner, working, question }) => {
    const [kept, released] = [await spawner.spawn(working), await spawner.spawn(working)];
    released.release();
    await untilGone(released.pid);
    expect(await exchange(kept, question)).toContain(String(kept.pid));
    kept.release();
  });

  trial("sees the death of an instance, which then refuses connections", async (setup) => {
    const instance = await setup.spawner.spawn(setup.working);
    sendSignal(instance.pid, signals.SIGKILL);
    await within("the death to be seen", instance.death);
    expect(errorCode(() => instance.connect())).toBe("ECONNREFUSED");
    instance.release();
  });

  trial("hands a session out in blocking mode", async ({ spawner, working }) => {
    const instance = await spawner.spawn(working);
    using session = connected(instance);
    expect(descriptorFlags(session.number) & O_NONBLOCK).toBe(0);
    instance.release();
  });

  trial("passes the page of a failed start on, and works afterwards", async (setup) => {
    const error = await failureOf(setup.spawner.spawn(setup.failing));
    expect(pageOf(error)).toContain("no luck today");
    const instance = await setup.spawner.spawn(setup.working);
    expect(await exchange(instance, setup.question)).toContain(String(instance.pid));
    instance.release();
  });

  trial("gives a start up at its time limit, and works afterwards", async (setup) => {
    const error = await failureOf(setup.spawner.spawn({ ...setup.hanging, timeoutMs: 1_500 }));
    expect(error.message).toContain("within 1500 ms");
    const instance = await setup.spawner.spawn(setup.working);
    instance.release();
  });

  trial("ends a start under way when it is closed, and starts no other", async (setup) => {
    const { spawner, hanging, working } = setup;
    const underWay = failureOf(spawner.spawn(hanging));
    await until("something has been started", () => childrenOf(process.pid).length > 0);
    await spawner.close(AbortSignal.abort());
    expect(await within("the start to fail", underWay)).toBeInstanceOf(SpawnFailedError);
    expect((await failureOf(spawner.spawn(working))).message).toContain("shutting down");
  });

  trial("answers with its pid", async ({ spawner, pid, working }) => {
    spawner.start();
    const instance = await spawner.spawn(working);
    expect(spawner.pid).toBe(pid());
    instance.release();
  });
}
