"""The lifespan of an application (ASGI, Lifespan): it is told when the instance begins and when it
ends, and its state is copied for each request. An application that knows no lifespan is served all
the same.
"""
import asyncio

from pool_loader.change import Change
from pool_loader.startup import report, write_error

VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class LifespanFailed(Exception):
    """The application has said `lifespan.startup.failed`; the message is its own."""


class Lifespan:
    def __init__(self, application, loop):
        self.state = {}
        self._application = application
        self._loop = loop
        self._change = Change(loop)
        # "startup", "running", "shutdown", "over"; or "unsupported".
        self._phase = "startup"
        self._is_told = False
        self._failure = None
        self._task = None

    async def start(self):
        """Raises LifespanFailed."""
        self._task = self._loop.create_task(self._run())
        while self._phase == "startup":
            await self._change.wait()
        if self._failure is not None:
            raise LifespanFailed(self._failure)

    async def end(self, seconds):
        """Tells it, and waits so long at most."""
        if self._phase != "running":
            return
        self._phase, self._is_told = "shutdown", False
        self._change.happened()
        await asyncio.wait([self._task], timeout=seconds)
        if not self._task.done():
            write_error(f"lifespan: its shutdown has not ended within {seconds} s\n")
            self._task.cancel()

    async def _run(self):
        scope = {"type": "lifespan", "asgi": VERSIONS.copy(), "state": self.state}
        try:
            await self._application(scope, self._receive, self._send)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            # Who refuses the scope does it before he asks for anything; others have failed.
            if self._is_told and self._failure is None:
                report("lifespan", error)
        self._phase = "unsupported" if self._phase == "startup" else "over"
        self._change.happened()

    async def _receive(self):
        while self._is_told or self._phase not in ("startup", "shutdown"):
            await self._change.wait()
        self._is_told = True
        return {"type": f"lifespan.{self._phase}"}

    async def _send(self, message):
        kind = message["type"]
        known = (f"lifespan.{self._phase}.complete", f"lifespan.{self._phase}.failed")
        if self._phase not in ("startup", "shutdown") or kind not in known:
            raise RuntimeError(f"the application sent {kind!a}, not one of {known}")
        if kind == "lifespan.startup.failed":
            self._failure = message.get("message", "") or "it said no more"
        elif kind == "lifespan.shutdown.failed":
            write_error(f"lifespan: its shutdown failed: {message.get('message', '')}\n")
        self._phase = "running" if self._phase == "startup" and not self._failure else "over"
        self._change.happened()
