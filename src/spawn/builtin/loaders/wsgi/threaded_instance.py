"""An instance that serves several sessions at a time, each in a thread of a fixed number of them.

The threads wait together, in one epoll(7), on the listener and on all sessions. Each of these is
armed for one event: it wakes one thread, which alone has the session until it arms it again. So
nobody hands anything on, and nothing of a session needs a lock. The main thread waits for signals
and for the lifeline's end, and sees to what is rare.

It leaves as Instance does, when all threads are done with the sessions at hand.
"""
import os
import sys
from _socket import SHUT_RD, SHUT_RDWR
from _thread import allocate_lock, get_ident, start_new_thread
from select import EPOLLIN, EPOLLONESHOT, EPOLLOUT, epoll
from time import monotonic, sleep

from pool_loader import environ, lifeline, startup
from pool_loader.instance import (
    LIFELINE,
    LISTENER,
    MAX_HELD,
    MAX_KEPT,
    SHORTAGE_SECONDS,
    Instance,
    name_of,
)
from pool_loader.reports import RETRY_SECONDS
from pool_loader.session import Session

ARMED = EPOLLIN | EPOLLONESHOT
# For a session whose next request is here already: it can be written to, so it comes at once, but
# behind others that are ready.
READY = EPOLLIN | EPOLLOUT | EPOLLONESHOT


class ThreadedInstance(Instance):
    def __init__(self, application, sessions):
        super().__init__(application, sessions)
        environ.CONSTANT["wsgi.multithread"] = True
        self._poller.unregister(LISTENER)
        with epoll() as made:
            descriptor = lifeline.moved_up(os.dup(made.fileno()))
        self._events = epoll.fromfd(descriptor)
        self._events.register(LISTENER, ARMED)
        # Its end becomes readable for all when they are to leave.
        ends = [lifeline.moved_up(end) for end in os.pipe()]
        self._bell, self._rope = ends
        self._events.register(self._bell, EPOLLIN)
        # For what the main thread needs of what others change.
        self._lock = allocate_lock()
        # Threads that have not ended, and the sessions that they serve.
        self._threads = set()
        self._serving = {}
        # What a thread has ended with; the process is to end so.
        self._failure = None
        self._is_child = False

    def _serve_until_told(self):
        for number in range(1, self._sessions_at_once + 1):
            self._threads.add(number)
            start_new_thread(self._work, (number,))
        while not self._is_leaving:
            self._serve_ready()
        self._wait_for_threads()
        if self._failure is not None:
            raise self._failure

    def _serve_ready(self):
        for descriptor, _ in self._wait():
            if descriptor == LIFELINE:
                self._is_leaving = True
                self._poller.unregister(LIFELINE)  # It stays so.
            else:
                self._waker.calm()
        self._end_lingering()

    def _patience(self):
        with self._lock:
            if not self._reports.told_all():
                return RETRY_SECONDS * 1_000
            first = min((each.deadline for each in self._lingering.values()), default=None)
        return None if first is None else max(0, first - monotonic()) * 1_000 + 1

    def _wait_for_threads(self):
        """They finish what they are at; of those that are stuck the watch of the lifeline ends
        them all, or, where one has failed, we do.
        """
        try:
            self._listener.shutdown(SHUT_RDWR)  # Those who come now are to go elsewhere.
        except OSError:
            pass
        os.write(self._rope, b"\0")
        self._end_idle()
        deadline = monotonic() + lifeline.STUCK_SECONDS
        while self._threads and (self._failure is None or monotonic() < deadline):
            for descriptor, _ in self._poller.poll(1_000):
                if descriptor == LIFELINE:
                    self._poller.unregister(LIFELINE)
                else:
                    self._waker.calm()

    def _work(self, number):
        """What each thread does until the end."""
        import threading  # Whose loggers, for one, show the name.

        threading.current_thread().name = f"serving-{number}"
        error = None
        try:
            while not self._is_leaving:
                self._serve_one()
        except BaseException as reason:
            error = reason
        if self._is_child:
            _end_process(error)
        if error is not None:
            self._failure = error
            self._is_leaving = True
        self._threads.discard(number)
        self._waker.wake()

    def _serve_one(self):
        for descriptor, _ in self._events.poll(None, 1):
            if self._is_leaving:
                return
            if descriptor == LISTENER:
                self._accept()
                continue
            session = self._held.get(descriptor)
            if session is not None:
                self._take_turn(session, descriptor)

    def _take_turn(self, session, descriptor, is_first=False):
        thread = get_ident()
        self._serving[thread] = session
        try:
            outcome = self._outcome(session)
            if self._is_child:
                return
            if is_first:
                self._events.register(descriptor, 0)
            self._settle(session, descriptor, outcome)
        finally:
            del self._serving[thread]

    def _outcome(self, session):
        if self._is_leaving:  # Looked at behind `_serving`: _end_idle does it the other way round.
            return "over"
        try:
            outcome = session.turn(self._application)
        except BaseException:
            if not self._is_child:
                self._end(session)
            raise
        has_room = outcome != "kept" or len(self._held) <= MAX_KEPT + self._sessions_at_once
        return outcome if has_room else "over"

    def _end_idle(self):
        """Ends what no thread has: nobody will look at it any more."""
        served = list(self._serving.values())
        for session in list(self._held.values()):
            if session not in served:
                session.connection.close()

    def _accept(self):
        connection = self._accepted()
        if connection is None:
            return self._await_listener()
        session = Session(connection, self._tell_done)
        descriptor = connection.fileno()
        self._held[descriptor] = session
        self._await_listener()
        self._take_turn(session, descriptor, is_first=True)

    def _settle(self, session, descriptor, outcome):
        if outcome == "over":
            return self._end(session)
        if outcome == "lingering":
            with self._lock:
                self._lingering[descriptor] = session
            self._waker.wake()
        self._events.modify(descriptor, READY if outcome == "ready" else ARMED)

    def _end(self, session):
        descriptor = session.connection.fileno()
        with self._lock:
            self._lingering.pop(descriptor, None)
        del self._held[descriptor]
        session.close()  # With which the kernel forgets that it was waited for.
        if not self._is_accepting:
            self._await_listener()

    def _await_listener(self):
        """Arms the listener, unless too many connections are held."""
        with self._lock:
            self._is_accepting = len(self._held) < MAX_HELD + self._sessions_at_once
            if self._is_accepting and not self._is_leaving:
                self._events.modify(LISTENER, ARMED)

    def _tell_done(self):
        with self._lock:
            self._reports.tell_done()
        if self._reports.untold:
            self._waker.wake()

    def _relieve(self):
        """As in Instance. Whoever has such a session answers what has come on it, and ends it."""
        for session in list(self._held.values()):
            if session.is_kept:
                _shut(session, SHUT_RD)
        sleep(SHORTAGE_SECONDS)

    def _end_lingering(self):
        now = monotonic()
        with self._lock:
            late = [key for key, each in self._lingering.items() if each.deadline <= now]
            for session in [self._lingering.pop(key) for key in late]:
                _shut(session, SHUT_RDWR)  # Which is an event for the thread that ends it.

    def _request_of(self, thread):
        return name_of(self._serving.get(thread))

    def _let_go_in_child(self):
        self._is_child = True
        self._lock = allocate_lock()
        super()._let_go_in_child()
        self._events.close()
        for descriptor in (self._bell, self._rope):
            os.close(descriptor)


def _shut(session, how):
    try:
        session.connection.shutdown(how)
    except OSError:
        pass  # It has ended.


def _end_process(error):
    """The end of a child that a thread has forked: the thread is all there is of it, and does not
    return to where the interpreter ends.
    """
    import atexit

    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    if error is not None and (not isinstance(error, SystemExit) or isinstance(error.code, str)):
        startup.report("a child of the application", error)
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
    finally:
        os._exit(code & 0xFF)
