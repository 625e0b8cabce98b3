"""A small WSGI application of the standard library alone. It says who answered, counts, streams as
time goes by, and takes an upload of any size, of which it never holds more than a piece.

Under the pool it is loaded once and forked (spawn method `smart`): `loaded_by` and the process that
answers differ. By itself: `python3 wsgi.py`.
"""
import hashlib
import html
import os
import time

loaded_by = os.getpid()
served = 0

PAGE = """<!DOCTYPE html>
<title>WSGI example</title>
<p>Hello from process {pid}, forked from what process {loaded_by} loaded,
in {environment}. This is its request number {served}; you asked for {path}.</p>
<p><a href="{mount}/ticks">Ten ticks of a clock</a></p>
<form method="post" action="{mount}/upload" enctype="text/plain">
  <input type="file" name="file"> <button>Upload</button>
</form>
"""


def application(environ, start_response):
    global served
    served += 1
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path == "/ticks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ticks()
    if path == "/upload" and method == "POST":
        return text(start_response, "200 OK", describe(environ["wsgi.input"]))
    if path == "/":
        return page(environ, start_response)
    return text(start_response, "404 Not Found", f"There is no {path} here.\n")


def page(environ, start_response):
    body = PAGE.format(
        pid=os.getpid(),
        loaded_by=loaded_by,
        environment=html.escape(os.environ.get("APP_ENV", "no environment")),
        served=served,
        path=html.escape(environ["PATH_INFO"]),
        mount=html.escape(environ["SCRIPT_NAME"]),
    ).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [body]


def text(start_response, status, body):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [body.encode()]


def ticks():
    """Each piece is sent when it is there."""
    for number in range(1, 11):
        yield f"tick {number}\n".encode()
        time.sleep(0.1)


def describe(upload):
    size, digest = 0, hashlib.sha256()
    while piece := upload.read(65_536):
        size += len(piece)
        digest.update(piece)
    return f"{size} bytes, sha256 {digest.hexdigest()}\n"


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", 8000, application).serve_forever()
