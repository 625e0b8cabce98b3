"""GET / says hello, GET /mebibyte is 1 MiB, GET /large 4 MiB, POST / counts what it is sent,
and GET /sleep waits for 10 ms, as for a database.
"""

import time

HELLO = b"Hello from WSGI\n"
MEBIBYTE = b"x" * 1_048_576
PAGES = {"/mebibyte": MEBIBYTE, "/large": MEBIBYTE * 4}


def count(environ):
    left = int(environ.get("CONTENT_LENGTH") or 0)
    length = 0
    while length < left:
        chunk = environ["wsgi.input"].read(min(65_536, left - length))
        if not chunk:
            break
        length += len(chunk)
    return str(length).encode()


def body_for(environ):
    if environ["REQUEST_METHOD"] == "POST":
        return count(environ)
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(0.01)
    return PAGES.get(environ["PATH_INFO"], HELLO)


def application(environ, start_response):
    body = body_for(environ)
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
