"""One WebSocket, as the application sees it: `receive` and `send` of the ASGI specification,
WebSocket, with its extension of refusals. frames.py has the bytes of RFC 6455.

A client that is faster than the application is held back: of what nobody has asked for yet little
more than one message is held. Pings are answered here, and no faster than they are taken.
"""
from base64 import b64encode
from hashlib import sha1

from pool_loader.change import Change
from pool_loader.exchange import (
    Conversation,
    SpecificationError,
    is_cancelled,
    is_of_the_client,
    line_of_status,
    lines_of,
)
from pool_loader.frames import (
    ABNORMAL,
    BINARY,
    CLOSE,
    INTERNAL_ERROR,
    NORMAL,
    PING,
    PONG,
    SERVICE_RESTART,
    TEXT,
    FrameReader,
    Violation,
    close_frame,
    frame,
    is_code,
)
from pool_loader.head import ClientGone
from pool_loader.startup import report

# RFC 6455, 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Messages that wait for the application before nothing more is read.
MAX_HELD_MESSAGES = 32
MAX_HELD_BYTES = 65_536

# How long the other side has for its part of the closing.
CLOSE_SECONDS = 2


class WebSocket(Conversation):
    """`expected`: "accept" first; then "messages", or "refusal" where it is refused in so many
    words; "nothing" once it is closed.
    """

    def __init__(self, connection, head):
        self.connection = connection
        self.scope = head.scope
        self.change = Change(connection.loop)
        self.is_running = True
        self.is_begun = False
        self.expected = "accept"
        self._head = head
        self._outflow = connection.outflow
        self._reader = FrameReader()
        self._has_connected = False
        self._messages = []
        self._held = 0
        # (code, reason) once it has ended, whoever ended it.
        self._end = None
        # Status and headers of a refusal in so many words, and its body so far.
        self._refusal, self._refusal_body = b"", []
        self._is_closing = False  # Our close frame is out.

    def name(self):
        return f"WebSocket {self._head.name()}"

    # What the application calls.

    async def receive(self):
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        while True:
            if self._messages:
                message = self._messages.pop(0)
                self._held -= _size(message)
                if not self._messages:
                    self._read_on()
                return message
            if self._end is not None:
                code, reason = self._end
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
            await self.change.wait()

    async def send(self, message):
        kind = message["type"]
        if self.expected != "nothing" and self._end is not None:
            raise ClientGone("the client is gone")
        if kind == "websocket.send" and self.expected == "messages":
            await self._outflow.write(_frame_of(message))
        elif kind == "websocket.accept" and self.expected == "accept":
            await self._accept(message)
        elif kind == "websocket.close" and self.expected == "messages":
            await self._close(message)
        elif kind == "websocket.close" and self.expected == "accept":
            self._refuse(b"Status: 403 Forbidden\r\n", b"")
        elif kind == "websocket.http.response.start" and self.expected == "accept":
            self._refusal = line_of_status(message["status"]) + _without_length(message)
            self.expected = "refusal"
        elif kind == "websocket.http.response.body" and self.expected == "refusal":
            self._refusal_body.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._refuse(self._refusal, b"".join(self._refusal_body))
        elif self._end is not None:
            raise ClientGone("the client is gone")
        else:
            raise SpecificationError(f"the application sent {kind!a}; {EXPECTED[self.expected]}")

    async def _accept(self, message):
        lines, _ = lines_of(message)
        lower = lines.lower()
        if b"sec-websocket-accept:" in lower or b"sec-websocket-extensions:" in lower:
            raise SpecificationError(f"{message['type']}: its headers have the server's own")
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            if subprotocol not in self.scope["subprotocols"]:
                what = f"the subprotocol {subprotocol!a} was not offered"
                raise SpecificationError(f"{message['type']}: {what}")
            lines += f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode()
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept_of(self.scope), lines)
        )
        self.expected = "messages"
        self.is_begun = True
        # It is another protocol from here on, also for the server: before the client can see it.
        self.connection.switch()
        await self._outflow.write(head)

    async def _close(self, message):
        code = message.get("code", NORMAL)
        if not is_code(code):
            raise SpecificationError(f"websocket.close: {code!a} is no code to close with")
        self._say_close(code, message.get("reason") or "")
        await self._outflow.drained()

    def _refuse(self, start, body):
        self.expected = "nothing"
        self._end = (ABNORMAL, "")
        self.is_begun = True
        length = b"Content-Length: %d\r\n" % len(body)
        self._outflow.put(b"%b%b%b\r\n%b" % (start, length, self.connection.last_line(), body))
        self.change.happened()
        self.connection.answered(True)

    # What the connection calls.

    def feed(self, data):
        if self._end is not None and not self._is_closing:
            return
        self._reader.feed(data)
        self._take_messages()

    def client_ended(self):
        self._finish((ABNORMAL, ""))
        self.connection.close_now()

    def leave(self):
        """The client is gone."""
        self._finish((ABNORMAL, ""))

    def restart(self):
        """The instance is to leave."""
        if self.expected == "messages" and not self._is_closing:
            self._say_close(SERVICE_RESTART, "")

    # Frames.

    def _take_messages(self):
        try:
            while not self._is_full:
                message = self._reader.next()
                if message is None:
                    return
                if not self._take(*message):
                    return
        except Violation as violation:
            self._end = self._end or (violation.code, str(violation))
            self._say_close(violation.code, str(violation))
            self.connection.close()
            return
        self.connection.read(False)

    @property
    def _is_full(self):
        return len(self._messages) >= MAX_HELD_MESSAGES or self._held > MAX_HELD_BYTES

    def _take(self, opcode, payload):
        """Whether there may be more."""
        if opcode == CLOSE:
            code, reason = payload
            if not self._is_closing:
                self._outflow.put(close_frame(code, ""))
            self._finish(self._end or (code, reason))
            self.connection.close_now()
            return False
        if opcode == PING:
            if not self._is_closing and not self._outflow.put(frame(PONG, payload)):
                # Who does not read is not read from, either.
                self.connection.read(False)
                self.connection.loop.create_task(self._read_when_drained())
                return False
        elif opcode in (TEXT, BINARY) and not self._is_closing:
            key = "text" if opcode == TEXT else "bytes"
            message = {"type": "websocket.receive", key: payload}
            self._messages.append(message)
            self._held += _size(message)
            self.change.happened()
        return True

    async def _read_when_drained(self):
        await self._outflow.drained()
        if self._end is None:
            self._read_on()

    def _read_on(self):
        """What was held back, and then what comes."""
        if self._end is None or self._is_closing:
            self.connection.read(True)
            self._take_messages()

    def _say_close(self, code, reason):
        """Our part of the closing; the client has a moment for its own."""
        if self._is_closing:
            return
        self._is_closing = True
        self._outflow.put(close_frame(code, reason))
        self._finish(self._end or (code, reason))
        self._messages, self._held = [], 0
        self.connection.read(True)
        self.connection.loop.call_later(CLOSE_SECONDS, self.connection.close_now)

    def _finish(self, end):
        if self._end is None:
            self._end = end
        self.expected = "nothing"
        self.change.happened()

    # The application's call.

    def _returned(self):
        if self.expected == "messages":
            self._say_close(NORMAL, "")
        elif self.expected != "nothing":
            what = "the application returned: it has neither accepted nor refused"
            self._fail(SpecificationError(what))

    def _fail(self, error):
        has_left = self._end is not None and is_of_the_client(error)
        if not has_left and not (is_cancelled(error) and self.connection.instance.is_leaving):
            report(self.name(), error)
        if self.expected == "messages":
            self._say_close(INTERNAL_ERROR, "")
        elif self.expected != "nothing":
            self._refuse(b"Status: 500 Internal Server Error\r\n", b"")


EXPECTED = {
    "accept": "what may come now is 'websocket.accept' or 'websocket.close'",
    "messages": "what may come now is 'websocket.send' or 'websocket.close'",
    "refusal": "what may come now is 'websocket.http.response.body'",
    "nothing": "the WebSocket is closed already",
}


def _frame_of(message):
    text, data = message.get("text"), message.get("bytes")
    if (text is None) == (data is None):
        raise SpecificationError("websocket.send: it has not one of text and bytes")
    if text is not None:
        if not isinstance(text, str):
            raise SpecificationError(f"websocket.send: text is a {type(text).__name__}")
        return frame(TEXT, text.encode())
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise SpecificationError(f"websocket.send: bytes is a {type(data).__name__}")
    return frame(BINARY, bytes(data))


def _size(message):
    return len(message.get("text") or message.get("bytes") or b"")


def _without_length(message):
    """The headers of a refusal: its length is ours to say."""
    named = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"content-length"]
    return lines_of({"type": message["type"], "headers": named})[0]


def _value(scope, name):
    return next((value for header, value in scope["headers"] if header == name), b"")


def accept_of(scope):
    key = _value(scope, b"sec-websocket-key")
    return b64encode(sha1(key.strip() + MAGIC).digest())


def refusal_of(head):
    """Why a handshake is none (RFC 6455, 4.2.1): status, text and headers of the answer; None."""
    if _value(head.scope, b"sec-websocket-version").strip() != b"13":
        more = "Sec-WebSocket-Version: 13\r\n"
        return "426 Upgrade Required", "The version of WebSocket here is 13.\n", more
    if not _value(head.scope, b"sec-websocket-key").strip():
        return "400 Bad Request", "Bad request: there is no Sec-WebSocket-Key.\n", ""
    return None
