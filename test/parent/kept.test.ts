/**
 * Kept sessions, against a server and instances that the test speaks for: when a session is taken
 * again, given back, recalled, dropped.
 */
import { describe, expect, test } from "bun:test";
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Application, SessionError } from "../../src/parent/index.ts";
import { encodeRecall } from "../../src/wire/replies.ts";
import { until } from "../helpers/condition.ts";
import { countDescriptors } from "../helpers/descriptors.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { app, framedAnswer, get, post, Scene } from "./kept-scene.ts";
import { rejection } from "./rejection.ts";
import { ScriptedInstance } from "./scripted-instance.ts";

countDescriptors();
const newDirectory = temporaryDirectories();

describe("a session that is kept", () => {
  test("serves the next request too, without a word to the pool", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      for (let i = 0; i < 3; i += 1) {
        const answer = scene.pool.request(app, get);
        const { headers } = await instance.next();
        expect(headers).toEqual({ REQUEST_METHOD: "GET", SESSION_KEEP: "1" });
        await instance.write(framedAnswer);
        expect(await (await answer).text()).toBe("hi");
      }
      expect(scene.peer.commands).toEqual([]);
    }));

  test("tells the pool at once of more requests than it need not know of", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first(new Application({ root: app, maxUntold: 2 }));
      for (let count = 2; count <= 7; count += 1) {
        const answer = scene.pool.request(app, get);
        await instance.next();
        await instance.write(framedAnswer);
        await (await answer).text();
        await scene.asksNothing();
        expect(scene.peer.served).toBe(count - (count % 3));
      }
    }));

  test("is given back when nobody wants it for a moment", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      expect((await scene.inTime(scene.peer.take("close"))).sessionId).toBe(0);
      await until("the instance sees its end", () => instance.closed || instance.sawEnd);
    }));

  test("is given back also when its answer has taken long", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, get);
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      await instance.write("Status: 200 OK\r\nContent-Length: 2\r\n\r\nh");
      const text = (await answer).text();
      // Several ticks: with no request left that waits for an answer, the clock has stopped.
      scene.clock.pass(100);
      await instance.write("i");
      expect(await text).toBe("hi");
      expect((await scene.inTime(scene.peer.take("close"))).sessionId).toBe(0);
    }));

  test("is given back at once when it is recalled and idle", () =>
    Scene.with(async (scene) => {
      await scene.first();
      scene.peer.reply(encodeRecall(0));
      expect((await scene.peer.take("close")).sessionId).toBe(0);
    }));

  test("is kept for the request at hand when it is recalled, then given back", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const answer = scene.pool.request(app, get);
      await instance.next();
      scene.peer.reply(encodeRecall(0));
      expect((await scene.peer.take("keep")).sessionId).toBe(0);
      await instance.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
      expect((await scene.peer.take("close")).sessionId).toBe(0);
      expect(scene.peer.served).toBe(2);
    }));

  test("tells, by its recall, that instances are short: a further get waits for a tick", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const answer = scene.pool.request(app, get);
      await instance.next();
      scene.peer.reply(encodeRecall(0));
      await scene.peer.take("keep");
      void rejection(scene.pool.request(app, get));
      // Sent in the same turn: the get would be before it.
      void rejection(scene.pool.getCount());
      await scene.peer.take("getCount");
      await scene.inTime(scene.peer.take("getKept"));
      await instance.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
    }));

  test("is closed when the signal is aborted while the body comes", () =>
    Scene.with(async (scene) => {
      const aborter = new AbortController();
      const reason = new Error("not wanted");
      const instance = await scene.first();
      const answer = scene.pool.request(app, { ...get, signal: aborter.signal });
      await instance.next();
      await instance.write("Status: 200 OK\r\nContent-Length: 2\r\n\r\nh");
      const text = rejection((await answer).text());
      aborter.abort(reason);
      expect(await text).toBe(reason);
      await scene.peer.take("abandon");
    }));

  test("is no longer known once it is closed: a recall of it needs no answer", () =>
    Scene.with(async (scene) => {
      await scene.first();
      scene.peer.reply(Buffer.concat([encodeRecall(0), encodeRecall(0), encodeRecall(77)]));
      await scene.peer.take("close");
      void rejection(scene.pool.getCount());
      await scene.peer.take("getCount");
    }));

  test("does not keep the pool from being asked again, however busy it is", () =>
    Scene.with(async (scene) => {
      const first = await scene.first();
      const second = scene.grant(1);
      const isServed = async () => {
        scene.clock.pass(25);
        const answer = scene.pool.request(app, get);
        await until("a request or the end", () => first.received.length > 0 || first.sawEnd);
        // The pool is asked for another session, and the first is given back before that.
        const instance = first.received.length > 0 ? first : await second;
        await instance.next();
        await instance.write(framedAnswer);
        expect(await (await answer).text()).toBe("hi");
        return instance !== first;
      };
      await until("another session serves", isServed);
    }));

  test("serves no further request when restart.txt has appeared: that asks the pool", () =>
    Scene.with(async (scene) => {
      const application = newDirectory();
      const answer = scene.pool.request(application, get);
      await scene.sayBuiltin();
      const old = await scene.grant();
      await old.next();
      await old.write(framedAnswer);
      await (await answer).text();
      mkdirSync(join(application, "tmp"));
      writeFileSync(join(application, "tmp/restart.txt"), "");
      const next = scene.pool.request(application, get);
      const fresh = await scene.grant(1);
      await until("the old instance sees the end of its session", () => old.sawEnd || old.closed);
      await fresh.next();
      await fresh.write(framedAnswer);
      await (await next).text();
      // The server could not delete it: it has been heeded all the same.
      const again = scene.pool.request(application, get);
      await fresh.next();
      // One that waits does not get what serves at the moment either, but a session of its own.
      utimesSync(join(application, "tmp/restart.txt"), 1, 1);
      const waiting = scene.pool.request(application, get);
      await fresh.write(framedAnswer);
      await (await again).text();
      const { tag } = await scene.peer.take("getKept");
      await scene.peer.take("close");
      const third = await ScriptedInstance.on(scene.peer.grant(tag, 102, 2));
      await third.next();
      await third.write(framedAnswer);
      expect(await (await waiting).text()).toBe("hi");
    }));

  test("is told of when its instance ends", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      instance.close();
      expect((await scene.peer.take("close")).sessionId).toBe(0);
    }));

  test("is closed when it says something unasked", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      await instance.write("Status: 200 OK\r\n");
      expect((await scene.peer.take("close")).sessionId).toBe(0);
    }));

  test("goes straight to a request that waits", () =>
    Scene.with(async (scene) => {
      const first = scene.pool.request(app, get);
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      const second = scene.pool.request(app, get);
      await scene.peer.take("getKept");
      await instance.write(framedAnswer);
      await (await first).text();
      await instance.next();
      await instance.write(framedAnswer);
      expect(await (await second).text()).toBe("hi");
      // Nobody waits for the second get any more.
      await scene.inTime(scene.peer.take("cancel"));
      await scene.inTime(scene.peer.take("close"));
    }));

  test("keeps the pool's line short: one get waits, and up to four as time goes by", () =>
    Scene.with(async (scene) => {
      const instance = await scene.first();
      const busy = scene.pool.request(app, get);
      await instance.next();
      const waiting = Array.from({ length: 50 }, () => scene.pool.request(app, get));
      for (let gets = 1; gets <= 4; gets += 1) {
        await scene.peer.take("getKept");
        await scene.asksNothing();
        scene.clock.pass(25);
      }
      await scene.asksNothing();
      for (const answer of [busy, ...waiting]) {
        await instance.write(framedAnswer);
        expect(await (await answer).text()).toBe("hi");
        if (answer !== waiting.at(-1)) await instance.next();
      }
      scene.clock.pass(25);
      for (let i = 0; i < 4; i += 1) await scene.peer.take("cancel");
    }));

  test("asks less and less often for more sessions than it is given", () =>
    Scene.with(async (scene) => {
      let instance = await scene.first();
      const answers = Array.from({ length: 7 }, () => scene.pool.request(app, get));
      let { tag } = await scene.peer.take("getKept");
      await instance.next();
      for (const [session, pauseMs] of [100, 200, 400, 800, 800].entries()) {
        scene.peer.reply(encodeRecall(session));
        await scene.peer.take("keep");
        await instance.write(framedAnswer);
        await scene.peer.take("close");
        instance = await ScriptedInstance.on(scene.peer.grant(tag, 100, session + 1));
        await instance.next();
        scene.clock.pass(pauseMs - 25);
        await scene.asksNothing();
        scene.clock.pass(25);
        ({ tag } = await scene.peer.take("getKept"));
      }
      for (const answer of answers) {
        if (answer === answers.at(-1)) await instance.next();
        if (answer === answers.at(-1) || answer === answers.at(-2)) {
          await instance.write(framedAnswer);
        }
        expect(await (await answer).text()).toBe("hi");
      }
    }));
});

describe("a session is not kept", () => {
  for (const [what, text, body] of [
    ["without framing", "Status: 200 OK\r\n\r\nhi", "hi"],
    ["that is longer than it says", "Status: 200 OK\r\nContent-Length: 2\r\n\r\nhi!", "hi"],
    ["with bytes after its last chunk", chunkedAnswer("2\r\nhi\r\n0\r\n\r\nx"), "hi"],
    ["that says so", framedAnswer.replace("\r\n", "\r\nConnection: x, Close\r\n"), "hi"],
    ["in HTTP's form", framedAnswer.replace("Status:", "HTTP/1.1"), "hi"],
  ] as const) {
    test(`after an answer ${what}`, () =>
      Scene.with(async (scene) => {
        const answer = scene.pool.request(app, get);
        await scene.sayBuiltin();
        const instance = await scene.grant();
        await instance.next();
        await instance.write(text);
        // Of the others it is known before the instance has closed.
        if (what === "without framing") instance.close();
        const response = await answer;
        expect(response.headers.map(([name]) => name)).not.toContain("Connection");
        expect(await response.text()).toBe(body);
        expect((await scene.peer.take("close")).sessionId).toBe(0);
        // The next request asks again.
        void rejection(scene.pool.request(app, get));
        await scene.peer.take("getKept");
      }));
  }

  for (const text of [
    "Status: 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "Status: 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
    chunkedAnswer("2\nhi"),
  ]) {
    test(`and the request fails, after ${JSON.stringify(text)}`, () =>
      Scene.with(async (scene) => {
        const answer = rejection(scene.pool.request(app, get));
        await scene.sayBuiltin();
        const instance = await scene.grant();
        await instance.next();
        await instance.write(text);
        expect(await answer).toBeInstanceOf(SessionError);
        expect((await scene.peer.take("abandon")).sessionId).toBe(0);
      }));
  }

  test("after an answer that came before the request was whole", () =>
    Scene.with(async (scene) => {
      const body = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) });
      const answer = scene.pool.request(app, { ...post, body });
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      await instance.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
      expect((await scene.peer.take("close")).sessionId).toBe(0);
    }));

  test("where the server's spawner is not its own", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, get);
      await scene.sayBuiltin(1);
      const { tag } = await scene.peer.take("getTagged");
      const instance = await ScriptedInstance.on(scene.peer.grant(tag, 100, 0));
      expect((await instance.next()).headers).toEqual({ REQUEST_METHOD: "GET" });
      await until("the request ends by half-close", () => instance.sawEnd);
      await instance.write(framedAnswer);
      expect(await (await answer).text()).toBe("hi");
      expect((await scene.peer.take("close")).sessionId).toBe(0);
    }));
});

describe("bodies on a kept session", () => {
  test("without a length go out in chunks, in several writes, and the session is kept", () =>
    Scene.with(async (scene) => {
      const body = new Response("some body").body;
      const answer = scene.pool.request(app, { ...post, body });
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.body("9\r\nsome body\r\n0\r\n\r\n");
      expect((await instance.next()).headers).toMatchObject({ HTTP_TRANSFER_ENCODING: "chunked" });
      await instance.write(framedAnswer);
      await (await answer).text();
      const next = scene.pool.request(app, get);
      await instance.next();
      await instance.write(framedAnswer);
      expect(await (await next).text()).toBe("hi");
      expect(scene.peer.commands).toEqual([]);
    }));

  test("of bytes get the length they have", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, { ...post, body: Buffer.from("bytes") });
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.body("bytes");
      expect((await instance.next()).headers).toMatchObject({ CONTENT_LENGTH: "5" });
      await instance.write(framedAnswer);
      await (await answer).text();
    }));

  test("of answers come in chunks as well, without their frames and header", () =>
    Scene.with(async (scene) => {
      const answer = scene.pool.request(app, get);
      await scene.sayBuiltin();
      const instance = await scene.grant();
      await instance.next();
      for (const byte of chunkedAnswer("2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n")) {
        await instance.write(byte);
      }
      const response = await answer;
      expect(response.headers).toEqual([["A", "b"]]);
      expect(await response.text()).toBe("hi you");
    }));
});

function chunkedAnswer(body: string): string {
  return `Status: 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
}
