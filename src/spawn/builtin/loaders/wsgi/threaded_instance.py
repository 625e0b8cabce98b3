"""An instance that serves several sessions at a time, each in a thread of a fixed number of them.

One thread at a time leads: it does what Instance does, and calls the application itself. While it
is in there another may lead; so one that comes back finds that it still leads, and goes on as if it
were alone, or that another does, to whom it gives the session back. To wake a thread costs as much
as a short request, and two that take turns with the interpreter's lock pay at each system call. So
nobody is woken for a request, unless the one before was not a short one: the main thread looks now
and then whether the application still has the thread that led, and calls another if so.

Only who leads touches what Instance has; the main thread waits for signals and the lifeline's end.
It leaves as Instance does, when all threads are done with the sessions at hand.
"""
import os
import sys
from _queue import SimpleQueue
from _socket import SHUT_RDWR
from _thread import allocate_lock, get_ident, start_new_thread
from select import POLLIN, POLLRDHUP, poll
from time import monotonic

from pool_loader import environ, lifeline, startup
from pool_loader.instance import LIFELINE, LISTENER, Instance, name_of
from pool_loader.session import Session
from pool_loader.waker import Bell

# How long a request is a short one: a thread that is woken for a longer one costs 5 % more.
SHORT_SECONDS = 0.000_2
# How often the main thread looks: it costs a hundredth of a processor.
TICK_SECONDS = 0.002
# After so many ticks without a request it goes to sleep.
IDLE_TICKS = 3


class ThreadedInstance(Instance):
    def __init__(self, application, sessions):
        super().__init__(application, sessions)
        environ.CONSTANT["wsgi.multithread"] = True
        # Who has it leads. It is free while the one that led is in the application, for `_current`,
        # whose descriptor is that.
        self._lead = allocate_lock()
        self._leader = self._descriptor = None
        # The threads of those that another has taken the lead from, by their sessions.
        self._lent = {}
        # Sessions that such threads have given back, and what they are then; None: over.
        self._returned = SimpleQueue()
        # For who leads.
        self._bell = Bell()
        self._poller.register(self._bell.descriptor, POLLIN)
        # How often the application was called, and whether it took long when it returned last.
        self._calls = 0
        self._is_slow = False
        # Threads that nobody needs, and what they wait for.
        self._resting = set()
        self._summons = SimpleQueue()
        # What the main thread waits for, and whether it looks each tick.
        self._told = poll()
        for descriptor, event in ((LIFELINE, POLLRDHUP), (self._waker.descriptor, POLLIN)):
            self._poller.unregister(descriptor)
            self._told.register(descriptor, event)
        self._is_watching = False
        self._idle_ticks = 0
        # Threads that have not ended.
        self._threads = set()
        # What a thread has ended with; the process is to end so.
        self._failure = None
        self._is_child = False

    # What the main thread does.

    def _serve_until_told(self):
        for number in range(1, self._sessions_at_once + 1):
            self._threads.add(number)
            start_new_thread(self._work, (number,))
        while not self._is_leaving:
            self._watch()
        self._end_idle()
        self._wait_for_threads()
        if self._failure is not None:
            raise self._failure

    def _watch(self):
        """Lets a tick pass, and calls a thread where the one that led has not come back since.
        Sleeps where there are no requests.
        """
        calls = self._calls
        self._hear(TICK_SECONDS if self._is_watching else None)
        if calls != self._calls:
            self._idle_ticks = 0
            return
        if self._is_unled():
            self._summons.put(None)
        self._idle_ticks += 1
        if self._idle_ticks >= IDLE_TICKS:
            self._is_watching = False
            # Looked at behind that: others do it the other way round.
            self._is_watching = self._is_unled()

    def _hear(self, seconds):
        for descriptor, _ in self._told.poll(None if seconds is None else seconds * 1_000):
            if descriptor == LIFELINE:
                self._told.unregister(LIFELINE)  # It stays so.
                self._leaves_unused = True
                self._leave_if_unused()  # Looked at behind that: others do it the other way round.
                self._bell.wake()  # Whoever leads may have to take back the last one.
            else:
                self._waker.calm()

    def _leave_if_unused(self):
        if not (self._held or self._lent):
            self._is_leaving = True
            self._waker.wake()

    def _is_unled(self):
        return bool(self._resting) and not self._lead.locked()

    def _end_idle(self):
        """Takes the lead for good, and ends what no thread has."""
        try:
            self._listener.shutdown(SHUT_RDWR)  # Those who come now are to go elsewhere.
        except OSError:
            pass
        self._bell.wake()
        for _ in range(self._sessions_at_once):
            self._summons.put(None)
        # Nobody has it for long; one that has failed may have it for ever.
        self._lead.acquire(True, 1)
        self._depose()
        for session in list(self._held.values()):
            self._end(session)

    def _wait_for_threads(self):
        """They finish what they are at; of those that are stuck the watch of the lifeline ends
        them all, or, where one has failed, we do.
        """
        deadline = monotonic() + lifeline.STUCK_SECONDS
        while self._threads and (self._failure is None or monotonic() < deadline):
            self._hear(1)

    # What the others do.

    def _work(self, number):
        """What each thread does until the end."""
        import threading  # Whose loggers, for one, show the name.

        threading.current_thread().name = f"serving-{number}"
        error = None
        try:
            while not self._is_leaving:
                self._take_part()
        except BaseException as reason:
            error = reason
        if self._is_child:
            _end_process(error)
        if error is not None:
            self._failure = error
            self._is_leaving = True
        self._threads.discard(number)
        self._waker.wake()

    def _take_part(self):
        """Rests until it can lead, and leads until another does."""
        thread = get_ident()
        self._resting.add(thread)
        leads = self._lead.acquire(False)
        while not (leads or self._is_leaving):
            self._summons.get()
            leads = self._lead.acquire(False)
        self._resting.discard(thread)
        if leads:
            self._depose()
        while leads and not self._is_leaving:
            leads = self._serve_ready()
        if leads:
            self._lead.release()

    def _serve_ready(self):
        """Whether it still leads."""
        self._take_back_all()
        if self._leaves_unused:
            self._leave_if_unused()
        leads = True
        for descriptor, _ in self._wait():
            session = self._held.get(descriptor)  # It may have been ended in this round.
            if session is not None:
                leads = self._take_turn(session, descriptor)
            elif descriptor == LISTENER:
                leads = self._accept()
            else:
                self._bell.calm()
            if not leads or self._is_leaving:
                return leads
        if self._lingering:
            self._end_lingering()
        return not self._ready or self._serve_rest()

    def _serve_rest(self):
        for descriptor, session in list(self._ready.items()):
            # Whoever has led meanwhile may have served it.
            if self._ready.get(descriptor) is session:
                del self._ready[descriptor]
                if not self._take_turn(session, descriptor):
                    return False
        return True

    def _accept(self):
        connection = self._accepted()
        if connection is None:
            return True
        session = Session(connection, self._reports.tell_done, self._may_keep)
        self._hold(session)
        return self._take_turn(session, connection.fileno())

    def _hold(self, session):
        descriptor = session.connection.fileno()
        self._held[descriptor] = session
        self._poller.register(descriptor, POLLIN)
        self._accept_if_room()

    def _take_turn(self, session, descriptor):
        """Calls the application, with the lead for others to take. Whether it leads then."""
        self._leader = get_ident()
        self._descriptor = descriptor
        self._current = session
        self._calls += 1
        self._lead.release()
        if self._resting:
            self._offer_lead()
        try:
            outcome = self._turn(session)
            while outcome == "kept" and self._stays(descriptor):
                outcome = self._turn(session)
        except BaseException:
            if not self._is_child and self._take_back(session, "over"):
                self._lead.release()
            raise
        return not self._is_child and self._take_back(session, outcome)

    def _turn(self, session):
        begun = monotonic()
        outcome = session.turn(self._application)
        self._is_slow = monotonic() - begun > SHORT_SECONDS
        return outcome

    def _stays(self, descriptor):
        """Whether the next request is here within a tick, where another leads and requests are long
        ones: to give the session back, and be called again, would wake two threads more.
        """
        if not (self._is_slow and self._lead.locked()) or self._is_leaving:
            return False
        poller = poll()
        poller.register(descriptor, POLLIN)
        return bool(poller.poll(TICK_SECONDS * 1_000))

    def _offer_lead(self):
        if self._is_slow:
            self._summons.put(None)
        elif not self._is_watching:
            self._is_watching = True
            self._idle_ticks = 0
            self._waker.wake()

    def _take_back(self, session, outcome):
        """What becomes of a session that a thread has served. Whether the thread leads then."""
        if not self._lead.acquire(False):
            self._give_back(session, outcome)
            return False
        if self._current is session:  # Nobody has led since.
            self._current = None
        else:
            self._depose()
            del self._lent[session]
            self._hold(session)
        self._settle(session, session.connection.fileno(), outcome)
        return True

    def _give_back(self, session, outcome):
        if outcome == "over" or self._is_leaving:  # The client need not wait for who leads.
            session.close()
            outcome = None
        self._returned.put((session, outcome))
        if outcome or self._reports.untold or self._leaves_unused:
            self._bell.wake()

    def _take_back_all(self):
        while not self._returned.empty():
            session, outcome = self._returned.get()
            del self._lent[session]
            if outcome:
                self._hold(session)
                self._settle(session, session.connection.fileno(), outcome)
            else:
                self._accept_if_room()

    def _depose(self):
        """The session of the one that led is its own affair from now on."""
        session, self._current = self._current, None
        if session is None:
            return
        self._poller.unregister(self._descriptor)
        for sessions in (self._held, self._lingering, self._ready):
            sessions.pop(self._descriptor, None)
        self._lent[session] = self._leader

    def _request_of(self, thread):
        if thread == self._leader and self._current is not None:
            return name_of(self._current)
        return next((name_of(key) for key, its in list(self._lent.items()) if its == thread), None)

    def _let_go_in_child(self):
        self._is_child = True
        self._lead = allocate_lock()
        super()._let_go_in_child()
        for session in self._lent:
            session.connection.close()
        self._bell.close()


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
