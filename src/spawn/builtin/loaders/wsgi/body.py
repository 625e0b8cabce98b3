"""wsgi.input: the body of a request, read from its socket as the application asks for it.

Never more than the body is given out, and never more is held than one piece from the socket. Where
it ends differs: after CONTENT_LENGTH bytes, at the last chunk, or where the client ends its side.
"""
from _socket import MSG_DONTWAIT

from pool_loader.head import Chunks, ClientGone

PIECE_BYTES = 65_536

# What is taken in of a body nobody wants before others have their turn.
MAX_DISCARDED_PIECES = 16


class EmptyBody:
    """No body; one for all requests that have none."""

    rest = b""
    is_whole = True

    def read(self, size=-1):
        return b""

    def readline(self, size=-1):
        return b""

    def readlines(self, hint=-1):
        return []

    def __iter__(self):
        return iter(())

    def discard(self):
        return True


class Body:
    """The reading; `_fill` of the subclasses says what comes next."""

    # Bytes that are still to be taken in, or some.
    _left = 1

    def __init__(self, connection):
        self._connection = connection
        self._flags = 0
        self._buffer = b""
        self._at = 0
        # Bytes after the body: the start of the next request.
        self.rest = b""

    @property
    def is_whole(self):
        """Whether all of it has been taken in."""
        return self._left == 0

    def _fill(self):
        """The next piece of the body; b"" at its end."""
        raise NotImplementedError

    def _receive(self, size=PIECE_BYTES):
        try:
            return self._connection.recv(size, self._flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ClientGone("the client is gone") from error

    def read(self, size=-1):
        """As of a file: fewer than `size` bytes only at the end."""
        size = float("inf") if size is None or size < 0 else size
        pieces = []
        have = 0
        while have < size:
            piece = self._take(size - have)
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self, size=-1):
        size = float("inf") if size is None or size < 0 else size
        pieces = []
        have = 0
        while have < size:
            if self._at == len(self._buffer) and not self._refill():
                break
            end = self._buffer.find(b"\n", self._at) + 1
            piece = self._take(min(size - have, (end or len(self._buffer)) - self._at))
            pieces.append(piece)
            have += len(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces)

    def readlines(self, hint=-1):
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self):
        return iter(self.readline, b"")

    def _take(self, size):
        """At most `size` bytes, at least one but at the end."""
        if self._at == len(self._buffer) and not self._refill():
            return b""
        end = min(self._at + size, len(self._buffer))
        piece = self._buffer[self._at : end]
        self._at = end
        return piece

    def _refill(self):
        self._buffer = self._fill()
        self._at = 0
        return self._buffer

    def discard(self):
        """Takes in what has arrived of the rest, without waiting. True: the body has ended."""
        self._buffer = b""
        self._at = 0
        self._flags = MSG_DONTWAIT
        try:
            return any(not self._fill() for _ in range(MAX_DISCARDED_PIECES))
        except BlockingIOError:
            return False


class EndlessBody(Body):
    """Ends where the client ends its side. `start`: what has arrived of it."""

    def __init__(self, connection, start):
        super().__init__(connection)
        self._buffer = start

    def _fill(self):
        piece = self._receive() if self._left else b""
        self._left = len(piece)
        return piece


class LengthBody(Body):
    def __init__(self, connection, start, length):
        super().__init__(connection)
        self._buffer = start[:length]
        self.rest = start[length:]
        self._left = length - len(self._buffer)

    def _fill(self):
        if self._left == 0:
            return b""
        piece = self._receive(min(self._left, PIECE_BYTES))
        if not piece:
            raise ClientGone("the client ended the body early")
        self._left -= len(piece)
        return piece


class ChunkedBody(Body):
    def __init__(self, connection, start):
        super().__init__(connection)
        self._raw = start
        self._chunks = Chunks()
        self._pieces = []

    @property
    def is_whole(self):
        return self._chunks.is_whole

    def _fill(self):
        while not self._pieces:
            if self.is_whole:
                return b""
            raw = self._raw or self._receive()
            if not raw:
                raise ClientGone("the client ended the body early")
            self._raw = b""
            self.rest = self._chunks.feed(raw, self._pieces.append)
        return self._pieces.pop(0)
