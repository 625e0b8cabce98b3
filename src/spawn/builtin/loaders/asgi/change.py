"""Something that coroutines wait for, any number of them at a time: each looks for itself what has
changed. (A future that is shared is cancelled for all by who is cancelled.)
"""


class Change:
    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop):
        self._loop = loop
        self._waiters = []

    async def wait(self):
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def happened(self):
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
