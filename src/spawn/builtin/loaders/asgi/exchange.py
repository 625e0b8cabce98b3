"""One HTTP request and its answer, as the application sees them: `receive` and `send` of the ASGI
specification, HTTP. What an answer may be is checked here; what would make it mean something else
(a line end in a header, a body longer than announced) is never sent.

The head goes out with the first bytes of the body. On a session that is kept the client must see
where the body ends: Content-Length if it is known, else chunks.
"""
import os
from http import HTTPStatus

from pool_loader.change import Change
from pool_loader.head import AnswerBody, ClientGone, is_token
from pool_loader.startup import report

# Control characters, which no header can hold (RFC 9110, 5.5), but for the tab.
CONTROLS = bytes([*range(9), *range(10, 32), 127])

# They describe a connection, which the session is not; the front end frames its own.
OF_THE_CONNECTION = frozenset(
    [b"keep-alive", b"proxy-connection", b"status", b"transfer-encoding", b"upgrade"]
)

# Header names seen so far: "plain", "length", "connection" or "dropped". Applications have few.
_kinds = {}
MAX_KINDS = 1_000

# Statuses as lines.
_lines = {}

# Up to here head and body are joined for one send.
MAX_JOINED_BYTES = 65_536

# What sendfile(2) is asked for at once; others have their turn in between.
SENDFILE_BYTES = 1024 * 1024

INTERIM = b"Status: 103 Early Hints\r\n"


class SpecificationError(RuntimeError):
    """The application has sent what it may not; the message names it."""


class Conversation:
    """What an application is called for: runs it. Whatever it does, the session goes on or ends by
    it.
    """

    async def run(self, application):
        try:
            await application(self.scope, self.receive, self.send)
            self._returned()
        except (SystemExit, KeyboardInterrupt) as error:
            self._fail(error)
            self.connection.instance.leave()
        except BaseException as error:  # CancelledError too: we are to leave.
            self._fail(error)
        finally:
            self.is_running = False
            self.connection.returned(self)


class Exchange(Conversation, AnswerBody):
    def __init__(self, connection, head, body):
        self.connection = connection
        self.scope = head.scope
        self.change = Change(connection.loop)
        self.is_running = True
        # What the application may send next: "start", "body", "trailers" or "nothing".
        self.expected = "start"
        self._head = head
        self._body = body
        self._outflow = connection.outflow
        self._is_gone = False
        self._has_all = False  # The application has been given the end of the body.
        self._start = None  # The head, without its end, until it is sent.
        self.is_begun = False  # Something of the answer is sent.
        self._has_body = True  # The status allows one.
        self._has_trailers = False

    def name(self):
        return self._head.name()

    def leave(self):
        """The client is gone: `receive` and `send` say so from now on."""
        self._is_gone = True
        self.change.happened()

    async def receive(self):
        body = self._body
        while True:
            if self._is_gone or self.expected == "nothing":
                return {"type": "http.disconnect"}
            if body.held:
                data = body.take()
                self.connection.read(True)
                self._has_all = body.is_whole
                return {"type": "http.request", "body": data, "more_body": not body.is_whole}
            if body.is_whole and not self._has_all:
                self._has_all = True
                return {"type": "http.request", "body": b"", "more_body": False}
            if body.is_whole:
                self.connection.look()
            if not self._is_gone:
                await self.change.wait()

    async def send(self, message):
        if self._has_left:
            raise ClientGone("the client is gone")
        kind = message["type"]
        if kind == "http.response.body" and self.expected == "body":
            await self._send_body(message)
        elif kind == "http.response.start" and self.expected == "start":
            self._take_start(message)
        elif kind == "http.response.trailers" and self.expected == "trailers":
            if not message.get("more_trailers", False):
                await self._finish()
        elif kind == "http.response.pathsend" and self.expected == "body":
            await self._send_path(message["path"])
        elif kind == "http.response.early_hint" and self.expected == "start":
            await self._send_hint(message["links"])
        else:
            raise SpecificationError(f"the application sent {kind!a}; {EXPECTED[self.expected]}")

    def _take_start(self, message):
        status = message["status"]
        line = _lines.get(status) or line_of_status(status)
        self._has_body = status not in (204, 205, 304)
        start, length = lines_of(message, without_length=status in (204, 205))
        self._length = length
        self._start = line + start
        self._has_trailers = bool(message.get("trailers", False))
        if status == 205:
            self._start += b"Content-Length: 0\r\n"
        self.expected = "body"

    @property
    def _has_left(self):
        """Whether the client has: read, or written to in vain."""
        return self._is_gone or self._outflow.is_broken

    @property
    def _may_have_body(self):
        return self._has_body and self._head.method != "HEAD"

    async def _send_body(self, message):
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _bytes_of(data, "http.response.body")
        is_last = not message.get("more_body", False)
        if not self._may_have_body:
            # How long it would be is said where it is known.
            total = len(data) if is_last and self._has_body and data else None
            if not self.is_begun:
                await self._begin(b"", total)
        else:
            data = self._within_length(data)
            if not self.is_begun:
                await self._begin(data, len(data) if is_last else None)
            elif data:
                await self._outflow.write(self._framed(data))
        if not is_last:
            return
        if self._has_trailers:
            self.expected = "trailers"
        else:
            await self._finish()

    async def _begin(self, data, total):
        """Sends the head and the first bytes. `total`: the length of the body, if it is known."""
        start, self._start = self._start, None
        if self._length is None:
            if total is not None:
                self._length = total
                start += b"Content-Length: %d\r\n" % total
            elif self._may_have_body and self._head.is_kept:
                self._is_chunked = True
                start += b"Transfer-Encoding: chunked\r\n"
                data = self._framed(data) if data else data  # An empty chunk would be the last.
        start += self.connection.last_line()
        self.is_begun = True
        if len(data) <= MAX_JOINED_BYTES:
            await self._outflow.write(start + b"\r\n" + data)
        else:
            await self._outflow.write(start + b"\r\n")
            await self._outflow.write(data)

    async def _finish(self):
        """The end of the answer."""
        self.expected = "nothing"
        is_whole = True
        if self._is_chunked:
            await self._outflow.write(b"0\r\n\r\n")
        elif self._may_have_body:
            is_whole = not self._falls_short()
        self.change.happened()
        is_framed = self._is_chunked or self._length is not None or not self._may_have_body
        self.connection.answered(is_whole and is_framed)

    async def _send_hint(self, links):
        if self._head.is_kept:
            lines = b"".join([b"Link: %b\r\n" % link for link in links])
            _refuse_controls(lines, len(links), "http.response.early_hint")
            await self._outflow.write(INTERIM + lines + b"\r\n")

    async def _send_path(self, path):
        """A whole file, by sendfile(2): its bytes never become ours."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if self._length is not None:
                size = min(size, self._length)
            await self._begin(b"", size)
            if self._may_have_body:
                await self._send_file(descriptor, size)
        finally:
            os.close(descriptor)
        await self._finish()

    async def _send_file(self, descriptor, size):
        client = self.connection.descriptor
        while self._written < size:
            count = min(size - self._written, SENDFILE_BYTES)
            try:
                sent = os.sendfile(client, descriptor, self._written, count)
            except BlockingIOError:
                sent = None
            except OSError:
                self._outflow.break_off()
                sent = None
            if sent == 0:
                return  # It has become shorter.
            self._written += sent or 0
            await self._outflow.room()

    def _returned(self):
        if self.expected != "nothing" and not self._has_left:
            self._fail(SpecificationError("the application returned: " + LACKS[self.expected]))

    def _fail(self, error):
        if self._has_left:
            if not is_of_the_client(error):
                report(self.name(), error)
            return
        # Who cancels what is under way is we, but only when we leave.
        if not (is_cancelled(error) and self.connection.instance.is_leaving):
            report(self.name(), error)
        if self.expected == "nothing":
            return  # The answer is out; what was done after it has failed.
        self.expected = "nothing"
        if self.is_begun:
            self.connection.lose()  # An end too early is all that is left.
            return
        text = b"Internal Server Error\n"
        head = (
            b"Status: 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\n%b\r\n" % (len(text), self.connection.last_line())
        )
        self.is_begun = True
        self._outflow.put(head + (b"" if self._head.method == "HEAD" else text))
        self.connection.answered(True)


EXPECTED = {
    "start": "what may come now is 'http.response.start'",
    "body": "what may come after 'http.response.start' is 'http.response.body'",
    "trailers": "what may come now is 'http.response.trailers', which it has announced",
    "nothing": "its answer was complete already",
}
LACKS = {
    "start": "it has sent no 'http.response.start'",
    "body": "it has sent no 'http.response.body' without more_body",
    "trailers": "it has sent no 'http.response.trailers', which it had announced",
}


def lines_of(message, without_length=False):
    """The headers of a message as lines, without those of a connection, and the length they name.
    Raises SpecificationError.
    """
    kind = message["type"]
    lines = []
    length = None
    named = set()
    try:
        for name, value in message.get("headers", ()):
            role = _kinds.get(name) or _kind_of(name, kind)
            if role == "dropped":
                continue
            if role == "connection":
                named.update(one.strip() for one in value.lower().split(b","))
                continue
            if role == "length":
                if not value.isdigit() or length not in (None, int(value)):
                    raise SpecificationError(f"{kind}: Content-Length is {value!a}")
                if without_length or length is not None:
                    continue
                length = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
    except (TypeError, AttributeError, ValueError) as error:
        what = "headers are not pairs of a name and a value, both bytes"
        raise SpecificationError(f"{kind}: {what}: {error}") from None
    text = b"".join(lines)
    _refuse_controls(text, len(lines), kind)
    return _without(named, lines) if named else text, length


def _without(named, lines):
    """The lines without the headers that Connection names: they are about the connection too, and
    nobody behind us could see that any more (RFC 9110, 7.6.1).
    """
    named.discard(b"content-length")
    return b"".join([line for line in lines if line.partition(b":")[0].lower() not in named])


def _kind_of(name, message):
    if type(name) is not bytes:
        raise TypeError(f"a name is a {type(name).__name__}")
    lower = name.lower()
    if not is_token(lower.decode("latin-1")):
        raise SpecificationError(f"{message}: the header name {name!a} is not one of HTTP")
    kind = "dropped" if lower in OF_THE_CONNECTION else "plain"
    kind = {b"content-length": "length", b"connection": "connection"}.get(lower, kind)
    if len(_kinds) < MAX_KINDS:
        _kinds[name] = kind
    return kind


def _refuse_controls(text, lines, message):
    """Of control characters there are the ends of our own lines, and no other."""
    if len(text) - len(text.translate(None, CONTROLS)) != 2 * lines:
        what = "a header has a line end or another control character"
        raise SpecificationError(f"{message}: {what}")


def line_of_status(status):
    """An interim answer (RFC 9110, 15.2) is no answer."""
    if type(status) is not int and not isinstance(status, int):
        raise SpecificationError(f"http.response.start: the status {status!a} is no number")
    if not 200 <= status <= 999:
        raise SpecificationError(f"http.response.start: the status {status} ends no request")
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    line = _lines[int(status)] = f"Status: {int(status)} {reason}\r\n".encode()
    return line


def _bytes_of(data, message):
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise SpecificationError(f"{message}: the body is made of bytes, not {type(data).__name__}")


def is_cancelled(error):
    return type(error).__name__ == "CancelledError"


def is_of_the_client(error):
    """Whether an error, or what it came of, is that the client has left."""
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ClientGone) or is_cancelled(error):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
