/** Instances of ASGI applications: how they begin, what their failures do, how they end. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";

import type { Instance } from "../../src/spawn/spawner.ts";
import { MAX_CONCURRENCY } from "../../src/wire/instance-protocol.ts";
import { until } from "../helpers/condition.ts";
import { openDescriptors } from "../helpers/descriptors.ts";
import { isRunning } from "../helpers/processes.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application, asgiRequest, hiddenUvloop, withoutUvloop } from "./asgi-programs.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { connected, exchange, failureOf, get, pageOf, parseAnswer, writeApp } from "./support.ts";

const { directory, spawner, lines, isTold } = spawnerScene();
let instance: Instance;
let apps = 0;

function newRoot(files: Readonly<Record<string, string>> = { "asgi.py": application }): string {
  apps += 1;
  return writeApp(directory, `app${apps}`, files);
}

/** Those that the shared instance has. */
const sockets = () =>
  [...openDescriptors(instance.pid).values()].filter((what) => what.startsWith("socket:"));

/** One that a test may end. */
const another = (spawnMethod: "smart" | "conservative" = "conservative") =>
  spawner.spawn(asgiRequest(newRoot(), { spawnMethod }));

beforeAll(async () => {
  instance = await another();
});

const to = (path: string, more: Readonly<Record<string, string>> = {}) =>
  get({ REQUEST_URI: path, ...more });
const kept = (path: string, more: Readonly<Record<string, string>> = {}) =>
  to(path, { SESSION_KEEP: "1", ...more });

async function ask(bytes: Uint8Array, of: Instance = instance) {
  return parseAnswer(await exchange(of, bytes));
}

describe("an application that", () => {
  test("raises before its answer: 500, its traceback once, and the next request", async () => {
    lines.length = 0;
    using session = connected(instance);
    await sendAll(session.number, kept("/raising"));
    expect((await nextAnswer(session)).head).toStartWith("Status: 500");
    await isTold("ValueError: thrown <here>");
    expect(lines.filter((line) => line.includes("Traceback"))).toHaveLength(1);
    expect(lines.join("\n")).not.toContain("loaders/");
    await sendAll(session.number, kept("/loop"));
    await nextAnswer(session);
  });

  test("raises within it: it breaks off, without an end", async () => {
    lines.length = 0;
    using session = connected(instance);
    await sendAll(session.number, kept("/late"));
    expect(await readToEnd(session.number)).toEndWith("\r\n\r\n5\r\nbegin\r\n");
    await isTold("ValueError: it broke");
  });

  test("raises after it: the log, and nothing else", async () => {
    lines.length = 0;
    expect((await ask(to("/after"))).body).toBe("whole");
    await isTold("ValueError: after the answer");
  });

  test("cancels itself: 500, and the log says so", async () => {
    lines.length = 0;
    expect((await ask(to("/cancelled"))).status).toBe("Status: 500 Internal Server Error");
    await isTold("CancelledError: by itself");
  });

  test("returns without an answer, or within it", async () => {
    expect((await ask(to("/silent"))).status).toBe("Status: 500 Internal Server Error");
    using session = connected(instance);
    await sendAll(session.number, kept("/half"));
    expect(await readToEnd(session.number)).toEndWith("4\r\nhalf\r\n");
  });

  test("goes on after its answer holds up nobody, and is waited for at the end", async () => {
    const root = newRoot();
    const other = await spawner.spawn(asgiRequest(root));
    using session = connected(other);
    for (let turn = 0; turn < 3; turn += 1) {
      await sendAll(session.number, kept("/background"));
      expect((await nextAnswer(session)).body).toBe("answered");
    }
    lines.length = 0;
    other.release();
    session.close();
    writeFileSync(`${root}/go-on`, "");
    await isTold("shutdown");
    expect(lines.filter((line) => line.includes("background is over"))).toHaveLength(3);
  });

  test("calls sys.exit(): 500, and the instance leaves, by its lifespan", async () => {
    const other = await another();
    lines.length = 0;
    expect(parseAnswer(await exchange(other, to("/leave"))).status).toStartWith("Status: 500");
    await isTold("shutdown");
    await other.death;
  });

  test("starts a program gives it nothing of the pool's", async () => {
    const numbers = JSON.parse((await ask(to("/child"))).body) as number[];
    expect(numbers).toEqual([0, 1, 2]);
  });
});

describe("a start", () => {
  test("is of uvloop where that is, else of asyncio", async () => {
    expect((await ask(to("/loop"))).body).toBe("uvloop");
    const root = newRoot({ "asgi.py": application, ...hiddenUvloop });
    const plain = await spawner.spawn(asgiRequest(root, { env: withoutUvloop }));
    expect((await ask(to("/loop"), plain)).body).toStartWith("asyncio");
  });

  test("by a fork has a loop of its own, and its own state", async () => {
    const root = newRoot();
    const spawn = () => spawner.spawn(asgiRequest(root, { spawnMethod: "smart" }));
    const [one, two] = [await spawn(), await spawn()];
    const [first, second] = [connected(one), connected(two)];
    for (const session of [first, second, first, second]) {
      await sendAll(session.number, kept("/slow", { QUERY_STRING: "0.01" }));
      expect((await nextAnswer(session)).body).toBe("slept");
    }
    const epolls = [one, two].map(({ pid }) => {
      return [...openDescriptors(pid).values()].filter((what) => what.includes("eventpoll")).length;
    });
    expect(epolls).toEqual([1, 1]);
    first.close();
    second.close();
  });

  test.each(["smart", "conservative"] as const)(
    "%s, fails with what lifespan.startup.failed says",
    async (spawnMethod) => {
      const root = newRoot({ "asgi.py": application, fail: "" });
      const error = await failureOf(spawner.spawn(asgiRequest(root, { spawnMethod })));
      expect(error.message).toContain("lifespan.startup failed: no database");
    },
  );

  const answers = `
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"served"})
`;
  const plain = `async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        BODY
${answers}`;
  test.each([
    ["raises for it", 'raise ValueError("not lifespan")'],
    ["raises in it", 'await receive(); raise ValueError("broke")'],
    ["returns", "return"],
    ["asks and returns", "await receive(); return"],
  ])("goes on without a lifespan where the application %s", async (_what, body) => {
    lines.length = 0;
    const root = newRoot({ "asgi.py": plain.replace("BODY", body) });
    const other = await spawner.spawn(asgiRequest(root));
    expect((await ask(to("/"), other)).body).toBe("served");
    other.release();
    await other.death;
    if (body.includes("broke")) return isTold("ValueError");
    expect(lines.some((line) => line.includes("ValueError"))).toBe(false);
  });

  test("says which type to set, whichever way it is wrong", async () => {
    const wsgi = "def application(environ, start_response): pass\n";
    for (const [source, appType, says] of [
      [plain.replace("BODY", "return"), "wsgi", "is an ASGI application (it is called with scope"],
      [wsgi, "asgi", "is a WSGI application (it is called with environ and start_response)"],
    ] as const) {
      const root = newRoot({ "wsgi.py": source });
      const error = await failureOf(spawner.spawn(asgiRequest(root, { appType })));
      expect(error.message).toContain(`\`application\` in wsgi.py ${says}`);
      const other = appType === "wsgi" ? "asgi" : "wsgi";
      expect(error.message).toEndWith(`, and its type here is ${appType}: set type = "${other}"`);
      expect(pageOf(error)).toContain("set type = ");
    }
  });

  const takes = (how: string) => `
import functools
async def function(scope, receive, send):
${plain.replace("BODY", "return").split("\n").slice(1).join("\n")}
class Object:
    async def __call__(self, scope, receive, send):
        await function(scope, receive, send)
class Wrapped:
    def __init__(self):
        self.__call__ = function
def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"by wsgi"]
application = ${how}
`;
  test.each([
    ["function", "served"],
    ["Object()", "served"],
    ["Object().__call__", "served"],
    ["functools.partial(function)", "served"],
    ["lambda scope, receive, send: function(scope, receive, send)", "served"],
    ["wsgi", "by wsgi"],
    ["functools.partial(wsgi)", "by wsgi"],
    ["lambda *both: wsgi(*both)", "by wsgi"],
  ])("in auto takes `%s` in wsgi.py for what it is", async (how, body) => {
    for (const spawnMethod of ["smart", "conservative"] as const) {
      const root = newRoot({ "wsgi.py": takes(how) });
      const other = await spawner.spawn(asgiRequest(root, { appType: "auto", spawnMethod }));
      expect(other.concurrency).toBe(body === "served" ? MAX_CONCURRENCY : 1);
      expect((await ask(to("/", { PATH_INFO: "/" }), other)).body).toBe(body);
      other.release();
    }
  });
});

describe("an end", () => {
  test("by SIGTERM leaves requests a moment, and then the lifespan", async () => {
    const other = await another("smart");
    using quick = connected(other);
    await sendAll(quick.number, kept("/slow", { QUERY_STRING: "0.2" }));
    using slow = connected(other);
    await sendAll(slow.number, kept("/slow", { QUERY_STRING: "100" }));
    using asked = connected(other);
    await sendAll(asked.number, kept("/loop"));
    await nextAnswer(asked);
    lines.length = 0;
    process.kill(other.pid, "SIGTERM");
    expect((await nextAnswer(quick)).body).toBe("slept");
    expect(await readToEnd(slow.number)).not.toContain("slept");
    expect(await readToEnd(asked.number)).toBe("");
    await isTold("shutdown");
    await other.death;
  });

  test("by SIGTERM comes also to a loop that is blocked", async () => {
    const other = await another();
    using session = connected(other);
    lines.length = 0;
    await sendAll(session.number, kept("/block"));
    await isTold("blocked");
    process.kill(other.pid, "SIGTERM");
    expect(await readToEnd(session.number)).toBe("");
    await until("it is gone", () => !isRunning(other.pid));
  });

  test("by kill -9 is the end of all of its sessions", async () => {
    const other = await another();
    const sessions = Array.from({ length: 20 }, () => connected(other));
    for (const session of sessions) {
      await sendAll(session.number, kept("/wait"));
      await readHead(session);
    }
    process.kill(other.pid, "SIGKILL");
    for (const session of sessions) {
      expect(await readToEnd(session.number)).toBe("5\r\nbegun\r\n");
      session.close();
    }
    await other.death;
  });
});

describe("many at once:", () => {
  test("500 requests that wait for each other are all answered by one process", async () => {
    const sessions = Array.from({ length: 500 }, () => connected(instance));
    for (const session of sessions) {
      await sendAll(session.number, kept("/slow", { QUERY_STRING: "0.2" }));
    }
    for (const session of sessions) expect((await nextAnswer(session)).body).toBe("slept");
    for (const session of sessions) session.close();
    await until("only its own are left", () => sockets().length <= 4, sockets);
  });

  test("beyond its concurrency they wait for their turn", async () => {
    const other = await spawner.spawn(asgiRequest(newRoot(), { concurrency: 2 }));
    expect(other.concurrency).toBe(2);
    const sessions = Array.from({ length: 10 }, () => connected(other));
    for (const session of sessions) {
      await sendAll(session.number, kept("/slow", { QUERY_STRING: "0.02" }));
    }
    for (const session of sessions) expect((await nextAnswer(session)).body).toBe("slept");
    for (const session of sessions) session.close();
  });

  test("a body that nobody asks for stops its client, and takes no memory", async () => {
    const other = await another();
    using session = connected(other);
    const start = { REQUEST_METHOD: "POST", CONTENT_LENGTH: "64000000", QUERY_STRING: "1000" };
    await sendAll(session.number, kept("/slow", start));
    const before = residentKiB(other.pid);
    const sending = sendAll(session.number, Buffer.alloc(8_000_000)).catch(() => {});
    const first = await Promise.race([
      sending.then(() => "sent"),
      Bun.sleep(100).then(() => "held"),
    ]);
    expect(first).toBe("held");
    expect(residentKiB(other.pid) - before).toBeLessThan(4_000);
    process.kill(other.pid, "SIGKILL");
    await sending;
  });
});

function residentKiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
}
