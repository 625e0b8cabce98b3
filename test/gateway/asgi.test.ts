/** ASGI applications behind `serve`, the compiled binary, as visitors meet them. */
import { beforeAll, afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { statOf } from "../../src/native/process-stat.ts";
import { until } from "../helpers/condition.ts";
import { gateways, type Gateway } from "../helpers/gateway.ts";
import { isRunning } from "../helpers/processes.ts";
import { temporaryDirectories } from "../helpers/temporary.ts";
import { writeApp } from "../spawn/support.ts";
import { debianPath } from "../spawn/wsgi-programs.ts";

const temporaryDirectory = temporaryDirectories();
const startGateway = gateways();

const program = `
import asyncio, os, time
begun = time.time()

async def start(send, status=200, *headers):
    await send({"type": "http.response.start", "status": status, "headers": headers})

async def piece(send, data=b"", more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})

async def http(scope, receive, send):
    path = scope["path"]
    if path == "/upload":
        total, more = 0, True
        while more:
            message = await receive()
            total, more = total + len(message["body"]), message["more_body"]
        await start(send)
        await piece(send, str(total).encode())
    elif path == "/download":
        await start(send)
        for _ in range(1_000):
            await piece(send, b"d" * 64_000, True)
        await piece(send)
    elif path == "/whole":
        await start(send)
        await piece(send, b"w" * 128_000_000)
    elif path == "/events":
        await start(send, 200, (b"content-type", b"text/event-stream"))
        try:
            for number in range(1_000):
                await piece(send, b"data: %d\\n\\n" % number, True)
                while not os.path.exists(f"go{number}"):
                    await asyncio.sleep(0.01)
        except OSError:
            print("the visitor has left")
            raise
    elif path == "/together":
        await asyncio.sleep(0.3)
        await start(send)
        await piece(send, str(os.getpid()).encode())
    elif path == "/block":
        print("it blocks", flush=True)
        time.sleep(1000)
    else:
        await start(send, 200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
        await piece(send, str(os.getpid()).encode())

async def websocket(scope, receive, send):
    await receive()
    if scope["path"] == "/denied":
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        return await send({"type": "websocket.http.response.body", "body": b"who are you?"})
    chosen = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return print("disconnected", message["code"])
        if message.get("text") == "bye":
            return await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        key = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", key: message[key]})

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        raise ValueError("none")
    await {"http": http, "websocket": websocket}[scope["type"]](scope, receive, send)
`;

function write(more = ""): { root: string; args: string[] } {
  const directory = temporaryDirectory();
  const root = writeApp(directory, "app", { "asgi.py": program });
  const file = join(directory, "pool.toml");
  const env = `[apps.env]\nPATH = "${debianPath}"\n`;
  writeFileSync(file, `listen = ["127.0.0.1:0"]\n[[apps]]\nroot = "app"\n${more}${env}`);
  return { root, args: ["--config", file] };
}

async function start(more = "") {
  const { root, args } = write(more);
  const gateway = startGateway(args);
  const url = (await gateway.address()).replace(/\/$/, "");
  const text = async (path: string, init?: RequestInit) => (await fetch(url + path, init)).text();
  return { root, gateway, url, text };
}

/** The most memory that a process has had, in KiB. */
function peakKiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

test("500 visitors at once are answered by one process", async () => {
  const { gateway, text } = await start();
  const pid = await text("/");
  const answers = await Promise.all(Array.from({ length: 500 }, () => text("/together")));
  expect(new Set(answers)).toEqual(new Set([pid]));
  await gateway.end();
});

test("64 MB go up and down, and take little memory in the process", async () => {
  const { gateway, text, url } = await start();
  const pid = Number(await text("/"));
  const before = peakKiB(pid);
  const body = Buffer.alloc(64_000_000, "u");
  expect(await text("/upload", { method: "POST", body })).toBe("64000000");
  const answer = await fetch(`${url}/download`);
  expect((await answer.arrayBuffer()).byteLength).toBe(64_000_000);
  expect(peakKiB(pid) - before).toBeLessThan(16_000);
  await gateway.end();
});

test("a body of 128 MB in one piece costs the process what its bytes do", async () => {
  const { gateway, text, url } = await start();
  const pid = Number(await text("/"));
  const before = statOf(pid)?.processorMs ?? 0;
  expect((await (await fetch(`${url}/whole`)).arrayBuffer()).byteLength).toBe(128_000_000);
  // Some 200 ms. If all that is left were moved with each write, it would be 10 s and more.
  expect((statOf(pid)?.processorMs ?? Infinity) - before).toBeLessThan(3_000);
  await gateway.end();
});

test("events come one by one, and end with their visitor", async () => {
  const { root, gateway, url } = await start();
  const leaving = new AbortController();
  const answer = await fetch(`${url}/events`, { signal: leaving.signal });
  const reader = answer.body?.getReader();
  for (let number = 0; number < 3; number += 1) {
    const { value } = (await reader?.read()) ?? {};
    expect(Buffer.from(value ?? []).toString()).toBe(`data: ${number}\n\n`);
    writeFileSync(join(root, `go${number}`), "");
  }
  leaving.abort();
  // One after the other: all at once could be over before he has left.
  let next = 3;
  await until("it hears of it", () => {
    writeFileSync(join(root, `go${next}`), "");
    next += 1;
    return gateway.log.includes("the visitor has left");
  });
  await gateway.end();
  expect(gateway.log).not.toContain("Traceback");
});

test("a loop that is blocked is ended, its stack is logged, and the next visitor served", async () => {
  const { gateway, text, url } = await start('abandon_timeout = "100ms"\n');
  const pid = await text("/");
  const leaving = new AbortController();
  const blocked = fetch(`${url}/block`, { signal: leaving.signal }).catch(() => "left");
  await gateway.logged("it blocks");
  leaving.abort();
  expect(await blocked).toBe("left");
  // A loop that hears nothing any more ends half a second after SIGTERM.
  await until("it is gone", () => !isRunning(Number(pid)));
  await gateway.logged("in http", "stack of GET '/block'");
  await until("another answers", async () => {
    try {
      return (await text("/", { signal: AbortSignal.timeout(500) })) !== pid;
    } catch {
      return false;
    }
  });
  await gateway.end();
});

describe("a WebSocket", () => {
  let gateway: Gateway;
  let url: string;

  // What a client of Python says and hears, as JSON.
  const client = `
import asyncio, hashlib, json, os, sys, websockets
url = sys.argv[1]
async def main():
    told = []
    async with websockets.connect(url + "/", subprotocols=["mqtt", "chat"]) as socket:
        told.append(socket.subprotocol)
        for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
            text = "\\u00f6" * (size // 2)
            await socket.send(text)
            assert await socket.recv() == text
        data = os.urandom(900_000)
        await socket.send([data[:1], data[1:400_000], b"", data[400_000:]])
        assert await socket.recv() == data
        await asyncio.wait_for(await socket.ping(b"p" * 125), 10)
        await socket.send("bye")
        try:
            await socket.recv()
        except websockets.ConnectionClosed as end:
            told.append([end.rcvd.code, end.rcvd.reason])
    try:
        async with websockets.connect(url + "/denied"):
            pass
    except websockets.InvalidStatusCode as refused:
        told.append(refused.status_code)
    sockets = [await websockets.connect(url + "/", open_timeout=30) for _ in range(100)]
    await asyncio.gather(*[socket.send(str(n)) for n, socket in enumerate(sockets)])
    answers = await asyncio.gather(*[socket.recv() for socket in sockets])
    told.append(answers == [str(n) for n in range(100)])
    await asyncio.gather(*[socket.close() for socket in sockets])
    print(json.dumps(told))
asyncio.run(main())
`;

  beforeAll(async () => {
    const { args } = write();
    gateway = startGateway(args);
    url = (await gateway.address()).replace(/^http/, "ws").replace(/\/$/, "");
  });

  afterAll(() => gateway.destroy());

  test("of Python's websockets and of Bun, which offer to compress", async () => {
    const command = ["/usr/bin/python3", "-c", client, url];
    await using child = Bun.spawn(command, { stdio: ["ignore", "pipe", "inherit"] });
    const [told] = await Promise.all([child.stdout.text(), child.exited]);
    expect(JSON.parse(told)).toEqual(["chat", [4001, "enough"], 401, true]);
    const socket = new WebSocket(`${url}/`);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    socket.addEventListener("open", () => socket.send("from Bun"));
    socket.addEventListener("message", ({ data }) => resolve(data));
    expect(await promise).toBe("from Bun");
    socket.close(4002);
    await gateway.logged("disconnected 4002");
    await gateway.end();
  });
});
