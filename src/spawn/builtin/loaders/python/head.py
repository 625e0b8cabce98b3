"""The head of a session (PROTOCOL section 5), as far as it is the same for all interfaces: its
bounds, what refuses it, and where it and the body behind it end.
"""

# The most bytes of headers that are read.
MAX_HEAD_BYTES = 128 * 1024

# A chunk's size with its extensions; all trailers.
MAX_LINE_BYTES = 4_096
MAX_TRAILER_LINES = 100

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


class ChunkLines:
    """The lines between the chunks of a body (RFC 9112, 7.1): how many bytes follow, and where it
    ends. Extensions and trailers are dropped.
    """

    def __init__(self):
        # Bytes of the chunk at hand that are still to come.
        self.left = 0
        # What comes when there are none: "size", "data end", "trailer" or "nothing".
        self.next = "size"
        self._trailer_lines = 0

    def take(self, line):
        """Raises BadRequest."""
        if self.next == "size":
            self.left = _chunk_size(line)
            self.next = "data end" if self.left else "trailer"
        elif self.next == "data end":
            if line:
                raise BadRequest("a chunk is longer than its size")
            self.next = "size"
        elif line:
            self._trailer_lines += 1
            if self._trailer_lines > MAX_TRAILER_LINES:
                raise BadRequest(f"more than {MAX_TRAILER_LINES} trailers")
        else:
            self.next = "nothing"


def _chunk_size(line):
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadRequest("a chunk's size is no number")
    return int(digits, 16)
