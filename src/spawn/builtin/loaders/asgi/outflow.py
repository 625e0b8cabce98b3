"""What goes out on a connection: at once what the kernel takes; the rest is held here, and whoever
sends waits for that, so no more is held than what is being sent.
"""
from _socket import MSG_NOSIGNAL

from pool_loader.change import Change
from pool_loader.head import ClientGone


class Outflow:
    def __init__(self, loop, connection):
        self._loop = loop
        self._connection = connection
        self._descriptor = connection.fileno()
        self._unsent = b""
        self._change = Change(loop)
        self.is_broken = False

    @property
    def is_empty(self):
        return not self._unsent

    def put(self, data):
        """Sends it, or the start of it. Whether all is sent. A client that is gone shows in
        `is_broken`.
        """
        if self._unsent:
            self._unsent += data
            return False
        try:
            sent = self._connection.send(data, MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.break_off()
            return True
        if sent == len(data):
            return True
        self._unsent = bytearray(memoryview(data)[sent:])
        self._loop.add_writer(self._descriptor, self._on_writable)
        return False

    async def write(self, data):
        """Sends it; returns when the kernel has it all. Raises ClientGone."""
        if not self.put(data):
            await self.drained()
        if self.is_broken:
            raise ClientGone("the client is gone")

    async def drained(self):
        """Returns when nothing is held any more, or nobody takes it."""
        while self._unsent:
            await self._change.wait()

    async def room(self):
        """For who writes to the socket himself: returns when the kernel takes bytes again."""
        await self.drained()
        self._loop.add_writer(self._descriptor, self._on_writable)
        await self._change.wait()
        if self.is_broken:
            raise ClientGone("the client is gone")

    def break_off(self):
        """Nobody takes what is held."""
        self.is_broken = True
        self._unsent = b""
        self._loop.remove_writer(self._descriptor)
        self._change.happened()

    def _on_writable(self):
        try:
            sent = self._connection.send(self._unsent, MSG_NOSIGNAL) if self._unsent else 0
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.break_off()
            return
        if sent:
            del self._unsent[:sent]  # Which moves nothing of a bytearray.
        if not self._unsent:
            self._unsent = b""
            self._loop.remove_writer(self._descriptor)
            self._change.happened()
