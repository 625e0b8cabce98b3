"""The answer to one request: start_response, write and the iterable of PEP 3333, in CGI form.

The head goes out with the first bytes of the body, in one call. On a session that is kept the
client must see where the body ends: Content-Length if it is known, else chunks. What would make an
answer mean something else (a line end in a header, a body longer than announced) is never sent.
"""
import errno
import os
from _socket import MSG_NOSIGNAL

from pool_loader.file_wrapper import FileWrapper
from pool_loader.head import AnswerBody, ClientGone, is_token

# Control characters, which no header can hold (RFC 9110, 5.5), but for the tab.
CONTROLS = frozenset(chr(code) for code in [*range(32), 127] if code != 9)

# They describe a connection, which the session is not; the front end frames its own.
OF_THE_CONNECTION = frozenset(
    ["keep-alive", "proxy-connection", "status", "transfer-encoding", "upgrade"]
)

# Header names seen so far: "plain", "length", "connection" or "dropped". Applications have few.
_kinds = {}
# Statuses seen so far, and what HTTP has to say of their answers (RFC 9110, 6.4.1, 8.6 and 15.3.6):
# whether they have a body, which kinds of headers are sent, and a line that they need.
_statuses = {}
MAX_KNOWN = 1_000

# Up to here head and body are joined for one send; copying more costs more than a second one.
MAX_JOINED_BYTES = 65_536

# The most one call of sendfile(2) is asked for; Linux ends it a little above.
MAX_SENDFILE_BYTES = 0x7FFFF000


class Answer(AnswerBody):
    """`is_sent`: the head is out. `is_whole`: so is the end, where the client can see it.
    `is_last`: the session ends with it, as the head has said to a client that keeps sessions.
    """

    # Without the empty line; None until the application has called start_response.
    _head = None
    # The status allows one; and it is not left out for HEAD.
    _has_body = _may_have_body = True
    is_sent = False
    is_whole = False

    def __init__(self, connection, environ, body, is_kept, may_keep):
        self._connection = connection
        self._environ = environ
        self._body = body
        # Whether the client asked for it, so that it has to see where the answer ends.
        self._is_kept = is_kept
        self.is_last = not may_keep

    def start(self, status, headers, exc_info=None):
        """start_response."""
        if exc_info:
            try:
                if self.is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise RuntimeError("start_response was called twice, the second time without exc_info")
        allowed = _statuses.get(status) or _look_at(status)
        self._has_body, sent, needed = allowed
        self._may_have_body = self._has_body and self._environ["REQUEST_METHOD"] != "HEAD"
        self._length = None
        named = ""
        text = "Status: " + status + "\r\n" + needed
        for name, value in headers:
            kind = _kinds.get(name) or _kind_of(name)
            if kind == "connection":
                named += value + ","
            if kind not in sent:
                continue
            if kind == "length":
                self._set_length(value)
            text += name + ": " + value + "\r\n"
            if not value.isprintable():
                _refuse_controls(value)
        if named:
            text = _without(named, text)
        self._head = text.encode("latin-1")
        return self.write

    def _set_length(self, value):
        if not (value.isascii() and value.isdigit()) or self._length not in (None, int(value)):
            raise ValueError(f"Content-Length is {value!a}")
        self._length = int(value)

    def write(self, data):
        """What start_response returns: sends a piece of the body now, with the first one the head,
        also if that piece is empty.
        """
        self._put(data)
        if not self.is_sent:
            self._begin(b"")

    def _put(self, data):
        """Sends a piece of the body, the head before it if it is the first that is not empty."""
        if type(data) is not bytes:
            raise TypeError(f"the body is made of bytes, not {type(data).__name__}")
        if not data or not self._may_have_body:
            return
        data = self._within_length(data)
        if not self.is_sent:
            self._begin(data)
        elif data:
            self._send(self._framed(data))

    def _begin(self, data, total=None):
        """Sends the head and the first bytes. `total`: the length of the body, if it is known."""
        head = self._head
        if head is None:
            raise RuntimeError("the application did not call start_response")
        if self._length is None:
            if total is not None:
                self._length = total
                head += b"Content-Length: %d\r\n" % total
            elif self._is_kept and self._may_have_body:
                self._is_chunked = True
                head += b"Transfer-Encoding: chunked\r\n"
                data = self._framed(data) if data else data  # An empty chunk would be the last.
        self.is_last = self.is_last or not self._body.is_whole
        if self.is_last and self._is_kept:
            head += b"Connection: close\r\n"
        self.is_sent = True
        if len(data) <= MAX_JOINED_BYTES:
            self._send(head + b"\r\n" + data)
        else:
            self._send(head + b"\r\n")
            self._send(data)

    def _send(self, data):
        try:
            self._connection.sendall(data, MSG_NOSIGNAL)
        except OSError as error:
            raise ClientGone("the client is gone") from error

    def send(self, result):
        """Sends what the application returned, to its end."""
        if type(result) in (list, tuple):
            body = result[0] if len(result) == 1 else b"".join(result)
            if self.is_sent or type(body) is not bytes:
                self._put(body)
            else:
                return self._send_whole(body)
        elif isinstance(result, FileWrapper) and self._send_file(result):
            pass
        else:
            self._send_pieces(result)
        self._finish()

    def _send_whole(self, body):
        """The usual case: a body that is there as a whole, and nothing is out yet."""
        if not self._may_have_body:
            self._begin(b"", len(body) if self._has_body and body else None)
        elif self._length is None or self._length == len(body):
            self._begin(body, len(body))
        else:
            self._put(body)
            return self._finish()
        self.is_whole = True

    def _send_pieces(self, result):
        if self._head is not None and not self._may_have_body:
            return  # An endless one would never end.
        # An iterable that knows to be of one piece gives its length away (PEP 3333).
        is_single = hasattr(type(result), "__len__") and len(result) == 1
        for data in result:
            if is_single and not self.is_sent and type(data) is bytes:
                return self._send_whole(data)
            self._put(data)
            if not self._may_have_body:
                return

    def _finish(self):
        """The end of the body: what is still to be said of it."""
        if self.is_whole:
            return
        if not self.is_sent:
            self._begin(b"", 0 if self._may_have_body else None)
        elif self._is_chunked:
            self._send(b"0\r\n\r\n")
        self.is_whole = not (self._may_have_body and self._falls_short())

    def name(self):
        return request_name(self._environ)

    def _send_file(self, wrapper):
        """Sends a file by sendfile(2). False: it is none that can be sent so; nothing was sent."""
        region = None if self.is_sent else wrapper.region()
        if region is None:
            return False
        descriptor, offset, length = region
        if self._length is not None:
            length = min(length, self._length)
        self._begin(b"", length if self._has_body else None)
        if not self._may_have_body:
            return True
        end = offset + length
        while offset < end:
            sent = self._send_region(descriptor, offset, min(end - offset, MAX_SENDFILE_BYTES))
            if sent == 0:
                break  # It has become shorter.
            offset += sent
            self._written += sent
        return True

    def _send_region(self, descriptor, offset, length):
        try:
            return os.sendfile(self._connection.fileno(), descriptor, offset, length)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise ClientGone("the client is gone") from error
        # A file system that sendfile cannot read from.
        data = os.pread(descriptor, min(length, MAX_JOINED_BYTES), offset)
        self._send(data)
        return len(data)

    def fail(self, status, text):
        """Replaces an answer of which nothing has been sent."""
        body = text.encode()
        self._head = None
        self.start(status, [("Content-Type", "text/plain; charset=utf-8")])
        self._send_whole(body)


def request_name(environ):
    """A request, for the log: without the query, which may hold what is nobody's business."""
    return f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')!a}"


def _look_at(status):
    """What is said of a status in `_statuses`. An interim answer (RFC 9110, 15.2) is no answer."""
    code = status[:3]
    if not (code.isdigit() and code.isascii() and status[3:4] in ("", " ") and code >= "100"):
        raise ValueError(f"the status {status!a} is not three digits and a reason")
    if code < "200":
        raise ValueError(f"the status {status!a} ends no request")
    _refuse_controls(status)
    needed = "Content-Length: 0\r\n" if code == "205" else ""
    sent = ("plain",) if code in ("204", "205") else ("plain", "length")
    allowed = (code not in ("204", "205", "304"), sent, needed)
    if len(_statuses) < MAX_KNOWN:
        _statuses[status] = allowed
    return allowed


def _kind_of(name):
    if not is_token(name):
        raise ValueError(f"the header name {name!a} is not one of HTTP")
    lower = name.lower()
    kind = "dropped" if lower in OF_THE_CONNECTION else "plain"
    kind = {"content-length": "length", "connection": "connection"}.get(lower, kind)
    if len(_kinds) < MAX_KNOWN:
        _kinds[name] = kind
    return kind


def _refuse_controls(text):
    if not CONTROLS.isdisjoint(text):
        raise ValueError("the status or a header has a line end or another control character")


def _without(named, text):
    """A head without the headers that Connection names: they are about the connection too, and
    nobody behind us could see that any more (RFC 9110, 7.6.1).
    """
    names = {name.strip() for name in named.lower().split(",")} - {"content-length"}
    status, *lines = text[:-2].split("\r\n")
    kept = [line for line in lines if line.partition(":")[0].lower() not in names]
    return "\r\n".join([status, *kept, ""])
