"""What ends a wait in poll(2): what another thread does, or a signal, also one that came just
before the wait began.

Python runs handlers between two of its own instructions. A signal that comes after the last of
them, while poll() gives the lock of the interpreter away, is noted and does not interrupt the wait.
So the interpreter also writes it to a pipe, which is waited for too (signal.set_wakeup_fd).
"""
import _signal
import os

from pool_loader import lifeline

MAX_READ_BYTES = 1_024


class Bell:
    """Wakes who waits for its descriptor to become readable."""

    def __init__(self):
        """OSError: there are no descriptors."""
        ends = [lifeline.moved_up(descriptor) for descriptor in os.pipe()]
        for descriptor in ends:
            os.set_blocking(descriptor, False)
        self.descriptor, self._end = ends

    def wake(self):
        try:
            os.write(self._end, b"\0")
        except BlockingIOError:
            pass  # It is full, so it wakes.

    def calm(self):
        """What it was rung for is seen."""
        try:
            os.read(self.descriptor, MAX_READ_BYTES)
        except BlockingIOError:
            pass

    def close(self):
        os.close(self.descriptor)
        os.close(self._end)


class Waker(Bell):
    """Rung by signals; by their handlers too, since an application that sets a pipe of its own has
    taken ours out of use.
    """

    def __init__(self):
        """In the main thread."""
        super().__init__()
        _signal.set_wakeup_fd(self._end, warn_on_full_buffer=False)

    def close(self):
        """In a child, of which signals of its own are none of our business."""
        current = _signal.set_wakeup_fd(-1)
        if current != self._end:
            _signal.set_wakeup_fd(current)  # The application's.
        super().close()
