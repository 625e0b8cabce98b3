"""A session (PROTOCOL section 5), as far as it is the same for all interfaces: the bounds of its
head, what refuses that, where it and the body behind it end, and where an answer's body does.
"""
from pool_loader.startup import write_error

# The most bytes of headers that are read.
MAX_HEAD_BYTES = 128 * 1024

# A chunk's size with its extensions; all trailers.
MAX_LINE_BYTES = 4_096
MAX_TRAILER_LINES = 100
CR = 0x0D

# RFC 9110, 5.6.2: what methods and names of headers are made of.
TOKEN_CHARACTERS = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'*+.^_`|~-"
)

# Of usual requests: other methods are looked at more closely.
METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class BadRequest(OSError):
    """The request breaks the protocol or is no HTTP: answered with 400.

    An OSError, because that is what applications expect of a body which cannot be read.
    """


class ClientGone(ConnectionError):
    """The client has closed the connection: no fault of the application's."""


def is_token(text):
    return text != "" and not text.strip(TOKEN_CHARACTERS)


def check_method(method):
    if not method:
        raise BadRequest("REQUEST_METHOD is missing")
    if not is_token(method):
        raise BadRequest(f"the method {method!a} is not one of HTTP")


def length_of(text):
    """CONTENT_LENGTH as a number; None without one."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest("CONTENT_LENGTH is not a length")
    return int(text)


def has_head(data):
    """Whether there is a whole head, or enough of one to refuse it."""
    if len(data) < 4:
        return False
    size = int.from_bytes(data[:4], "big")
    return len(data) >= 4 + size or size > MAX_HEAD_BYTES


class Chunks:
    """A body in chunks (RFC 9112, 7.1) as it comes in. Extensions and trailers are dropped."""

    def __init__(self):
        # Bytes of the chunk at hand that are still to come.
        self._left = 0
        # What comes when there are none: "size", "data end" or "trailer".
        self._next = "size"
        # The start of a line.
        self._line = b""
        self._trailer_lines = 0
        self.is_whole = False

    def feed(self, data, add):
        """Calls `add` with each piece of the body. Returns what is behind it. Raises BadRequest."""
        if self._line:
            data = self._line + data
            self._line = b""
        at = 0
        while at < len(data) and not self.is_whole:
            if self._left:
                piece = data[at : at + self._left]
                self._left -= len(piece)
                at += len(piece)
                add(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > MAX_LINE_BYTES:
                    raise BadRequest(f"a line between chunks exceeds {MAX_LINE_BYTES} bytes")
                self._line = data[at:]
                return b""
            if end == at or data[end - 1] != CR:
                raise BadRequest("a line between chunks lacks its CR")
            self._take(data[at : end - 1])
            at = end + 1
        return data[at:]

    def _take(self, line):
        if self._next == "size":
            self._left = _chunk_size(line)
            self._next = "data end" if self._left else "trailer"
        elif self._next == "data end":
            if line:
                raise BadRequest("a chunk is longer than its size")
            self._next = "size"
        elif line:
            self._trailer_lines += 1
            if self._trailer_lines > MAX_TRAILER_LINES:
                raise BadRequest(f"more than {MAX_TRAILER_LINES} trailers")
        else:
            self.is_whole = True


def _chunk_size(line):
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadRequest("a chunk's size is no number")
    return int(digits, 16)


class AnswerBody:
    """How much of an answer's body has gone out, and of how much: `name` says whose it is."""

    # As announced, if it is.
    _length = None
    _written = 0
    _is_chunked = False

    def _framed(self, data):
        return b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data

    def _within_length(self, data):
        """The part of a piece that the announced length has room for."""
        self._written += len(data)
        if self._length is None or self._written <= self._length:
            return data
        self._complain(f"the body is longer than its Content-Length of {self._length}; it is cut")
        excess = self._written - self._length
        self._written = self._length
        return data[: max(0, len(data) - excess)]

    def _falls_short(self):
        """Whether it has ended too early."""
        if self._length is None or self._written >= self._length:
            return False
        self._complain(f"the body has {self._written} bytes of {self._length} announced")
        return True

    def _complain(self, text):
        write_error(f"{self.name()}: {text}\n")
