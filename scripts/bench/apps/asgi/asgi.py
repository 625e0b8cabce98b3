"""GET / says hello, GET /mebibyte is 1 MiB, GET /large 4 MiB, POST / counts what it is sent."""

HELLO = b"Hello from ASGI\n"
MEBIBYTE = b"x" * 1_048_576
PAGES = {"/mebibyte": MEBIBYTE, "/large": MEBIBYTE * 4}


async def count(receive):
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body", False):
            return str(length).encode()


async def application(scope, receive, send):
    assert scope["type"] == "http"  # No lifespan, no WebSockets.
    is_post = scope["method"] == "POST"
    body = await count(receive) if is_post else PAGES.get(scope["path"], HELLO)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
