/** WebSockets of ASGI applications (PROTOCOL section 11, "Upgrades"; RFC 6455). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";

import { until } from "../helpers/condition.ts";
import { readToEnd, sendAll } from "../helpers/raw-client.ts";
import { application, hiddenUvloop, withoutUvloop } from "./asgi-programs.ts";
import { BareInstance } from "./bare-instance.ts";
import { nextAnswer, readHead } from "./kept-answers.ts";
import { spawnerScene } from "./spawner-scene.ts";
import { endWriting, get, writeApp } from "./support.ts";
import { WebSocketSession, webSocketRequest } from "./web-socket.ts";
import { debianPath } from "./wsgi-programs.ts";

const { directory } = spawnerScene();
const begun: BareInstance[] = [];
let root: string;
/** For all tests that do not end it. */
let shared: BareInstance;

beforeAll(async () => {
  root = writeApp(directory, "app", { "asgi.py": application, ...hiddenUvloop });
  shared = await begin();
  begun.length = 0;
});

afterAll(() => shared.end());

afterEach(async () => {
  shared.lines.length = 0;
  await Promise.all(begun.splice(0).map((instance) => instance.end()));
});

async function begin(concurrency = 4, env = {}): Promise<BareInstance> {
  const instance = new BareInstance(directory);
  begun.push(instance);
  return instance.begin(root, "asgi", { concurrency, env: { PATH: debianPath, ...env } });
}

const isSaid = (instance: BareInstance, text: string) =>
  until(
    `it says ${text}`,
    () => instance.lines.some((line) => line.includes(text)),
    () => instance.lines,
  );

async function open(
  instance: BareInstance,
  path = "/",
  variables: Readonly<Record<string, string>> = {},
): Promise<WebSocketSession> {
  return WebSocketSession.open(instance.connect(), webSocketRequest(path, variables));
}

/** A client's frame, byte for byte, with a mask that changes nothing but `mask`. */
function frame(
  first: number,
  payload: Uint8Array | string,
  mask: readonly number[] = [0, 0, 0, 0],
) {
  const bytes = Buffer.from(payload);
  const masked = bytes.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  const length = bytes.length < 126 ? [bytes.length] : [126, bytes.length >> 8, bytes.length & 255];
  const [short = 0, ...rest] = length;
  return Buffer.concat([Buffer.from([first, 128 | short, ...rest, ...mask]), masked]);
}

describe("a handshake", () => {
  test("is answered as the application accepts it, with its scope", async () => {
    const instance = shared;
    using session = await open(instance, "/scope?a=b", {
      QUERY_STRING: "a=b",
      HTTPS: "on",
      HTTP_SEC_WEBSOCKET_PROTOCOL: "chat, mqtt",
    });
    const scope = JSON.parse(await session.receive()) as Record<string, unknown>;
    expect(scope).toMatchObject({
      type: "websocket",
      scheme: "wss",
      path: "/scope",
      query_string: "a=b",
      subprotocols: ["chat", "mqtt"],
      extensions: { "websocket.http.response": {} },
      state: { begun: ["by the lifespan"] },
    });
    expect(scope).not.toHaveProperty("method");
  });

  test("names the subprotocol and the headers that the application chose", async () => {
    const instance = shared;
    using session = instance.connect();
    const offer = { HTTP_SEC_WEBSOCKET_PROTOCOL: "chat, mqtt" };
    await sendAll(session.number, webSocketRequest("/", offer));
    const head = await readHead(session);
    expect(head).toStartWith("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    expect(head).toEndWith("x-kept: 1\r\nSec-WebSocket-Protocol: chat\r\n\r\n");
  });

  test.each([
    ["/refused", {}, "Status: 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""],
    ["/denied", {}, "Status: 401 Unauthorized\r\nx-why: no\r\nContent-Length: 6\r\n\r\n", "denied"],
    ["/raises", {}, "Status: 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", ""],
    ["/returns", {}, "Status: 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", ""],
  ])("that is not accepted leaves a kept session: %s", async (path, variables, head, body) => {
    const instance = shared;
    using session = instance.connect();
    await sendAll(session.number, webSocketRequest(path, variables));
    expect(await nextAnswer(session)).toEqual({ head, body });
    await sendAll(session.number, get({ REQUEST_URI: "/loop", SESSION_KEEP: "1" }));
    expect((await nextAnswer(session)).body).toMatch(/asyncio|uvloop/);
  });

  test.each([
    ["another version", { HTTP_SEC_WEBSOCKET_VERSION: "8" }, "Status: 426 Upgrade Required"],
    ["no key", { HTTP_SEC_WEBSOCKET_KEY: "" }, "Status: 400 Bad Request"],
  ])("with %s is refused", async (_what, variables, status) => {
    const instance = shared;
    using session = instance.connect();
    await sendAll(session.number, webSocketRequest("/", variables));
    expect(await readToEnd(session.number)).toStartWith(status);
  });

  test("that nobody can carry out is an ordinary request", async () => {
    const instance = shared;
    using session = instance.connect();
    await sendAll(session.number, webSocketRequest("/loop", { SESSION_KEEP: "0" }));
    expect(await readToEnd(session.number)).toStartWith("Status: 200 OK");
  });
});

describe("messages", () => {
  test("of every size are sent back, texts and bytes, and none is lost", async () => {
    const instance = shared;
    using session = await open(instance);
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 1_000_000]) {
      const text = "ö".repeat(size);
      await session.send(text);
      expect(await session.receive()).toBe(text);
    }
    await sendAll(session.fd, frame(0x82, Buffer.from([0, 255, 128]), [1, 2, 3, 4]));
    expect(await session.receive()).toBe(Buffer.from([0, 255, 128]).toString());
  });

  test("are put together, with a ping between their fragments, however they arrive", async () => {
    const instance = shared;
    using session = await open(instance);
    const bytes = Buffer.concat([
      frame(0x01, "one ", [9, 8, 7, 6]),
      frame(0x89, "ping"),
      frame(0x00, "two "),
      frame(0x80, "three", [255, 0, 255, 0]),
    ]);
    for (const byte of bytes) await sendAll(session.fd, Buffer.from([byte]));
    expect(await session.receive()).toBe("ping");
    expect(await session.receive()).toBe("one two three");
  });

  test("hold a client back that is faster than the application", async () => {
    const instance = shared;
    using session = await open(instance, "/deaf");
    const sending = sendAll(
      session.fd,
      Buffer.concat(
        Array.from({ length: 400 }, () => {
          return frame(0x81, "x".repeat(60_000));
        }),
      ),
    );
    const first = await Promise.race([
      sending.then(() => "sent"),
      Bun.sleep(200).then(() => "held"),
    ]);
    expect(first).toBe("held");
    writeFileSync(`${root}/listen`, "");
    for (let count = 0; count < 400; count += 1) {
      expect((await session.receive()).length).toBe(60_000);
    }
    await sending;
  });

  test("hold the application back that is faster than its client", async () => {
    const instance = shared;
    using session = await open(instance, "/floods");
    let last = "";
    using other = instance.connect();
    const count = async () => {
      await sendAll(other.number, get({ REQUEST_URI: "/count", SESSION_KEEP: "1" }));
      return (await nextAnswer(other)).body;
    };
    await until("it waits", async () => {
      const before = last;
      await Bun.sleep(20);
      last = await count();
      return last === before;
    });
    expect(Number(last) * 10_000).toBeLessThan(4_000_000);
    for (let turn = 0; turn < 500; turn += 1) await session.receive();
    await until("it goes on", async () => (await count()) !== last);
  });
});

describe("the end", () => {
  test("of the client's choice is told to the application, and answered", async () => {
    const instance = shared;
    using session = await open(instance);
    await sendAll(session.fd, frame(0x88, Buffer.from([0x0f, 0xa1, 0x62, 0x79, 0x65])));
    expect(await session.receive()).toBe("closed 4001");
    expect(await readToEnd(session.fd)).toBe("");
    await isSaid(instance, "disconnected 4001 bye");
    await isSaid(instance, "send raises ClientGone");
  });

  test("without a code is 1005, without a close 1006", async () => {
    const instance = shared;
    using session = await open(instance);
    await sendAll(session.fd, frame(0x88, ""));
    expect(await session.receive()).toBe("closed");
    await isSaid(instance, "disconnected 1005");
    using other = await open(instance);
    endWriting(other.fd);
    expect(await readToEnd(other.fd)).toBe("");
    await isSaid(instance, "disconnected 1006");
    (await open(instance)).close();
    await until("that of a client that is gone", () => {
      return instance.lines.filter((line) => line.includes("disconnected 1006")).length === 2;
    });
  });

  test.each([
    ["/goes", "closed 4000"],
    ["/scope", "closed 1000"],
    ["/breaks", "closed 1011"],
  ])("of the application's: %s", async (path, closed) => {
    const instance = shared;
    using session = await open(instance, path);
    if (path === "/scope") await session.receive();
    expect(await session.receive()).toBe(closed);
    await sendAll(session.fd, frame(0x88, ""));
    expect(await readToEnd(session.fd)).toBe("");
  });

  test("comes without the client's part, too", async () => {
    const instance = shared;
    using session = await open(instance, "/goes");
    expect(await session.receive()).toBe("closed 4000");
    expect(await readToEnd(session.fd)).toBe("");
  });

  test("comes with the instance's, which tells the application and ends by its lifespan", async () => {
    const instance = await begin();
    using session = await open(instance);
    process.kill(instance.pid, "SIGUSR1");
    expect(await session.receive()).toBe("closed 1012");
    await sendAll(session.fd, frame(0x88, ""));
    expect(await readToEnd(session.fd)).toBe("");
    await isSaid(instance, "disconnected 1012");
    await isSaid(instance, "shutdown");
  });

  test("is counted once, when the protocol has changed; it takes no place then", async () => {
    const instance = await begin(1);
    using session = await open(instance);
    expect(instance.done()).toBe(1);
    using plain = instance.connect();
    await sendAll(plain.number, get({ REQUEST_URI: "/loop" }));
    expect(await readToEnd(plain.number)).toStartWith("Status: 200");
    expect(instance.done()).toBe(2);
    await session.finish();
    await readToEnd(session.fd);
    await isSaid(instance, "disconnected 1000");
    expect(instance.done()).toBe(2);
  });
});

const big = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0]);

describe("what breaks the protocol is closed, and harms nobody else:", () => {
  test.each<[string, Uint8Array, number]>([
    ["a frame that is not masked", Buffer.from([0x81, 1, 97]), 1002],
    ["a reserved bit", frame(0xc1, "a"), 1002],
    ["an unknown opcode", frame(0x83, "a"), 1002],
    ["an unknown control frame", frame(0x8b, "a"), 1002],
    ["a fragmented ping", frame(0x09, "a"), 1002],
    ["a long ping", frame(0x89, "a".repeat(126)), 1002],
    ["nothing to be continued", frame(0x80, "a"), 1002],
    ["a message inside another", Buffer.concat([frame(0x01, "a"), frame(0x81, "b")]), 1002],
    ["a close frame of one byte", frame(0x88, "a"), 1002],
    ["a close frame with no such code", frame(0x88, Buffer.from([0x03, 0xed])), 1002],
    ["a close frame with a code below all", frame(0x88, Buffer.from([0, 1])), 1002],
    ["a reason that is not UTF-8", frame(0x88, Buffer.from([0x03, 0xe8, 0xff])), 1007],
    ["a text that is not UTF-8", frame(0x81, Buffer.from([0xed, 0xa0, 0x80])), 1007],
    ["a message too large", big, 1009],
  ])("%s", async (_what, bytes, code) => {
    const instance = shared;
    using healthy = await open(instance);
    using session = await open(instance);
    await sendAll(session.fd, bytes);
    expect(await session.receive()).toBe(`closed ${code}`);
    expect(await readToEnd(session.fd)).toBe("");
    await isSaid(instance, `disconnected ${code}`);
    await healthy.send("still here");
    expect(await healthy.receive()).toBe("still here");
  });

  test("many fragments take no more than their bytes", async () => {
    const instance = await begin();
    using session = await open(instance);
    const status = `/proc/${instance.pid}/status`;
    const peakKiB = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync(status, "latin1"))?.[1]);
    const before = peakKiB();
    const count = 200_000;
    const [first, next] = [frame(0x01, "ab"), frame(0x00, "cd")];
    await sendAll(session.fd, Buffer.concat([first, ...Array<Buffer>(count).fill(next)]));
    for (let nothing = 0; nothing < 1_000; nothing += 1) await sendAll(session.fd, frame(0x00, ""));
    await sendAll(session.fd, frame(0x80, "end"));
    expect(await session.receive()).toBe(`ab${"cd".repeat(count)}end`);
    // 0.4 MB, and its copies; as a list of fragments it would be 11.
    expect(peakKiB() - before).toBeLessThan(8 * 1024);
  });

  test.each([
    ["uvloop", {}],
    ["asyncio", withoutUvloop],
  ])("pings without end of a client that reads nothing, in %s", async (loop, env) => {
    const instance = await begin(4, env);
    using request = instance.connect();
    await sendAll(request.number, get({ REQUEST_URI: "/loop", SESSION_KEEP: "1" }));
    expect((await nextAnswer(request)).body).toContain(loop);
    using session = await open(instance);
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => frame(0x89, "p".repeat(100))));
    const sending = (async () => {
      for (let turn = 0; turn < 20; turn += 1) await sendAll(session.fd, pings);
    })();
    const first = await Promise.race([
      sending.then(() => "sent"),
      Bun.sleep(500).then(() => "held"),
    ]);
    expect(first).toBe("held");
    endWriting(session.fd);
    session.close();
    await sending.catch(() => {});
    await isSaid(instance, "disconnected 1006");
  });

  test("WebSockets that stay open keep no request out", async () => {
    const instance = await begin(1);
    const sessions: WebSocketSession[] = [];
    for (let count = 0; count < 300; count += 1) sessions.push(await open(instance));
    using other = instance.connect();
    await sendAll(other.number, get({ REQUEST_URI: "/loop", SESSION_KEEP: "1" }));
    expect((await nextAnswer(other)).body).toMatch(/asyncio|uvloop/);
    for (const session of sessions) session.close();
  });

  test("and so is what the application may not send", async () => {
    const instance = shared;
    using session = await open(instance);
    await session.send("spec");
    expect(await session.receive()).toBe("closed 1011");
    await isSaid(instance, "the application sent 'websocket.accept'; what may come now is");
  });
});
