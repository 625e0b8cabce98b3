/**
 * Gets while instances are short, which a recall tells, against a server and instances that the
 * test speaks for.
 */
import { expect, test } from "bun:test";

import { BusyError } from "../../src/parent/index.ts";
import { encodeRecall } from "../../src/wire/replies.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { until } from "../helpers/condition.ts";
import { app, framedAnswer, get, Scene } from "./kept-scene.ts";
import { rejection } from "./rejection.ts";

countDescriptors();

test("who needs a session of his own has a get at once", () =>
  Scene.with(async (scene) => {
    const lost = await scene.first();
    const answer = scene.pool.request(app, get);
    await lost.next();
    const other = scene.pool.request(app, get);
    const instance = await scene.grant();
    await instance.next();
    scene.peer.reply(encodeRecall(1));
    await scene.peer.take("keep");
    void rejection(scene.pool.request(app, get));
    await scene.asksNothing();
    lost.close();
    const fresh = await scene.grant(1);
    await fresh.next();
    for (const one of [instance, fresh]) await one.write(framedAnswer);
    expect(await (await answer).text()).toBe("hi");
    expect(await (await other).text()).toBe("hi");
    for (const one of [instance, fresh]) one.close();
  }));

test("gets that were sent before there was a session are withdrawn, but for one", () =>
  Scene.with(async (scene) => {
    const answers = Array.from({ length: 8 }, () => scene.pool.request(app, get));
    for (const answer of answers) void rejection(answer);
    await scene.sayBuiltin();
    const instance = await scene.grant();
    await instance.next();
    for (let count = 1; count < 8; count += 1) await scene.peer.take("getKept");
    scene.peer.reply(encodeRecall(0));
    await scene.peer.take("keep");
    for (let count = 1; count < 7; count += 1) await scene.peer.take("cancel");
    await scene.asksNothing();
    instance.close();
  }));

test("who was failed by a process has no session of it that was there before", () =>
  Scene.with(async (scene) => {
    const [first, second] = ["/first", "/second"].map((uri) => ({
      headers: [["REQUEST_METHOD", "GET"] as const, ["REQUEST_URI", uri] as const],
    }));
    const real = setTimeout;
    const later: (() => void)[] = [];
    const hold = (then: () => void, ms: number) => (ms === 50 ? later.push(then) : real(then, ms));
    globalThis.setTimeout = hold as never;
    using _ = { [Symbol.dispose]: () => (globalThis.setTimeout = real) };
    const failed = scene.pool.request(app, first ?? get);
    await scene.sayBuiltin();
    const other = scene.pool.request(app, second ?? get);
    const dying = await scene.grant();
    await dying.next();
    dying.close();
    await until("it is to be repeated", () => later.length > 0);
    // Of the same process, for all that anybody knows.
    const instance = await scene.grant();
    expect((await instance.next()).headers["REQUEST_URI"]).toBe("/second");
    await instance.write(framedAnswer);
    expect(await (await other).text()).toBe("hi");
    for (const repeat of later) repeat();
    const fresh = await scene.grant(1);
    expect((await fresh.next()).headers["REQUEST_URI"]).toBe("/first");
    await fresh.write(framedAnswer);
    expect(await (await failed).text()).toBe("hi");
    for (const one of [instance, fresh]) one.close();
  }));

test("who waits for a session in place of one that was recalled does not count as waiting", () =>
  Scene.with(async (scene) => {
    const instance = await scene.first();
    const answer = scene.pool.request(app, get);
    await instance.next();
    const bounds = { ...get, maxWaiting: 1 };
    const waiting = [rejection(scene.pool.request(app, bounds))];
    await scene.peer.take("getKept");
    scene.peer.reply(encodeRecall(0));
    await scene.peer.take("keep");
    expect(await rejection(scene.pool.request(app, bounds))).toBeInstanceOf(BusyError);
    await instance.write(framedAnswer);
    expect(await (await answer).text()).toBe("hi");
    await scene.peer.take("close");
    waiting.push(rejection(scene.pool.request(app, bounds)));
    expect(await rejection(scene.pool.request(app, bounds))).toBeInstanceOf(BusyError);
    scene.pool.close();
    for (const error of await Promise.all(waiting)) expect(error).not.toBeInstanceOf(BusyError);
  }));
