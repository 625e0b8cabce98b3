/** Programs for the tests of the asgi loader, as the text of their asgi.py; how to start them. */
import { fromText } from "../../src/wire/bytes.ts";
import type { SpawnRequest } from "../../src/spawn/spawner.ts";
import { spawnRequest } from "./support.ts";
import { debianPath } from "./wsgi-programs.ts";

/** A file beside an application, and what has to be set for it: then there is no uvloop. */
export const hiddenUvloop = { "hidden/uvloop.py": "raise ImportError('not for you')" };
export const withoutUvloop = { PYTHONPATH: "hidden" };

/** A request for a fresh process of an asgi application, on Debian's Python. */
export function asgiRequest(root: string, changed: Partial<SpawnRequest> = {}): SpawnRequest {
  return {
    ...spawnRequest(root, { appType: "asgi", spawnMethod: "conservative" }),
    ...changed,
    root: fromText(root),
    env: { PATH: debianPath, ...changed.env },
  };
}

/** The path chooses what it does; what it has seen is told by `/seen`. */
export const application = `
import asyncio, json, os, sys
seen = []
sent = [0]

def start(status=200, headers=(), **more):
    return {"type": "http.response.start", "status": status, "headers": headers, **more}

def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}

async def read(receive):
    data, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RuntimeError("the body broke off")
        data, more = data + message["body"], message["more_body"]
    return data

async def answer(send, data):
    await send(start(headers=[(b"content-type", b"text/plain")]))
    await send(body(data if isinstance(data, bytes) else str(data).encode()))

def shown(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    return value

async def scope(scope, receive, send):
    await answer(send, json.dumps(shown(scope)))

async def echo(scope, receive, send):
    await answer(send, await read(receive))

async def twice(scope, receive, send):
    first, second = await receive(), None
    await answer(send, repr(first))
    second = await receive()
    seen.append(second["type"])

async def seen_(scope, receive, send):
    told, seen[:] = list(seen), []
    await answer(send, json.dumps(told))

async def given(scope, receive, send):
    # What is to be sent, as JSON, whose bytes are strings that begin with a colon.
    def made(value):
        if isinstance(value, str) and value.startswith(":"):
            return value[1:].encode("latin-1")
        if isinstance(value, list):
            return [made(one) for one in value]
        if isinstance(value, dict):
            return {name: made(one) for name, one in value.items()}
        return value
    for message in made(json.loads(await read(receive))):
        await send(message)

async def wait(scope, receive, send):
    await send(start())
    await send(body(b"begun", more=True))
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
    try:
        await send(body(b"more", more=True))
    except OSError as error:
        seen.append(f"{message['type']}, {type(error).__name__}")

async def stream(scope, receive, send):
    # Sends on what comes as it comes.
    await send(start())
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send(body(message["body"], more=more))

async def flood(scope, receive, send):
    await send(start())
    try:
        for count in range(10_000):
            await send(body(b"f" * 10_000, more=True))
            sent[0] = count
    except OSError:
        print("flood is over")

async def count(scope, receive, send):
    await answer(send, sent[0])

async def slow(scope, receive, send):
    await asyncio.sleep(float(scope["query_string"]))
    await answer(send, b"slept")

async def background(scope, receive, send):
    await answer(send, b"answered")
    while not os.path.exists("go-on"):
        await asyncio.sleep(0.01)
    print("background is over")

async def raising(scope, receive, send):
    raise ValueError("thrown <here>")

async def late(scope, receive, send):
    await send(start())
    await send(body(b"begin", more=True))
    raise ValueError("it broke")

async def after(scope, receive, send):
    await answer(send, b"whole")
    raise ValueError("after the answer")

async def cancelled(scope, receive, send):
    raise asyncio.CancelledError("by itself")

async def silent(scope, receive, send):
    pass

async def half(scope, receive, send):
    await send(start())
    await send(body(b"half", more=True))

async def leave(scope, receive, send):
    sys.exit(5)

async def path(scope, receive, send):
    await send(start())
    await send({"type": "http.response.pathsend", "path": os.path.abspath("file")})

async def hint(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await answer(send, b"hinted")

async def loop(scope, receive, send):
    await answer(send, type(asyncio.get_running_loop()).__module__)

async def block(scope, receive, send):
    import time
    print("blocked")
    # A signal that comes just before a sleep is heeded after it.
    while True:
        time.sleep(0.05)

async def child(scope, receive, send):
    import subprocess
    script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    command = [sys.executable, "-c", script]
    await answer(send, subprocess.check_output(command, close_fds=False))

async def socket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    path = scope["path"]
    if path == "/refused":
        return await send({"type": "websocket.close"})
    if path == "/denied":
        await send({"type": "websocket.http.response.start", "status": 401,
                    "headers": [(b"x-why", b"no"), (b"content-length", b"99")]})
        return await send({"type": "websocket.http.response.body", "body": b"denied"})
    if path == "/raises":
        raise ValueError("before it is accepted")
    if path == "/returns":
        return
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None),
                "headers": [(b"x-kept", b"1")]})
    if path == "/scope":
        return await send({"type": "websocket.send", "text": json.dumps(shown(scope))})
    if path == "/breaks":
        raise ValueError("after it was accepted")
    if path == "/goes":
        return await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
    if path == "/floods":
        for count in range(10_000):
            await send({"type": "websocket.send", "bytes": b"f" * 10_000})
            sent[0] = count
    if path == "/deaf":
        while not os.path.exists("listen"):
            await asyncio.sleep(0.01)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print("disconnected", message["code"], message["reason"])
            try:
                await send({"type": "websocket.send", "text": "anybody?"})
            except OSError as error:
                print("send raises", type(error).__name__)
            return
        if message.get("text") == "close":
            return await send({"type": "websocket.close", "code": 3001})
        if message.get("text") == "spec":
            return await send({"type": "websocket.accept"})
        key = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", key: message[key]})

async def lifespan(scope, receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if os.path.exists("fail"):
                return await send({"type": "lifespan.startup.failed", "message": "no database"})
            scope["state"]["begun"] = ["by the lifespan"]
            print("startup")
            await send({"type": "lifespan.startup.complete"})
        else:
            await asyncio.sleep(0.05)
            print("shutdown")
            return await send({"type": "lifespan.shutdown.complete"})

paths = {name.strip("_"): value for name, value in globals().items() if callable(value)}

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] == "websocket":
        return await socket(scope, receive, send)
    await paths[scope["path"][1:]](scope, receive, send)
`;
