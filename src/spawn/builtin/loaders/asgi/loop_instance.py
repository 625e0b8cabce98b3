"""An instance of an ASGI application at work: one event loop for any number of sessions.

The loop begins after the fork, and is uvloop's where the application's environment has that. The
instance leaves after the requests at hand on SIGUSR1, and after the last session when the lifeline
has ended: where the server has died, clients have no others yet; else it has asked for those that
are kept. WebSockets are closed either way. SIGTERM leaves sessions a moment. Last the application's
lifespan ends, and atexit handlers run.
"""
import _signal
import asyncio
import errno
import os
import resource
import socket

from pool_loader import lifeline, startup
from pool_loader.connection import Connection
from pool_loader.lifespan import Lifespan, LifespanFailed
from pool_loader.reports import RETRY_SECONDS, Reports
from pool_loader.scope import has_old_starlette
from pool_loader.websocket import WebSocket

try:
    import uvloop
except Exception:  # It is not there, or not for this Python.
    uvloop = None

# Connections that are accepted in one go.
ACCEPTS_AT_ONCE = 32

# Connections held beyond those with a request under way: kept ones, and those whose request is not
# whole yet. As many again as there may be requests, and some. WebSockets come on top: they last,
# and visitors who have many open must not keep others out.
MORE_CONNECTIONS = 256

# How long no connection is accepted when there is no descriptor for it.
SHORTAGE_SECONDS = 0.05
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# What requests under way have once the lifeline has ended, of the ten seconds after which the
# process is ended in any case; and once SIGTERM has come, which means soon.
LEAVING_SECONDS = 6
TERM_SECONDS = 0.5
# What each of the following has: requests that are cancelled, the lifespan, other tasks.
SHUTDOWN_SECONDS = 1
# After SIGTERM the kernel ends what is left; a loop that does not even hear of it, sooner.
LAST_SECONDS = TERM_SECONDS + 3 * SHUTDOWN_SECONDS + 0.5
DEAF_SECONDS = 0.5


class LoopInstance:
    def __init__(self, application, concurrency):
        self._application = application
        self._concurrency = concurrency
        self._listener = None
        self._reports = None
        self._lifespan = None
        self._connections = set()
        self._switched = 0  # Of those, the ones that are WebSockets.
        self._under_way = set()
        self._waiting = {}  # In their order.
        self._running = {}  # Exchanges whose application has not returned, with their tasks.
        self._is_accepting = False
        self._deadline = None
        self._gone = None
        self.loop = None
        self.has_uvloop = uvloop is not None
        self.is_leaving = False
        self._leaves_unused = False
        self.is_serial = concurrency == 1
        # Of the path of every request: the specification has it whole.
        self.is_path_below_root = has_old_starlette()

    @property
    def state(self):
        return self._lifespan.state

    @property
    def may_keep(self):
        return self._short <= 2 * self._concurrency + MORE_CONNECTIONS // 2

    def run(self):
        """Announces itself, serves, and returns when it is to leave."""
        lifeline.keep_to_ourselves()
        lifeline.end_with_server()
        self._make_room()
        self.loop = uvloop.new_event_loop() if self.has_uvloop else asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        finally:
            self._leave_behind()

    async def _live(self):
        self._lifespan = Lifespan(self._application, self.loop)
        try:
            await self._lifespan.start()
        except LifespanFailed as failure:
            text = f"lifespan.startup failed: {failure}\n"
            startup.write_error(text)
            lifeline.tell_failure(text)
            os._exit(1)
        self._begin()
        await self._gone
        await self._cancel(self._running.values())
        await self._lifespan.end(SHUTDOWN_SECONDS)
        await self._cancel(asyncio.all_tasks() - {asyncio.current_task()})

    def _begin(self):
        self._gone = self.loop.create_future()
        self._reports = Reports()
        self._listener = socket.socket(fileno=lifeline.LISTENER)
        self._listener.setblocking(False)
        os.register_at_fork(after_in_child=self._let_go_in_child)
        _signal.signal(_signal.SIGUSR1, lambda *_: self._call(self.leave))
        _signal.signal(_signal.SIGTERM, self._on_term)
        lifeline.stop_ending_with_server()
        lifeline.watch(lambda: self._call(self._on_lifeline_end), self._describe_tasks)
        self._accept_on(True)
        lifeline.tell("ready", str(self._concurrency), "done")

    def _call(self, function):
        """From a thread or a handler of a signal."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            pass  # The loop is closed: it has left already.

    # Connections.

    def _accept_on(self, wanted):
        if wanted == self._is_accepting or (wanted and self.is_leaving):
            return
        self._is_accepting = wanted
        if wanted:
            self.loop.add_reader(self._listener.fileno(), self._accept)
        else:
            self.loop.remove_reader(self._listener.fileno())

    @property
    def _short(self):
        """Connections that come and go."""
        return len(self._connections) - self._switched

    @property
    def _has_room(self):
        return self._short < 2 * self._concurrency + MORE_CONNECTIONS

    def _accept(self):
        for _ in range(ACCEPTS_AT_ONCE):
            if not self._has_room:
                self._accept_on(False)
                return
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno in SHORTAGES:
                    self._relieve()
                return
            client.setblocking(False)
            self._connections.add(Connection(self, client))

    def _relieve(self):
        """There are no descriptors: kept sessions are ended, which their clients must expect."""
        for connection in list(self._connections):
            if connection.is_idle:
                connection.close_now()
        self._accept_on(False)
        self.loop.call_later(SHORTAGE_SECONDS, self._accept_on, True)

    def switched(self, connection):
        """It takes no place any more."""
        self._switched += 1
        if self._switched % MORE_CONNECTIONS == 0:
            self._make_room()
        self.end_turn(connection)
        if self._has_room:
            self._accept_on(True)

    def _make_room(self):
        make_room(2 * self._concurrency + 2 * MORE_CONNECTIONS + self._switched)

    def closed(self, connection):
        self._connections.discard(connection)
        if connection.has_switched:
            self._switched -= 1
        self.end_turn(connection)
        if self._has_room:
            self._accept_on(True)
        self._leave_if_unused()
        self._leave_if_done()

    # Requests.

    def begin(self, connection):
        """Its request is here, and begins when it is its turn."""
        if len(self._under_way) < self._concurrency:
            self._under_way.add(connection)
            connection.start()
        else:
            self._waiting[connection] = True

    def end_turn(self, connection):
        self._waiting.pop(connection, None)
        if connection not in self._under_way:
            return
        self._under_way.discard(connection)
        if self._waiting:
            following = next(iter(self._waiting))
            del self._waiting[following]
            self._under_way.add(following)
            self.loop.call_soon(self._start, following)
        if self.is_leaving and connection.is_idle:
            connection.close_now()

    def _start(self, connection):
        if connection.state == "waiting":
            connection.start()
        else:
            self.end_turn(connection)

    def run_exchange(self, exchange):
        self._running[exchange] = self.loop.create_task(exchange.run(self._application))

    def ended(self, exchange):
        del self._running[exchange]
        if self.is_leaving:
            self._leave_if_done()

    def tell_done(self):
        is_first = self._reports.untold == 0
        self._reports.tell_done()
        if is_first and self._reports.untold:
            self.loop.call_later(RETRY_SECONDS, self._tell_again)

    def _tell_again(self):
        if not self._reports.told_all():
            self.loop.call_later(RETRY_SECONDS, self._tell_again)

    def _describe_tasks(self):
        """Where each request is, for people; from another thread."""
        lines = []
        for exchange, task in list(self._running.items()):
            lines.append(f"stack of {exchange.name()} (most recent call first):\n")
            lines += lifeline.frames_of(task.get_coro())
        return "".join(lines)

    # The end.

    def _on_term(self, *_):
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
        _signal.setitimer(_signal.ITIMER_REAL, DEAF_SECONDS)
        self._call(self._leave_soon)

    def _leave_soon(self):
        _signal.setitimer(_signal.ITIMER_REAL, LAST_SECONDS)
        self._leave_within(TERM_SECONDS)

    def _on_lifeline_end(self):
        self._leaves_unused = True
        self._end_within(LEAVING_SECONDS)
        self._restart_web_sockets()
        self._leave_if_unused()

    def _leave_within(self, seconds):
        self._end_within(seconds)
        self.leave()

    def _end_within(self, seconds):
        if self._deadline is None or self.loop.time() + seconds < self._deadline.when():
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self.loop.call_later(seconds, self._give_up)

    def _leave_if_unused(self):
        if self._leaves_unused and not self._connections:
            self.leave()

    def leave(self):
        """Accepts nothing more, and ends after the sessions at hand."""
        if self.is_leaving:
            return
        self._accept_on(False)
        # Who asks from now on is refused at once; who was queueing is still accepted.
        self._listener.shutdown(socket.SHUT_RD)
        self._accept()
        self.is_leaving = True
        for connection in list(self._connections):
            connection.leave()
        self._restart_web_sockets()
        self._leave_if_done()

    def _restart_web_sockets(self):
        for exchange in list(self._running):
            if isinstance(exchange, WebSocket):
                exchange.restart()

    def _leave_if_done(self):
        if self.is_leaving and not self._connections and not self._running:
            self._give_up()

    def _give_up(self):
        self.is_leaving = True
        if not self._gone.done():
            self._gone.set_result(None)

    async def _cancel(self, tasks):
        """Those that have had their time; they have a moment for what is to be done last."""
        tasks = list(tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)

    def _leave_behind(self):
        """The server hears of it now, however long atexit handlers and threads will take."""
        if self._reports is not None:
            self._reports.end()
        for connection in list(self._connections):
            connection.drop()
        lifeline.end_group()

    def _let_go_in_child(self):
        """A child that the application forks answers nobody, and leaves if it returns to us."""
        self.is_leaving = True
        self._listener.detach()  # Its descriptor is closed already.
        self._reports.let_go_in_child()
        for connection in self._connections:
            connection.drop()
        self.loop.call_soon(os._exit, 0)


def make_room(descriptors):
    """Raises our own limit of descriptors, as other runtimes do, as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
