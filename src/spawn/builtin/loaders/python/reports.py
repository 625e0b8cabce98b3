"""What an instance says on its lifeline: how many sessions are over (PROTOCOL section 10)."""
from _socket import AF_UNIX, MSG_DONTWAIT, SHUT_RDWR, SOCK_STREAM, socket
from _thread import allocate_lock

from pool_loader import lifeline

# How long it is not tried again where there was no room in the lifeline.
RETRY_SECONDS = 0.05


class Reports:
    def __init__(self):
        self._lifeline = socket(AF_UNIX, SOCK_STREAM, 0, lifeline.DESCRIPTOR)
        # Sessions that are over, of which there was no room to tell the server yet.
        self.untold = 0
        # Several threads may tell.
        self._lock = allocate_lock()

    def tell_done(self):
        """One more session is over; to be called before its client can see that."""
        with self._lock:
            self.untold += 1
            self._tell()

    def told_all(self):
        """Whether the server has been told of all sessions that are over. It never waits: a server
        that does not read must not stop the application.
        """
        with self._lock:
            return self._tell()

    def _tell(self):
        if self.untold:
            message = lifeline.array_message("done", str(self.untold))
            try:
                self._lifeline.send(message, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                pass  # The server is gone, or we are a child, whose parent will say it.
            self.untold = 0
        return True

    def end(self):
        """The server is to see our end now, however long what is left to do will take."""
        try:
            # Not close(): the thread that watches the lifeline holds it open.
            self._lifeline.shutdown(SHUT_RDWR)
        except OSError:
            pass  # The server's end is gone.

    def let_go_in_child(self):
        """The descriptor is closed there already, and its number another's."""
        self._lifeline.detach()
        self._lock = allocate_lock()
