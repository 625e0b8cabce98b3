"""One session (PROTOCOL sections 5 and 11): a connection with a request on it, or several one after
the other. Here is where heads and bodies begin and end, and how a session does; what is made of a
request is an Exchange's or a WebSocket's affair.

States: "head", "waiting" for its turn, "answering", "switched" to WebSocket, "lingering" after the
answer while the client still sends, "closing" when only the rest of an answer has to go out,
"closed".
"""
from _socket import SHUT_WR
from select import POLLHUP, poll

from pool_loader.exchange import Exchange
from pool_loader.head import MAX_HEAD_BYTES, BadRequest, has_head
from pool_loader.outflow import Outflow
from pool_loader.request_body import body_of
from pool_loader.scope import read_head
from pool_loader.websocket import WebSocket, refusal_of

RECEIVED_BYTES = 65_536
# What a socket holds, several times over.
MAX_READS = 16

# How long the rest of a body nobody wants is read: closing at once would turn the client's EOF into
# ECONNRESET.
LINGER_SECONDS = 2

# How often it is looked whether a client that has ended its side is still there.
PROBE_SECONDS = 1


class Connection:
    def __init__(self, instance, client):
        self.instance = instance
        self.loop = instance.loop
        self.state = "head"
        self.served = 0
        self.head = self.body = self.exchange = None
        self._client = client
        self._descriptor = client.fileno()
        self.outflow = Outflow(self.loop, client)
        self._received = b""
        self._is_last = False  # The session ends with the answer, as its head has said.
        self._has_ended = False  # The client has ended its side.
        self._is_reading = False
        self._is_over = False
        self.has_switched = False
        # In an instance that serves one at a time, what is due when the application has returned.
        self._due = None
        self._timer = None
        self.read(True)

    @property
    def is_idle(self):
        """Whether all it waits for is a further request."""
        return self.state == "head" and self.served > 0 and not self._received

    def read(self, wanted):
        """Whether bytes of the client are read as they come."""
        wanted = wanted and not self._has_ended and self.state != "closed"
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self.loop.add_reader(self._descriptor, self._on_readable)
        else:
            self.loop.remove_reader(self._descriptor)

    def _on_readable(self):
        # A client that has left with something unread is told of once by uvloop (libuv's uv_poll),
        # whatever it has sent before: all of that has to be read at once, or looked for later.
        for _ in range(MAX_READS if self.instance.has_uvloop else 1):
            if not self._read_some() or not self._is_reading:
                return
            if self.state == "answering" and self.body.is_whole:
                return  # Of a usual request that is all.

    def look(self):
        """The application waits for the client to leave, which it may have done with its last
        bytes.
        """
        if self._is_reading and self.instance.has_uvloop:
            self._on_readable()

    def _read_some(self):
        """Whether there was something, bytes or the client's end."""
        try:
            data = self._client.recv(RECEIVED_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.lose()
            return False
        if data:
            self._take(data)
        else:
            self._has_ended = True
            self.read(False)
            self._on_end()
        return True

    def _take(self, data):
        if self.state == "head":
            self._read_head(data)
        elif self.state == "answering":
            self._feed(data)
        elif self.state == "switched":
            self.exchange.feed(data)
        elif self.state == "waiting":
            self._received += data
            self.read(False)

    def _read_head(self, data):
        received = self._received + data if self._received else data
        if not has_head(received):
            # In place from now on: a head that comes byte by byte stays linear.
            self._received = received if self._received else bytearray(received)
            return
        end = 4 + int.from_bytes(received[:4], "big")
        self._received = bytes(received[end:])
        try:
            if end > MAX_HEAD_BYTES + 4:
                raise BadRequest(f"headers of {end - 4} bytes, {MAX_HEAD_BYTES} at most")
            block = bytes(received[4:end])
            self.head = read_head(block, self.instance.state, self.instance.is_path_below_root)
        except BadRequest as error:
            self._refuse(error)
            return
        self.state = "waiting"
        self.instance.begin(self)

    def start(self):
        """It is this request's turn."""
        self.served += 1
        self.body = body_of(self.head)
        if self.head.is_websocket:
            refusal = refusal_of(self.head)
            if refusal is not None:
                self.answer_simply(*refusal)
                return
            self.exchange = WebSocket(self, self.head)
        else:
            self.exchange = Exchange(self, self.head, self.body)
        self.state = "answering"
        data, self._received = self._received, b""
        if data:
            self._feed(data)
        self.read(not self._received and not self.body.is_full)
        if self.state == "answering":
            self.instance.run_exchange(self.exchange)
        if self._has_ended:
            self._on_end()

    def _feed(self, data):
        """Bytes of the body, and perhaps of what follows."""
        try:
            if not self.body.is_whole:
                data = self.body.feed(data)
                self.exchange.change.happened()
        except BadRequest as error:
            self.exchange.leave()
            if self.exchange.is_begun:
                self.lose()
            else:
                self._refuse(error)
            return
        self._received += data
        # A next request waits for the end of this one, and so does what the kernel has of it.
        if self._received or self.body.is_full:
            self.read(False)

    def _on_end(self):
        """The client has ended its side: it has sent everything, or it is gone."""
        if self.state in ("head", "lingering"):
            self.close_now()
        elif self.state == "switched":
            self.exchange.client_ended()
        elif self.state == "waiting" and self.head.is_kept:
            self.lose()
        elif self.state == "answering":
            if not self.body.is_whole and self.body.is_to_the_end:
                self.body.end()
                self.exchange.change.happened()
            # On a kept session there is no half-close.
            if self.head.is_kept or not self.body.is_whole:
                self.lose()
            else:
                self._probe()

    def _probe(self):
        """After its EOF a client that is gone shows as POLLHUP, for which no loop waits."""
        if self.state != "answering":
            return
        poller = poll()
        poller.register(self._descriptor, 0)
        if any(events & POLLHUP for _, events in poller.poll(0)):
            self.lose()
        else:
            self._timer = self.loop.call_later(PROBE_SECONDS, self._probe)

    def last_line(self):
        """What the head of an answer has to say, which is made now, of the end of the session: who
        keeps sessions must not send the next request on one that ends.
        """
        if not self.head.is_kept:
            return b""
        is_leaving = self.instance.is_leaving or not self.instance.may_keep
        self._is_last = is_leaving or not self.body.is_whole
        return b"Connection: close\r\n" if self._is_last else b""

    def answered(self, is_framed):
        """The answer is out, and the request over, whatever the application still does."""
        if self.state != "answering":
            return
        if self.instance.is_serial:
            self._due = lambda: self._end_request(is_framed)
        else:
            self._end_request(is_framed)

    def returned(self, exchange):
        """The application has returned."""
        self.instance.ended(exchange)
        due, self._due = self._due, None
        if due is not None:
            due()
        elif exchange is self.exchange and self.state == "answering":
            self.lose()  # There is no answer, or no more of it.

    def _end_request(self, is_framed):
        if self.state != "answering":
            return
        self._cancel_timer()
        is_kept = self.head.is_kept and is_framed and not self._is_last
        if not is_kept or self._has_ended or self.instance.is_leaving:
            self.close()
        else:
            self._go_on()

    def _go_on(self):
        """To the next request."""
        self._cancel_timer()
        self.state = "head"
        self.head = self.body = self.exchange = None
        self.instance.end_turn(self)
        if self.state == "head":
            self.read(True)
            data, self._received = self._received, b""
            if data:
                self._read_head(data)

    def switch(self):
        """It is a WebSocket from now on, and takes no place of the instance's concurrency."""
        self.state = "switched"
        self.has_switched = True
        self.over()
        self.instance.switched(self)
        data, self._received = self._received, b""
        self.read(True)
        if data:
            self.loop.call_soon(self._take, data)

    def _refuse(self, error):
        self.answer_simply("400 Bad Request", f"Bad request: {error}.\n")

    def answer_simply(self, status, text, more=""):
        """Answers by itself; what follows is not understood, and not wanted.

        Without a length, or the client would take the session for one that goes on.
        """
        lines = f"Status: {status}\r\n{more}Content-Type: text/plain; charset=utf-8\r\n"
        self.outflow.put(f"{lines}\r\n{text}".encode())
        self.close()

    def close(self):
        """Ends the session after what has been sent; lets the client finish what it sends."""
        self._cancel_timer()
        is_whole = self.body is not None and self.body.is_whole
        if is_whole or self._has_ended or self.outflow.is_broken:
            self.close_now()
            return
        self.state = "lingering"
        self.over()
        self.instance.end_turn(self)
        self._timer = self.loop.call_later(LINGER_SECONDS, self._close)
        self.read(True)
        self.loop.create_task(self._shut_down())

    async def _shut_down(self):
        await self.outflow.drained()
        try:
            if self.state != "closed":
                self._client.shutdown(SHUT_WR)
        except OSError:
            self._close()

    def close_now(self):
        """Ends the session after what has been sent."""
        self._cancel_timer()
        self.read(False)
        self.over()
        if self.outflow.is_empty:
            self._close()
            return
        self.state = "closing"
        self._timer = self.loop.call_later(LINGER_SECONDS, self._close)
        self.loop.create_task(self._close_when_drained())

    async def _close_when_drained(self):
        await self.outflow.drained()
        self._close()

    def _close(self):
        if self.state == "closed":
            return
        self._cancel_timer()
        self.read(False)
        self.state = "closed"
        self.outflow.break_off()
        self.over()
        self._client.close()
        self.instance.closed(self)

    def lose(self):
        """The client is gone, or not to be talked to any more."""
        if self.state == "closed":
            return
        is_running = self.exchange is not None and self.exchange.is_running
        if self.exchange is not None:
            self.exchange.leave()
        if is_running and self.instance.is_serial and not self._is_over:
            # Over when the application has returned; nothing more is read or sent.
            self._cancel_timer()
            self.read(False)
            self.outflow.break_off()
            self.state = "answering"
            self._due = self._close
        elif is_running and not self._is_over:
            # The application hears of it in this turn of the event loop.
            self._cancel_timer()
            self.read(False)
            self.outflow.break_off()
            self.state = "closing"
            self.loop.call_soon(self._close)
        else:
            self._close()

    def leave(self):
        """The instance is to leave: a request that is here is answered, none is waited for."""
        if self.state == "head":
            self._on_readable()
        if self.state == "head":
            self.close_now()

    def over(self):
        """Everything is done for it, though it may not be closed yet: once for each session."""
        if not self._is_over:
            self._is_over = True
            self.instance.tell_done()

    def drop(self):
        """Nobody is told: the process ends, or is a child of the application's."""
        self._client.close()

    @property
    def descriptor(self):
        return self._descriptor

    def _cancel_timer(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
