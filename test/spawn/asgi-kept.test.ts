/** Kept sessions of ASGI applications, and what they say of the ends of sessions. */
import { doneReports } from "./done-reports.ts";
import { keptSessions } from "./kept-sessions.ts";

const program = `
import asyncio
gone = 0

async def answer(send, body=b"", status=200, *, more=False, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})

async def until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass

async def application(scope, receive, send):
    global gone
    assert scope["type"] == "http"
    # The tests send REQUEST_URI alone.
    path = scope["path"]
    if path == "/text":
        await answer(send, b"text")
    elif path == "/stream":
        await answer(send, b"a", more=True)
        await send({"type": "http.response.body", "body": b"b"})
    elif path == "/none":
        await answer(send, status=204)
    elif path == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await answer(send, body)
    elif path == "/ignore":
        await answer(send, b"ignored")
    elif path == "/early":
        await answer(send, b"early ", more=True)
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.body", "body": b"read"})
    elif path == "/keep":
        await answer(send, b",".join(name for name, value in scope["headers"]))
    elif path == "/wait":
        await until_gone(receive)
        gone += 1
    elif path == "/gone":
        await answer(send, str(gone).encode())
    elif path == "/slow":
        await asyncio.sleep(0.1)
        await answer(send, b"slow")
    elif path == "/wrong":
        await answer(send, b"short", headers=[(b"content-length", b"10")])
    elif path == "/never":
        await asyncio.sleep(1000)
    elif path == "/begin":
        await answer(send, b"a", more=True)
        await asyncio.sleep(1000)
    elif path == "/flood":
        await answer(send, b"f", more=True)
        while True:
            await send({"type": "http.response.body", "body": b"f" * 65536, "more_body": True})
    elif path == "/late":
        print("late")
        await until_gone(receive)
        print("gone")
        await asyncio.sleep(0.1)
        print("settled")
`;

keptSessions("asgi", "asgi.py", program);
doneReports("asgi", "asgi.py", program);
