"""Frames of WebSockets (RFC 6455, 5), a server's side, without I/O: bytes come in, messages and
control frames go out. What breaks the protocol raises Violation, with the code to close with.
No extension is spoken, so reserved bits are violations.
"""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# The largest message that is taken, of all of its fragments.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

# RFC 6455, 5.5.
MAX_CONTROL_BYTES = 125

# RFC 6455, 7.4: why a WebSocket is closed.
NORMAL, GOING_AWAY, PROTOCOL_ERROR, NO_STATUS, ABNORMAL = 1000, 1001, 1002, 1005, 1006
BAD_DATA, TOO_BIG, INTERNAL_ERROR, SERVICE_RESTART = 1007, 1009, 1011, 1012


class Violation(Exception):
    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code


class FrameReader:
    def __init__(self):
        self._data = bytearray()
        # Of a message of which more fragments are to come.
        self._opcode = None
        self._fragments = bytearray()  # Joined as they come: each by itself would take far more.

    def feed(self, data):
        self._data += data

    def next(self):
        """The next (opcode, payload), of a whole message or a control frame; None: not here yet.
        A text's payload is a str, a close's (code, reason).
        """
        while True:
            frame = self._next_frame()
            if frame is None:
                return None
            opcode, is_last, payload = frame
            if opcode == CLOSE:
                return CLOSE, _close_of(payload)
            if opcode in (PING, PONG):
                return opcode, payload
            message = self._add(opcode, is_last, payload)
            if message is not None:
                return message

    def _next_frame(self):
        data = self._data
        if len(data) < 2:
            return None
        opcode, is_last, short = data[0] & 15, bool(data[0] & 128), data[1] & 127
        self._check(data[0], data[1], opcode, is_last, short)
        start = {126: 4, 127: 10}.get(short, 2)
        if len(data) < start:
            return None
        length = short if start == 2 else int.from_bytes(data[2:start], "big")
        # Before it is received: a length alone must not make us hold anything.
        if len(self._fragments) + length > MAX_MESSAGE_BYTES:
            raise Violation(TOO_BIG, f"a message exceeds {MAX_MESSAGE_BYTES} bytes")
        end = start + 4 + length
        if len(data) < end:
            return None
        payload = masked(data[start + 4 : end], data[start : start + 4])
        del data[:end]
        return opcode, is_last, payload

    def _check(self, first, second, opcode, is_last, short):
        if first & 112:
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
        if not second & 128:
            raise Violation(PROTOCOL_ERROR, "a client's frame is not masked")
        if opcode in (CLOSE, PING, PONG):
            if not is_last or short > MAX_CONTROL_BYTES:
                raise Violation(PROTOCOL_ERROR, "a control frame is fragmented or too long")
        elif opcode == CONTINUATION:
            if self._opcode is None:
                raise Violation(PROTOCOL_ERROR, "nothing is to be continued")
        elif opcode not in (TEXT, BINARY):
            raise Violation(PROTOCOL_ERROR, f"the opcode {opcode} is unknown")
        elif self._opcode is not None:
            raise Violation(PROTOCOL_ERROR, "a message begins inside another")

    def _add(self, opcode, is_last, payload):
        if opcode != CONTINUATION:
            self._opcode = opcode
        if not is_last:
            self._fragments += payload
            return None
        if self._fragments:
            payload = bytes(self._fragments + payload)
            self._fragments = bytearray()
        opcode, self._opcode = self._opcode, None
        return opcode, _text_of(payload) if opcode == TEXT else payload


def masked(payload, mask):
    """Each byte with its byte of the mask: as one large number, which C does."""
    count = len(payload)
    if not count or not any(mask):
        return bytes(payload)
    pattern = (bytes(mask) * (count // 4 + 1))[:count]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return number.to_bytes(count, "little")


def _text_of(payload):
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(BAD_DATA, "a text is not UTF-8") from None


def _close_of(payload):
    if not payload:
        return NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_code(code):
        raise Violation(PROTOCOL_ERROR, "a close frame has no valid code")
    return code, _text_of(payload[2:])


def is_code(code):
    """Whether a close frame may have it (RFC 6455, 7.4, and its registry)."""
    return 1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code <= 4999


def frame(opcode, payload):
    """A whole frame, as a server sends it."""
    count = len(payload)
    if count < 126:
        head = bytes((128 | opcode, count))
    elif count < 65_536:
        head = bytes((128 | opcode, 126)) + count.to_bytes(2, "big")
    else:
        head = bytes((128 | opcode, 127)) + count.to_bytes(8, "big")
    return head + payload


def close_frame(code, reason):
    if code == NO_STATUS:
        return frame(CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: MAX_CONTROL_BYTES - 2]
    # Cut where no character is.
    text = text.decode("utf-8", "ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)
