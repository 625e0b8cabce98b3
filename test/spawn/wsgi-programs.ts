/** Programs for the tests of the wsgi loader, as the text of their wsgi.py; how to start them. */
import { fromText } from "../../src/wire/bytes.ts";
import type { SpawnRequest } from "../../src/spawn/spawner.ts";
import { get, spawnRequest } from "./support.ts";

/** Debian's Python, for which the frameworks are installed, whatever else there is. */
export const debianPath = "/usr/bin:/bin";

/** What may be set where the tests run, and would show itself in how a program behaves. */
const unset = { PYTHONUNBUFFERED: "", PYTHONDONTWRITEBYTECODE: "" };

/** A request for a fresh process of a wsgi application. */
export function wsgiRequest(root: string, changed: Partial<SpawnRequest> = {}): SpawnRequest {
  return {
    ...spawnRequest(root, { appType: "wsgi", spawnMethod: "conservative" }),
    ...changed,
    root: fromText(root),
    env: { PATH: debianPath, ...unset, ...changed.env },
  };
}

/** A GET as front ends send it. */
export function to(path: string, more: Readonly<Record<string, string>> = {}): Uint8Array {
  const [pathInfo = "", query = ""] = path.split("?");
  return get({ REQUEST_URI: path, PATH_INFO: pathInfo, QUERY_STRING: query, ...more });
}

/** The path chooses what it does. */
export const application = `
import json, os, subprocess, sys, tempfile, time

closed = []

def text(start, body, *headers, status="200 OK"):
    start(status, [("Content-Type", "text/plain"), *headers])
    return [body if isinstance(body, bytes) else str(body).encode()]

class Pieces:
    def __init__(self, pieces, name="pieces"):
        self.pieces, self.name = iter(pieces), name
    def __iter__(self):
        return self
    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece
    def close(self):
        closed.append(self.name)

def environ(environ, start):
    shown = {name: value for name, value in environ.items() if isinstance(value, (str, bool))}
    return text(start, json.dumps(shown))

def echo(environ, start):
    return text(start, environ["wsgi.input"].read())

def readers(environ, start):
    body = environ["wsgi.input"]
    parts = [body.read(3), body.readline(), body.readline(2), body.readlines(4), list(body),
             body.read(), body.read(5), body.readline()]
    return text(start, repr(parts))

def count(environ, start):
    total = 0
    while True:
        piece = environ["wsgi.input"].read(10_000)
        if not piece:
            return text(start, total)
        total += len(piece)

def cookies(environ, start):
    return text(start, "x", ("Set-Cookie", "a=1"), ("X-One", "1"), ("Set-Cookie", "b=2"),
                status="201 As You Like")

def pieces(environ, start):
    start("200 OK", [])
    return Pieces([b"", b"one ", b"", b"two"])

def endless(environ, start):
    start("200 OK", [])
    def forever():
        while True:
            yield b"x" * 10_000
    return Pieces(forever(), "endless")

def generator(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    yield b"a"
    yield b"b"

def lazy(environ, start):
    # A generator that has more to do before it begins its answer.
    yield b""
    start("200 OK", [])
    yield b"lazy"

def early(environ, start):
    start("200 OK", [])
    yield b"early "
    yield environ["wsgi.input"].read()

def write(environ, start):
    write = start("200 OK", [])
    write(b"written ")
    write(b"")
    return [b"returned"]

def flush(environ, start):
    write = start("200 OK", [])
    write(b"")
    while not os.path.exists("go-on"):
        time.sleep(0.01)
    return [b"at last"]

def answer(environ, start):
    status, *headers = environ["QUERY_STRING"].split("&")
    start(status, [tuple(header.split("=")) for header in headers])
    return [b"body"]

def digest(environ, start):
    import hashlib
    return text(start, hashlib.sha256(environ["wsgi.input"].read()).hexdigest())

def big(environ, start):
    return text(start, b"x" * 5_000_000)

def none(environ, start):
    start("204 No Content", [("Content-Length", "3")])
    return [b"abc"]

def unchanged(environ, start):
    start("304 Not Modified", [("ETag", '"1"')])
    return []

def announced(environ, start):
    length, body = environ["QUERY_STRING"].split(",")
    start("200 OK", [("Content-Length", length)])
    return Pieces([body.encode()])

def empty(environ, start):
    start("200 OK", [])
    return []

def raising(environ, start):
    raise RuntimeError("thrown <here>")

def late(environ, start):
    start("200 OK", [])
    return Pieces([b"begin", RuntimeError("stream broke")], "late")

def late_close(environ, start):
    class Closing(Pieces):
        def close(self):
            raise RuntimeError("close broke")
    start("200 OK", [])
    return Closing([b"whole"])

def replaced(environ, start):
    start("200 OK", [("X-First", "1")])
    try:
        raise ValueError("early")
    except ValueError:
        start("503 Later", [("X-Second", "1")], sys.exc_info())
    return [b"replaced"]

def too_late(environ, start):
    write = start("200 OK", [])
    write(b"begin")
    try:
        raise ValueError("it is too late")
    except ValueError:
        start("503 Later", [], sys.exc_info())
    return [b"never"]

def twice(environ, start):
    start("200 OK", [])
    start("200 OK", [])
    return [b"never"]

def silent(environ, start):
    return [b"no start_response"]

def inject(environ, start):
    name, _, value = environ["QUERY_STRING"].partition("=")
    unescape = lambda part: part.encode().decode("unicode_escape")
    start("200 OK", [(unescape(name), unescape(value))])
    return [b"sent"]

def status(environ, start):
    start(environ["QUERY_STRING"].encode().decode("unicode_escape"), [])
    return [b"sent"]

def wrong(environ, start):
    kind = environ["QUERY_STRING"]
    start("200 OK", [("X-Number", 5)] if kind == "header" else [])
    return {"text": ["text"], "string": "text", "none": None, "header": [b"x"]}[kind]

def connection(environ, start):
    return text(start, "x", ("Connection", "close"), ("Transfer-Encoding", "chunked"),
                ("Keep-Alive", "5"), ("Upgrade", "h2c"), ("X-Kept", "1"))

def file(environ, start):
    kind = environ["QUERY_STRING"]
    start("200 OK", [("Content-Length", "4")] if kind == "short" else [])
    body = open(__file__ + ".data", "rb")
    if kind == "middle":
        body.seek(999_990)
    if kind == "gzip":
        import gzip
        body = gzip.open(__file__ + ".gz", "rb")
    if kind == "pipe":
        body = subprocess.Popen(["echo", "from a pipe"], stdout=subprocess.PIPE).stdout
    if kind == "temporary":
        body = tempfile.NamedTemporaryFile()
        body.write(b"temporary file")
        body.seek(0)
    if kind == "proc":
        body = open("/proc/self/comm", "rb")
    really = body.close
    class Watched:
        def __getattr__(self, name):
            return getattr(body, name)
    wrapper = environ["wsgi.file_wrapper"](body)
    def close():
        closed.append("file")
        really()
    wrapper.close = close
    return wrapper

def closings(environ, start):
    seen, closed[:] = list(closed), []
    return text(start, json.dumps(seen))

def child(environ, start):
    script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    return text(start, subprocess.check_output([sys.executable, "-c", script], close_fds=False))

def forked(environ, start):
    # A child that lives on must hold neither the client nor the lifeline.
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return text(start, pid)

def fork_and_return(environ, start):
    pid = os.fork()
    return text(start, "from the child" if pid == 0 else "from the parent")

def leave(environ, start):
    sys.exit(5)

def wait(environ, start):
    start("200 OK", [])
    return Pieces([b"x" * 10_000 for _ in range(1_000)], "wait")

def sleep(environ, start):
    time.sleep(float(environ["QUERY_STRING"]))
    return text(start, "slept")

paths = {name: value for name, value in globals().items() if callable(value)}

def application(environ, start):
    return paths[environ["PATH_INFO"][1:]](environ, start)
`;

/** The same behind the checker of PEP 3333 that comes with Python. */
export const validated = `
import wsgiref.validate
${application}
unchecked = application

def application(environ, start):
    if "warnings" in environ["QUERY_STRING"]:
        import warnings
        warnings.simplefilter("error")
    return wsgiref.validate.validator(unchecked)(environ, start)
`;
