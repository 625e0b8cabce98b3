/** Requests on kept sessions that fail, wait too long or are given up; and which are repeated. */
import { describe, expect, test } from "bun:test";
import {
  AnswerTimeoutError,
  Application,
  BusyError,
  ServerGoneError,
  SessionError,
  SpawnError,
} from "../../src/parent/index.ts";
import { ascii } from "../../src/wire/bytes.ts";
import { encodeDecimal } from "../../src/wire/replies.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { app, framedAnswer, get, post, Scene } from "./kept-scene.ts";
import { rejection } from "./rejection.ts";
import { ScriptedInstance } from "./scripted-instance.ts";
import { encodeSpawnException } from "../helpers/peer-messages.ts";

countDescriptors();

describe("a request whose instance ends before it answers", () => {
  test("is repeated on a fresh session when the method allows it", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const answer = scene.pool.request(app, get);
      await instance.next();
      instance.close();
      await scene.peer.take("close");
      const second = await scene.grant();
      await second.next();
      await second.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
    }));

  test("is repeated once more when the fresh one fails too, and then no more", () =>
    Scene.with(async (scene) => {
      const kept = await scene.first();
      const answer = rejection(scene.pool.request(app, get));
      await kept.next();
      kept.close();
      for (let i = 0; i < 2; i += 1) {
        await scene.peer.take("close");
        const fresh = await scene.grant();
        await fresh.next();
        fresh.close();
      }
      expect(await answer).toBeInstanceOf(SessionError);
    }));

  test("is repeated when it ended before the session was taken up", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, get);
      await scene.sayBuiltin();
      (await scene.peer.take("getKept").then(({ tag }) => scene.peer.grant(tag, 99, 900))).close();
      const instance = await scene.grant(1);
      await instance.next();
      await instance.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
    }));

  test("fails when the method does not allow it", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const answer = rejection(scene.pool.request(app, post));
      await instance.next();
      instance.close();
      expect(await answer).toMatchObject({ name: "SessionError", answerBegan: false });
    }));

  test("fails when any of the answer has come", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const answer = rejection(scene.pool.request(app, get));
      await instance.next();
      await instance.write("S");
      instance.close();
      expect(await answer).toMatchObject({ name: "SessionError", answerBegan: true });
    }));
});

describe("a request that comes to nothing", () => {
  test("gets the refusal of its get", () =>
    Scene.with(async (scene) => {
      const answer = rejection(scene.pool.request(app, get));
      await scene.sayBuiltin();
      const { tag } = await scene.peer.take("getKept");
      scene.peer.reply(encodeSpawnException(ascii("no"), Buffer.from("page"), tag));
      expect(await answer).toBeInstanceOf(SpawnError);
    }));

  test("is busy when no session comes in time, and its get is withdrawn", () =>
    Scene.with(async (scene) => {
      const answer = rejection(scene.pool.request(app, { ...get, queueMs: 30 }));
      await scene.sayBuiltin();
      const { tag } = await scene.peer.take("getKept");
      scene.clock.pass(50);
      expect(await answer).toBeInstanceOf(BusyError);
      expect((await scene.peer.take("cancel")).tag).toBe(tag);
    }));

  test("has no time anew to wait for a session when it is repeated", () =>
    Scene.with(async (scene) => {
      const kept = await scene.first();
      const answer = rejection(scene.pool.request(app, { ...get, queueMs: 200 }));
      await kept.next();
      kept.close();
      await scene.peer.take("close");
      const { tag } = await scene.peer.take("getKept");
      scene.clock.pass(100);
      const fresh = await ScriptedInstance.on(scene.peer.grant(tag, 99, 900));
      await fresh.next();
      fresh.close();
      await scene.peer.take("close");
      scene.clock.pass(125);
      expect(await answer).toMatchObject({ message: expect.stringContaining("within 200 ms") });
    }));

  test("is busy at once when as many wait as may", () =>
    Scene.with(async (scene) => {
      const bounds = { ...get, maxWaiting: 2 };
      const waiting = [rejection(scene.pool.request(app, bounds))];
      await scene.sayBuiltin();
      await scene.peer.take("getKept");
      waiting.push(rejection(scene.pool.request(app, bounds)));
      await scene.peer.take("getKept");
      expect(await rejection(scene.pool.request(app, bounds))).toBeInstanceOf(BusyError);
      waiting.push(rejection(scene.pool.request("/srv/other", bounds)));
      await scene.peer.take("getKept");
      scene.pool.close();
      await Promise.all(waiting);
    }));

  test("takes the place of one that gives way when as many wait as may", () =>
    Scene.with(async (scene) => {
      const waiting = [rejection(scene.pool.request(app, get))];
      await scene.sayBuiltin();
      await scene.peer.take("getKept");
      const { promise, reject } = Promise.withResolvers<void>();
      const failed = rejection(promise);
      const givesWay = {
        needsFresh: true,
        maxWaiting: 0,
        givesWay: true,
        serve() {},
        fail: reject,
      };
      scene.pool.sessions?.take(new Application(app), givesWay);
      await scene.peer.take("getKept");
      const bounds = { ...get, maxWaiting: 2 };
      waiting.push(rejection(scene.pool.request(app, bounds)));
      expect(await failed).toBeInstanceOf(BusyError);
      expect(await rejection(scene.pool.request(app, bounds))).toBeInstanceOf(BusyError);
      scene.pool.close();
      for (const error of await Promise.all(waiting)) expect(error).not.toBeInstanceOf(BusyError);
    }));

  test("is out of time when the instance does not answer, which ends the session", () =>
    Scene.with(async (scene) => {
      const answer = rejection(scene.pool.request(app, { ...get, responseMs: 30 }));
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      scene.clock.pass(100); // the first tick after it was sent begins the time
      expect(await answer).toBeInstanceOf(AnswerTimeoutError);
      expect(await scene.peer.take("abandon")).toMatchObject({ sessionId: 0, what: "GET" });
    }));

  test("is overdue when it has not ended in time, which leaves its instance none", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, { ...get, requestMs: 30 });
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      await instance.write("Status: 200 OK\r\nContent-Length: 2\r\n\r\nh");
      const body = rejection((await answer).bytes());
      scene.clock.pass(50);
      expect(await body).toBeInstanceOf(AnswerTimeoutError);
      expect(await scene.peer.take("overdue")).toMatchObject({ sessionId: 0, what: "GET" });
    }));

  test("is given up by its signal while it waits", () =>
    Scene.with(async (scene) => {
      const controller = new AbortController();
      const { signal } = controller;
      const answer = rejection(scene.pool.request(app, { ...get, signal }));
      await scene.sayBuiltin();
      await scene.peer.take("getKept");
      controller.abort(new Error("enough"));
      expect(await answer).toHaveProperty("message", "enough");
      await scene.inTime(scene.peer.take("cancel"));
    }));

  test("is given up by its signal on a session, and inside the answer: that ends the session", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const controller = new AbortController();
      const { signal } = controller;
      const answer = scene.pool.request(app, { ...get, signal });
      await instance.next();
      await instance.write("Status: 200 OK\r\nContent-Length: 20\r\n\r\nhi");
      const body = rejection((await answer).text());
      controller.abort(new Error("enough"));
      expect(await body).toHaveProperty("message", "enough");
      expect((await scene.peer.take("abandon")).sessionId).toBe(0);
    }));

  test("fails with the connection, unless it is on a session: that goes on to its end", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const under = scene.pool.request(app, get);
      await instance.next();
      const waiting = rejection(scene.pool.request(app, get));
      await scene.peer.take("getKept");
      scene.peer.die();
      expect(await waiting).toBeInstanceOf(ServerGoneError);
      await instance.write(framedAnswer);
      expect(await (await under).text()).toBe("hi");
      await until("the session ends with its request", () => instance.sawEnd || instance.closed);
    }));
});

test("a request that came while too many questions waited spoils nothing for the next", () =>
  Scene.with(async (scene) => {
    const questions = Array.from({ length: 300 }, () => scene.pool.getCount());
    expect(await rejection(scene.pool.request(app, get))).toBeInstanceOf(BusyError);
    for (const question of questions) {
      await scene.peer.take("getCount");
      scene.peer.reply(encodeDecimal(1));
      await question;
    }
    await scene.first();
  }));
