"""An instance at work: it waits on its listener, its lifeline and the sessions it holds, and serves
whoever is ready, one at a time, each in its turn. (threaded_instance.py serves several at a time.)

It leaves after the request at hand on SIGUSR1, or when the application calls sys.exit(), and after
the last session when the lifeline has ended: where the server has died, clients have no others yet;
else it has asked for those that are kept. Then atexit handlers run. SIGTERM and SIGINT keep the
kernel's action.
"""
import _signal
import errno
import os
from _socket import AF_UNIX, SOCK_STREAM, getdefaulttimeout, socket
from _thread import get_ident
from select import POLLIN, POLLRDHUP, poll
from time import monotonic, sleep

from pool_loader import lifeline
from pool_loader.answer import request_name
from pool_loader.reports import RETRY_SECONDS, Reports
from pool_loader.session import Session
from pool_loader.waker import Waker

LISTENER, LIFELINE = lifeline.LISTENER, lifeline.DESCRIPTOR

MAIN_THREAD = get_ident()

# Connections held at once: kept sessions, and those whose request is not whole yet. Beyond it new
# ones wait in the backlog, and sessions are closed instead of kept. It leaves the application most
# of the usual limit of 1,024 descriptors.
MAX_HELD = 250
MAX_KEPT = 200

# How long no connection is accepted when there is no descriptor for it.
SHORTAGE_SECONDS = 0.05

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def kind_for(sessions):
    """The kind of instance that serves so many sessions at a time: to be asked before the
    application is loaded, which may replace what it is made of.
    """
    if sessions == 1:
        return Instance
    from pool_loader.threaded_instance import ThreadedInstance

    return ThreadedInstance


class Instance:
    def __init__(self, application, sessions):
        self._application = application
        self._sessions_at_once = sessions
        self._listener = socket_of(LISTENER)
        self._listener.setblocking(False)
        self._reports = Reports()
        self._poller = poll()
        # In this order events are reported: whether to leave is seen first.
        # Its end alone: what is said there is for the thread that watches it.
        self._poller.register(LIFELINE, POLLRDHUP)
        self._poller.register(LISTENER, POLLIN)
        self._is_accepting = True
        self._held = {}
        self._lingering = {}
        self._ready = {}
        # The session whose turn it is.
        self._current = None
        self._is_leaving = False
        self._leaves_unused = False
        self._waker = Waker()
        self._poller.register(self._waker.descriptor, POLLIN)

    def run(self):
        """Announces itself, serves, and returns when it is to leave."""
        lifeline.keep_to_ourselves()
        os.register_at_fork(after_in_child=self._let_go_in_child)
        _signal.signal(_signal.SIGUSR1, self._on_leave)
        lifeline.stop_ending_with_server()
        lifeline.watch(serving=self._request_of)
        # It says when each session is over.
        lifeline.tell("ready", str(self._sessions_at_once), "done")
        try:
            self._serve_until_told()
        finally:
            self._leave()

    def _serve_until_told(self):
        while not self._is_leaving:
            self._serve_ready()

    def _request_of(self, thread):
        """What a thread serves just now, for the log; None: nothing."""
        return name_of(self._current) if thread == MAIN_THREAD else None

    def _serve_ready(self):
        for descriptor, _ in self._wait():
            session = self._held.get(descriptor)  # It may have been ended in this round.
            if session is not None:
                self._take_turn(session, descriptor)
            elif descriptor == LISTENER:
                self._accept()
            elif descriptor == LIFELINE:
                self._poller.unregister(LIFELINE)
                self._leaves_unused = True
            else:
                self._waker.calm()
            if self._is_leaving:
                return
        if self._ready:
            self._serve_rest()
        if self._lingering:
            self._end_lingering()
        if self._leaves_unused and not self._held:
            self._is_leaving = True

    def _serve_rest(self):
        """Sessions whose next request came with the one before."""
        ready, self._ready = self._ready, {}
        for descriptor, session in ready.items():
            if self._held.get(descriptor) is session and not self._is_leaving:
                self._take_turn(session, descriptor)

    def _wait(self):
        """Descriptors with something to do, and what."""
        is_patient = not (self._ready or self._reports.untold or self._lingering)
        patience = None if is_patient else self._patience()
        return self._poller.poll(patience)

    def _patience(self):
        """For how many milliseconds there is nothing to do without an event; None: for ever."""
        if self._ready:
            return 0
        if not self._reports.told_all():
            return RETRY_SECONDS * 1_000
        if not self._lingering:
            return None
        first = next(iter(self._lingering.values())).deadline
        return max(0, first - monotonic()) * 1_000 + 1

    def _on_leave(self, _signal, _frame):
        self._is_leaving = True
        self._waker.wake()

    def _accept(self):
        connection = self._accepted()
        if connection is not None:
            self._take_first_turn(connection)

    def _accepted(self):
        """A connection that waited; None: there is none, or no descriptor for it."""
        try:
            descriptor, _ = self._listener._accept()
        except OSError as error:
            if error.errno in SHORTAGES:
                self._relieve()
            return None
        connection = socket_of(descriptor)
        if getdefaulttimeout() is not None:
            connection.settimeout(None)  # The application's default is for its own sockets.
        return connection

    def _relieve(self):
        """There are no descriptors: kept sessions are ended, which their clients must expect."""
        for session in list(self._held.values()):
            if session.is_kept:
                self._end(session)
        sleep(SHORTAGE_SECONDS)

    def _take_turn(self, session, descriptor):
        self._current = session
        outcome = session.turn(self._application)
        self._current = None
        if outcome != "kept":
            self._settle(session, descriptor, outcome)

    def _may_keep(self):
        """Whether the session at hand, which is held, may be kept."""
        return len(self._held) <= MAX_KEPT

    def _take_first_turn(self, connection):
        descriptor = connection.fileno()
        session = Session(connection, self._reports.tell_done, self._may_keep)
        self._current = self._held[descriptor] = session
        outcome = session.turn(self._application)
        self._current = None
        if outcome == "over":
            del self._held[descriptor]
            session.close()
            return
        self._poller.register(descriptor, POLLIN)
        self._accept_if_room()
        self._settle(session, descriptor, outcome)

    def _settle(self, session, descriptor, outcome):
        if outcome == "over":
            self._end(session)
        elif outcome == "lingering":
            self._lingering[descriptor] = session
        elif outcome == "ready":
            self._ready[descriptor] = session

    def _end(self, session):
        """Lets go of a session that is held."""
        descriptor = session.connection.fileno()
        self._poller.unregister(descriptor)
        for sessions in (self._held, self._lingering, self._ready):
            sessions.pop(descriptor, None)
        session.close()
        self._accept_if_room()

    def _accept_if_room(self):
        has_room = len(self._held) < MAX_HELD
        if has_room == self._is_accepting:
            return
        self._is_accepting = has_room
        if has_room:
            self._poller.register(LISTENER, POLLIN)
        else:
            self._poller.unregister(LISTENER)

    def _end_lingering(self):
        now = monotonic()
        for session in list(self._lingering.values()):
            if session.deadline <= now:
                self._end(session)

    def _leave(self):
        """The server hears of it now, however long atexit handlers and threads will take."""
        self._reports.end()
        self._listener.close()
        self._end_sessions()
        lifeline.end_group()

    def _let_go_in_child(self):
        """A child that the application forks answers nobody, and leaves if it returns to us."""
        self._is_leaving = True
        # Their descriptors are closed already.
        self._listener.detach()
        self._reports.let_go_in_child()
        self._end_sessions()
        self._waker.close()

    def _end_sessions(self):
        if self._current is not None:
            self._current.connection.close()
        for session in self._held.values():
            session.connection.close()


def name_of(session):
    environ = None if session is None else session.environ
    return None if environ is None else request_name(environ)


def socket_of(descriptor):
    return socket(AF_UNIX, SOCK_STREAM, 0, descriptor)
