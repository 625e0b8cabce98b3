/** Sessions that outlive their pool server, against a server and instances the test speaks for. */
import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Guardian, Orphans } from "../../src/parent/orphans.ts";
import type { SessionWaiter } from "../../src/parent/session-line.ts";
import type { SessionStream } from "../../src/parent/session-stream.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { app, framedAnswer, get, Scene } from "./kept-scene.ts";
import type { ScriptedInstance } from "./scripted-instance.ts";

countDescriptors();
const newDirectory = temporaryDirectories();

/** Who asks the next server. */
class TestGuardian implements Guardian {
  orphans: Orphans | undefined;
  /** What the next server has given. */
  given = 0;
  readonly waiting: TestWaiter[] = [];

  adopt(orphans: Orphans): void {
    this.orphans = orphans;
  }

  newSessions(): number {
    return this.given;
  }

  next(): SessionWaiter | undefined {
    return this.waiting.shift();
  }

  lend(waiter: TestWaiter): boolean {
    return this.orphans?.lend(waiter) === true;
  }
}

class TestWaiter implements SessionWaiter {
  readonly needsFresh: boolean;
  readonly maxWaiting = 0;
  readonly token: string | undefined;
  stream: SessionStream | undefined;

  constructor(needsFresh = false, token?: string) {
    this.needsFresh = needsFresh;
    this.token = token;
  }

  serve(stream: SessionStream): void {
    this.stream = stream;
  }

  fail(): void {}
}

function guarded(scene: Scene): TestGuardian {
  const guardian = new TestGuardian();
  if (scene.pool.sessions !== undefined) scene.pool.sessions.guardian = guardian;
  return guardian;
}

async function die(scene: Scene): Promise<void> {
  scene.peer.die();
  await until("the connection has ended", () => !scene.pool.isOpen);
}

/** With one session of an instance, which is idle when the server dies. */
async function afterDeath(
  body: (guardian: TestGuardian, scene: Scene, instance: ScriptedInstance) => Promise<void>,
  root = app,
): Promise<void> {
  await Scene.with(async (scene) => {
    const instance = await scene.first(root);
    const guardian = guarded(scene);
    await die(scene);
    await body(guardian, scene, instance);
  });
}

const isEnded = (instance: ScriptedInstance) =>
  until("the instance sees its end", () => instance.closed || instance.sawEnd);

test("one that is idle is lent, and goes to whoever waits next", () =>
  afterDeath(async (guardian, scene, instance) => {
    const [first, second, third] = [new TestWaiter(), new TestWaiter(), new TestWaiter()];
    expect(guardian.lend(first)).toBe(true);
    expect(guardian.lend(second)).toBe(false);
    guardian.waiting.push(third);
    first.stream?.offer();
    expect(third.stream).toBe(first.stream);
    third.stream?.offer();
    scene.clock.pass(75);
    expect(guardian.lend(second)).toBe(true);
    second.stream?.close();
    await isEnded(instance);
  }));

test("one that serves a request when the server dies goes to whoever waits next", () =>
  Scene.with(async (scene) => {
    const instance = await scene.first();
    const guardian = guarded(scene);
    const answer = scene.pool.request(app, get);
    await instance.next();
    await die(scene);
    const waiter = new TestWaiter();
    guardian.waiting.push(waiter);
    await instance.write(framedAnswer);
    expect(await (await answer).text()).toBe("hi");
    expect(waiter.stream?.isOpen).toBe(true);
    waiter.stream?.close();
    await isEnded(instance);
  }));

test("it ends when it has had no request for a moment", () =>
  afterDeath(async (guardian, scene, instance) => {
    scene.clock.pass(100);
    expect(guardian.lend(new TestWaiter())).toBe(false);
    await isEnded(instance);
  }));

test("it ends when the next server has given as many", () =>
  afterDeath(async (guardian, scene, instance) => {
    guardian.given = 1;
    expect(guardian.lend(new TestWaiter())).toBe(false);
    scene.clock.pass(25);
    await isEnded(instance);
  }));

test("it ends well before its instance, however many wait", () =>
  afterDeath(async (guardian, scene, instance) => {
    const waiter = new TestWaiter();
    expect(guardian.lend(waiter)).toBe(true);
    scene.clock.pass(5_000);
    guardian.waiting.push(new TestWaiter());
    waiter.stream?.offer();
    expect(guardian.waiting).toHaveLength(1);
    await isEnded(instance);
  }));

test("it serves nobody once restart.txt has come", async () => {
  const root = newDirectory();
  mkdirSync(join(root, "tmp"));
  const body = async (guardian: TestGuardian, scene: Scene, instance: ScriptedInstance) => {
    writeFileSync(join(root, "tmp/restart.txt"), "");
    expect(guardian.lend(new TestWaiter())).toBe(false);
    expect(guardian.lend(new TestWaiter())).toBe(false);
    scene.clock.pass(25);
    await isEnded(instance);
  };
  await afterDeath(body, root);
});

test("it ends when a restart is wanted, at once or after its request", () =>
  afterDeath(async (guardian, _, instance) => {
    const waiter = new TestWaiter();
    expect(guardian.lend(waiter)).toBe(true);
    expect(guardian.orphans?.isWanted).toBe(true);
    guardian.orphans?.end();
    expect(guardian.orphans?.isWanted).toBe(false);
    expect(waiter.stream?.isOpen).toBe(true);
    guardian.waiting.push(new TestWaiter());
    waiter.stream?.offer();
    expect(guardian.waiting).toHaveLength(1);
    await isEnded(instance);
  }));

test("it serves nobody who takes only a session of his own, or goes on with one instance", () =>
  afterDeath(async (guardian, _, instance) => {
    expect(guardian.lend(new TestWaiter(true))).toBe(false);
    expect(guardian.lend(new TestWaiter(false, "token"))).toBe(false);
    const waiter = new TestWaiter();
    expect(guardian.lend(waiter)).toBe(true);
    waiter.stream?.close();
    await isEnded(instance);
  }));

test("nobody has it where there is no guardian", () =>
  Scene.with(async (scene) => {
    const instance = await scene.first();
    await die(scene);
    await isEnded(instance);
  }));
