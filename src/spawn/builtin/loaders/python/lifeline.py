"""Descriptor 4, on which the server hears once that we are ready, or why not (PROTOCOL section 10).

In instances it is the lifeline: there the server hears how many sessions are over, and says `stack`
to learn what a stuck one does; its end tells them to leave. In preloaders it is the control socket.
Either way it ends when the server does, and nothing of ours may live on for long. It and descriptor
3 are between the server and us: what the application starts has no part in them.
"""
import _signal
import _thread
import fcntl
import os
import select
import sys
import time

import pool_loader

LISTENER = 3
DESCRIPTOR = 4
FIRST_FREE = 5

# How long a session may hold an instance whose server is gone or has let go of it.
STUCK_SECONDS = 10

MAX_FAILURE_BYTES = 60_000

# Frames of a thread that are told, the innermost of them.
MAX_FRAMES = 60

STACK = b"\0\6stack\0"
MAX_READ_BYTES = 1_024


_are_ours = False


def keep_to_ourselves():
    """From now on neither programs nor forks of the application inherit descriptors 3 and 4."""
    global _are_ours
    for descriptor in (LISTENER, DESCRIPTOR):
        os.set_inheritable(descriptor, False)
    _are_ours = True


def _close_in_child():
    global _are_ours
    # Only once: what has these numbers in a child's own children is the application's.
    if _are_ours:
        _are_ours = False
        os.close(LISTENER)
        os.close(DESCRIPTOR)


os.register_at_fork(after_in_child=_close_in_child)


def moved_up(descriptor):
    """The same beyond 0 to 4, whose numbers have a meaning: the application may have closed one."""
    if descriptor >= FIRST_FREE:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    finally:
        os.close(descriptor)


def array_message(*elements):
    """Frames strings as an array message; more than 65,535 bytes raise OverflowError."""
    payload = b"".join([element.encode("utf-8", "replace") + b"\0" for element in elements])
    return len(payload).to_bytes(2, "big") + payload


def tell_failure(text):
    """Says why there will be no instance: plain text, from which the server makes a page."""
    page = text.encode("utf-8", "replace")[:MAX_FAILURE_BYTES]
    _send(array_message("error_page") + len(page).to_bytes(4, "big") + page)


def tell(*elements):
    """Sends an array message."""
    _send(array_message(*elements))


def _send(data):
    try:
        while data:
            data = data[os.write(DESCRIPTOR, data) :]
    except OSError:
        pass  # The server is gone, which descriptor 4 will say in its turn.


def end_with_server():
    """From now on the end of descriptor 4 ends the process at once, whatever it is doing.

    The kernel does it: the signal's default action needs no cooperation. For the time of loading,
    in which there is no session to wait for; `stop_ending_with_server` ends it.
    """
    fcntl.fcntl(DESCRIPTOR, fcntl.F_SETOWN, os.getpid())
    _set_async(True)
    if _has_ended():  # before that
        os._exit(1)


def stop_ending_with_server():
    """What is left to do is decided by who waits for the end."""
    _set_async(False)


def _set_async(wanted):
    flags = fcntl.fcntl(DESCRIPTOR, fcntl.F_GETFL)
    flags = flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC
    fcntl.fcntl(DESCRIPTOR, fcntl.F_SETFL, flags)


def _has_ended():
    poller = select.poll()
    poller.register(DESCRIPTOR, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poller.poll(0))


def is_leader():
    """Whether this is the instance itself: a fork that has come back leads no group."""
    return os.getpgrp() == os.getpid()


def end_group():
    """What the application has started and left running goes too.

    The server sees to that, if it is still there.
    """
    if not is_leader():
        return
    usual = _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    os.kill(0, _signal.SIGTERM)
    _signal.signal(_signal.SIGTERM, usual or _signal.SIG_DFL)


def watch(on_end=None, describe=None, serving=lambda thread: None):
    """Starts the thread that listens to the server, since the application may be stuck. In it are
    called `on_end` when the lifeline has ended, `describe` for what is told beside stacks, and
    `serving` with a thread's identifier for the request that it serves; None: none.

    Not one of the threading module: neither the application nor the interpreter's end waits for it.
    """
    _thread.start_new_thread(_listen, (on_end, describe, serving))


# Bound here: an application may replace them in their modules, as gevent does.
def _listen(
    on_end,
    describe,
    serving,
    read=os.read,
    write=os.write,
    sleep=time.sleep,
    kill=os.kill,
    leave=os._exit,
):
    heard = b""
    while True:
        try:
            data = read(DESCRIPTOR, MAX_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            break
        heard += data
        while STACK in heard:
            heard = heard.replace(STACK, b"", 1)
            try:
                text = _stacks(serving) + (describe() if describe else "")
                write(2, text.encode("utf-8", "replace"))
            except Exception:
                pass  # The application has closed it, or changed what was looked at.
    if on_end is not None:
        on_end()
    sleep(STUCK_SECONDS)
    if is_leader():
        kill(0, _signal.SIGTERM)  # Us, too, as a rule.
    leave(1)


def _stacks(serving):
    """What all other threads are doing just now, but for those that only wait for work. It imports
    nothing: a thread that is stuck may hold the lock of an import.
    """
    lines = []
    for thread, frame in sys._current_frames().items():
        if thread == _thread.get_ident():
            continue
        frames = []
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        while frames and _is_ours(frames[-1]):
            frames.pop()  # Who called it all is known.
        request = serving(thread)
        if not frames and request is None:
            continue
        what = "" if request is None else f", serving {request}"
        lines.append(f"stack of thread {thread}{what} (most recent call first):\n")
        lines += _lines_of(frames)
    return "".join(lines)


def frames_of(coroutine):
    """Where a coroutine that waits is, and what it waits for: lines, the innermost first."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and not _is_ours(frame):
            frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None)
    return _lines_of(frames[::-1])


def _is_ours(frame):
    return os.path.dirname(frame.f_code.co_filename) in pool_loader.__path__


def _lines_of(frames):
    return [
        f"  File {frame.f_code.co_filename!a}, line {frame.f_lineno}, in {frame.f_code.co_name}\n"
        for frame in frames[:MAX_FRAMES]
    ]
