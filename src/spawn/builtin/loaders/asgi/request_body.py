"""The body of a request as it comes in: bytes go in, the body's own come out, and what is behind
it is given back. It never waits; who feeds it stops at `MAX_HELD_BYTES`.
"""
from pool_loader.head import Chunks

# Of a body that the application has not asked for yet; what is read at once comes on top.
MAX_HELD_BYTES = 65_536


class RequestBody:
    """Ends after `length` bytes; None: where the client ends its side."""

    def __init__(self, length):
        self._left = float("inf") if length is None else length
        self._pieces = []
        self.held = 0

    @property
    def is_whole(self):
        return self._left == 0

    @property
    def is_to_the_end(self):
        return self._left == float("inf")

    @property
    def is_full(self):
        return self.held >= MAX_HELD_BYTES

    def feed(self, data):
        """Returns what is behind the body. Raises BadRequest."""
        if len(data) <= self._left:
            self._left -= len(data)
            self._add(data)
            return b""
        wanted = self._left
        self._left = 0
        self._add(data[:wanted])
        return data[wanted:]

    def end(self):
        """The client has ended its side, where that ends the body."""
        self._left = 0

    def take(self):
        """All there is of it, which is forgotten here."""
        pieces, self._pieces = self._pieces, []
        self.held = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _add(self, data):
        if data:
            self._pieces.append(data)
            self.held += len(data)


class ChunkedBody(RequestBody):
    is_to_the_end = False

    def __init__(self):
        super().__init__(0)
        self._chunks = Chunks()

    @property
    def is_whole(self):
        return self._chunks.is_whole

    def feed(self, data):
        return self._chunks.feed(data, self._add)


def body_of(head):
    """The reader of a request's body."""
    if head.is_chunked:
        return ChunkedBody()
    # On a kept session a body must say where it ends; and a GET without a length has none.
    has_none = head.is_kept or head.method in ("GET", "HEAD")
    return RequestBody(0 if head.length is None and has_none else head.length)
