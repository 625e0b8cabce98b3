/**
 * The reports of sessions that are over (PROTOCOL section 10, `done`): what the loaders of Bun and
 * Node owe the pool, run by the test file of each.
 */
import { afterEach, beforeAll, afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { AppType } from "../../src/wire/app-request.ts";
import { until } from "../helpers/condition.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer } from "./kept-answers.ts";
import { endWriting, get, parseAnswer, post, writeApp } from "./support.ts";

const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, ...more });
const kept = (path: string) => to(path, { SESSION_KEEP: "1" });

const isDone = (instance: BareInstance, sessions: number) =>
  until(
    `${sessions} are done`,
    () => instance.done() === sessions,
    () => instance.said,
  );

/**
 * @param program what lies in `file`. It answers `/text`, `/slow` and `/ignore` as for
 * keptSessions(); `/never` not at all; `/begin` with `a` and no end; `/flood` without end; and
 * `/late`, of which it says `late`, some time after it has learned that the client is `gone`, when
 * it says `settled`.
 */
export function doneReports(appType: AppType, file: string, program: string): void {
  let directory: string;
  let root: string;
  const begun: BareInstance[] = [];
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "pool-"));
    root = writeApp(directory, "app", { [file]: program });
  });
  afterAll(() => rmSync(directory, { recursive: true }));
  afterEach(async () => {
    await Promise.all(begun.splice(0).map((instance) => instance.end()));
  });
  const begin = async (concurrency = 4) => {
    const instance = new BareInstance(directory);
    begun.push(instance);
    return instance.begin(root, appType, { concurrency });
  };

  test("done: it promises to report the ends of its sessions", async () => {
    expect((await begin()).said).toEqual([["ready", "4", "done"]]);
  });

  test("done: a session is reported before its client can see its end, once", async () => {
    const instance = await begin();
    const requests = [to("/text"), to("/slow"), Buffer.from([0, 9, 9, 9]), new Uint8Array(0)];
    for (const [index, bytes] of requests.entries()) {
      using session = instance.connect();
      await sendAll(session.number, bytes);
      if (index > 1) endWriting(session.number);
      await readToEnd(session.number);
      expect(instance.done()).toBe(index + 1);
    }
  });

  test("done: a kept session is reported at its end, and for no request", async () => {
    const instance = await begin();
    const session = instance.connect();
    for (const path of ["/text", "/slow", "/text"]) {
      await sendAll(session.number, kept(path));
      await nextAnswer(session);
    }
    expect(instance.done()).toBe(0);
    session.close();
    await isDone(instance, 1);
  });

  test("done: a body that nobody reads holds nothing up once the answer is out", async () => {
    const instance = await begin();
    using session = instance.connect();
    const start = post("b".repeat(1_000), { REQUEST_URI: "/ignore" }).subarray(0, -500);
    await sendAll(session.number, start);
    expect(parseAnswer(await readToEnd(session.number)).body).toBe("ignored");
    expect(instance.done()).toBe(1);
  });

  test("done: a client that left is not waited for, nor the handler that never ends", async () => {
    const instance = await begin();
    const sessions = ["/never", "/begin", "/never"].map((path) => ({
      session: instance.connect(),
      request: to(path),
    }));
    for (const { session, request } of sessions) await sendAll(session.number, request);
    using other = instance.connect();
    await sendAll(other.number, kept("/text"));
    await nextAnswer(other);
    expect(instance.done()).toBe(0);
    for (const { session } of sessions) session.close();
    await isDone(instance, 3);
  });

  test("done: one request at a time is over only when its handler has settled", async () => {
    const instance = await begin(1);
    const left = instance.connect();
    await sendAll(left.number, to("/late"));
    await until("it has begun", () => instance.lines.some((line) => line.includes("late")));
    left.close();
    await until("it knows", () => instance.lines.some((line) => line.includes("gone")));
    expect(instance.done()).toBe(0);
    await isDone(instance, 1);
    await until("that is read, too", () => instance.lines.at(-1)?.includes("settled"));
  });

  test("done: an answer is over when its client left while it was sent, one at a time", async () => {
    const instance = await begin(1);
    for (let turn = 1; turn <= 30; turn += 1) {
      const session = instance.connect();
      await sendAll(session.number, to("/flood"));
      await Bun.sleep(turn % 6);
      session.close();
      await isDone(instance, turn);
    }
  });
}
