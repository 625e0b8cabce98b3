"""The preloader: a process that has loaded the application and forks its instances.

On descriptor 4 the server sends `fork` n, then three messages of one byte and one descriptor each:
listener, lifeline, output. It is answered `forked` n pid or `fork_failed` n message, and hears
`exited` pid status of every child: its exit code, or minus the signal's number.

The preloader has no thread and keeps nothing of its instances. It ends when descriptor 4 does; they
live on until their own lifelines end.
"""
import _signal
import _socket
import errno
import gc
import os
import select
import sys
import time

from pool_loader import lifeline, startup, waker

# A command's frame, `fork` and a number, is far smaller.
MAX_COMMAND_BYTES = 1_024

# Room for more descriptors than are due, so that none gets lost unseen.
MAX_DESCRIPTORS = 8
# How long no order comes, behind the first, before it tidies up.
CALM_MS = 100


class Ended(Exception):
    """Descriptor 4 has ended; with a message: what came from it makes no sense."""


def run():
    """Announces itself and forks instances; returns in each of them. Never returns in itself."""
    server = os.getppid()
    lifeline.stop_ending_with_server()
    # The pages that hold what has been loaded stay shared: no collection will write to them.
    gc.freeze()
    preloader = Preloader()
    lifeline.tell("ready", "1")
    try:
        while not preloader.become_instance():
            pass
    except Ended as end:
        if str(end):
            startup.write_error(f"preloader: {end}\n")
        _end_group(server)
        # atexit handlers are the instances' to run: they may still need what those remove.
        os._exit(1 if str(end) else 0)


def _end_group(server):
    """Ends what the code has started while it was loaded, if there is no server to do that: with
    one it stays, since it is the instances' too.
    """
    time.sleep(0.1)  # A server that is killed closes its end a moment before it is gone.
    if os.getppid() != server and os.getpgrp() == os.getpid():
        os.kill(0, _signal.SIGTERM)


class Preloader:
    def __init__(self):
        self._control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, lifeline.DESCRIPTOR)
        self._poller = select.poll()
        self._poller.register(self._control, select.POLLIN)
        self._waker = waker.Waker()
        self._poller.register(self._waker.descriptor, select.POLLIN)
        self._children = set()
        self._is_tidy = False
        self._usual_handler = _signal.signal(_signal.SIGCHLD, self._on_child)

    def become_instance(self):
        """Does what is due next. True: this process is a new instance."""
        is_readable = self._wait()
        self._reap()
        if not is_readable:
            return False
        number = self._read_command()
        received = []
        try:
            for _ in range(3):
                received += self._receive_descriptor()
            return self._fork(number, received)
        finally:
            _close_all(received)

    def _wait(self):
        """Until the control socket is readable (True), or for now there is no order (False)."""
        calm = CALM_MS if self._children and not self._is_tidy else None
        ready = [descriptor for descriptor, _ in self._poller.poll(calm)]
        if not ready:
            self._tidy_up()
        if self._waker.descriptor in ready:
            self._waker.calm()
        return lifeline.DESCRIPTOR in ready

    def _on_child(self, _signal, _frame):
        self._waker.wake()

    def _reap(self):
        # One by one: other children are the application's own.
        for pid in list(self._children):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # The application has waited for all there are.
                ended, status = pid, 0
            if ended:
                self._children.remove(pid)
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
                lifeline.tell("exited", str(pid), str(code))

    def _read_command(self):
        """The number of a `fork`. It reads nothing beyond, since a descriptor follows."""
        size = int.from_bytes(self._read(2), "big")
        if size > MAX_COMMAND_BYTES:
            raise Ended(f"a command of {size} bytes, {MAX_COMMAND_BYTES} at most")
        command = self._read(size)
        name, _, number = command.partition(b"\0")
        if name != b"fork" or not (number.endswith(b"\0") and number[:-1].isdigit()):
            raise Ended(f"{command!r} is not `fork` and a number")
        return number[:-1].decode()

    def _read(self, size):
        data = b""
        while len(data) < size:
            try:
                piece = self._control.recv(size - len(data))
            except ConnectionError:
                piece = b""
            if not piece:
                raise Ended("")
            data += piece
        return data

    def _receive_descriptor(self):
        """What comes with the next byte: one descriptor, none if there was no room for it."""
        room = _socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
        try:
            byte, messages, _, _ = self._control.recvmsg(1, room, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            byte, messages = b"", ()
        received = []
        for level, kind, data in messages:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                received += memoryview(data[: len(data) // 4 * 4]).cast("i").tolist()
        if byte == b"\0" and len(received) <= 1:
            return [lifeline.moved_up(descriptor) for descriptor in received]
        for descriptor in received:
            os.close(descriptor)
        raise Ended(f"{byte!r} with {len(received)} descriptors instead of one" if byte else "")

    def _fork(self, number, received):
        _flush()
        try:
            if len(received) != 3:
                raise OSError(errno.EMFILE, "a descriptor was lost for want of a free one")
            pid = os.fork()
        except OSError as error:
            _close_all(received)
            lifeline.tell("fork_failed", number, f"fork: {error.strerror}")
            return False
        if pid == 0:
            self._take_over(received)
            return True
        try:
            os.setpgid(pid, pid)  # The child does it too: whoever comes first.
        except OSError:
            pass
        self._children.add(pid)
        # Before it is told: a listener that we hold would outlive the instance.
        _close_all(received)
        lifeline.tell("forked", number, str(pid))
        return False

    def _tidy_up(self):
        """What is garbage need not be shared. Whoever asks for the first instances has waited long
        enough; later ones gain by it.
        """
        self._is_tidy = True
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _take_over(self, received):
        """In the child: from here on it is as if it had been started by itself."""
        os.setpgid(0, 0)
        _signal.signal(_signal.SIGCHLD, self._usual_handler or _signal.SIG_DFL)
        self._control.detach()
        self._waker.close()
        listener, its_lifeline, output = received
        null = lifeline.moved_up(os.open(os.devnull, os.O_RDONLY))
        for number, descriptor in enumerate((null, output, output, listener, its_lifeline)):
            os.dup2(descriptor, number)
        os.close(null)


def _close_all(descriptors):
    while descriptors:
        os.close(descriptors.pop())


def _flush():
    """What is buffered now would be written again by the child."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # Closed or replaced by something broken, which is the application's affair.
