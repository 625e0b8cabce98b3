"""One connection: requests come in, the application is called, answers go out.

Nothing here waits for a head to arrive: `turn` does what can be done now and says what the
connection is then. It waits for the client only while the application runs, which reads the body
and writes the answer as it likes.
"""
import time
from _socket import MSG_DONTWAIT, SHUT_WR

from pool_loader.answer import Answer, request_name
from pool_loader.body import ChunkedBody, EmptyBody, EndlessBody, LengthBody
from pool_loader.environ import make_environ
from pool_loader.head import MAX_HEAD_BYTES, BadRequest, ClientGone, has_head, length_of
from pool_loader.startup import report

RECEIVED_BYTES = 65_536

# How long the rest of a body nobody wants is read: closing at once would turn the client's EOF
# into ECONNRESET.
LINGER_SECONDS = 2

EMPTY_BODY = EmptyBody()


class Session:
    """`turn` returns what the connection is after it:

    "waiting" for a whole head, "kept" for the next request, "ready" with one that has already come,
    "lingering" until `deadline` while the client sends what nobody wants, or "over".
    `tell_done` is called once, when the application has nothing more to do for it; `may_keep` with
    each request that asks to keep the session.
    """

    __slots__ = (
        *("connection", "deadline", "is_kept", "environ"),
        *("_tell_done", "_may_keep", "_received", "_body"),
    )

    def __init__(self, connection, tell_done, may_keep):
        self.connection = connection
        self._tell_done = tell_done
        self._may_keep = may_keep
        self.deadline = None
        # It has been answered, and nothing of another request is here yet.
        self.is_kept = False
        # Of the request that the application is called for just now.
        self.environ = None
        # Of a head that is not whole yet, or of the next request.
        self._received = b""
        self._body = EMPTY_BODY

    def turn(self, application):
        """To be called when the connection is readable. Raises what is to end the process."""
        if self.deadline is not None:
            return self._linger()
        if self._received:
            return self._turn_otherwise(self._receive_more(), application)
        try:
            data = self.connection.recv(RECEIVED_BYTES, MSG_DONTWAIT)
        except BlockingIOError:
            return "waiting"
        except OSError:
            return "over"
        self.is_kept = False
        # As a rule a head comes whole and alone.
        if int.from_bytes(data[:4], "big") + 4 == len(data):
            return self._answer(data[4:], b"", application)
        return self._turn_otherwise(data, application)

    def _turn_otherwise(self, data, application):
        if not data:
            return "over"
        if not has_head(data):
            self._received = bytearray(data) if type(data) is bytes else data
            return "waiting"
        self._received = b""
        size = int.from_bytes(data[:4], "big")
        if size > MAX_HEAD_BYTES:
            return self._refuse(f"headers of {size} bytes, {MAX_HEAD_BYTES} at most")
        return self._answer(bytes(data[4 : 4 + size]), bytes(data[4 + size :]), application)

    def _answer(self, head, start, application):
        try:
            environ = make_environ(head)
            is_kept = environ.pop("SESSION_KEEP", "") == "1"
            self._body = environ["wsgi.input"] = self._body_of(environ, start, is_kept)
        except BadRequest as error:
            return self._refuse(error)
        may_keep = is_kept and self._may_keep()
        answer = Answer(self.connection, environ, self._body, is_kept, may_keep)
        self._serve(application, environ, answer)
        return self._keep() if answer.is_whole and not answer.is_last else self._end()

    def _receive_more(self):
        """What there is of the next head; nothing: the client is gone."""
        received = self._received
        if has_head(received):
            return received
        try:
            piece = self.connection.recv(RECEIVED_BYTES, MSG_DONTWAIT)
        except BlockingIOError:
            return received
        except OSError:
            return b""
        self.is_kept = False
        if not piece:
            return b""
        received += piece  # In place: a head that comes byte by byte stays linear.
        return received

    def _body_of(self, environ, start, is_kept):
        """wsgi.input. `start`: what came with the head."""
        length = length_of(environ.get("CONTENT_LENGTH"))
        # The application gets the body as it was before it was put into chunks.
        encoding = environ.pop("HTTP_TRANSFER_ENCODING", None)
        if is_kept and encoding is not None:
            if encoding.lower() != "chunked" or length is not None:
                raise BadRequest("the body is neither of a length nor chunked")
            return ChunkedBody(self.connection, start)
        if length is None and not is_kept and not _has_no_body(environ, encoding):
            return EndlessBody(self.connection, start)
        return LengthBody(self.connection, start, length or 0) if length or start else EMPTY_BODY

    def _serve(self, application, environ, answer):
        result = None
        self.environ = environ
        try:
            result = application(environ, answer.start)
            answer.send(result)
        except ClientGone:
            pass
        except BadRequest as error:
            _replace(answer, "400 Bad Request", f"Bad request: {error}.\n")
        except Exception as error:
            _fail(answer, environ, error)
        except BaseException as error:  # sys.exit(): an answer, and then the process ends
            _fail(answer, environ, error)
            raise
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                _call(close, environ)
            self.environ = None

    def _keep(self):
        rest = self._body.rest
        self._body = EMPTY_BODY
        if not rest:
            self.is_kept = True
            return "kept"
        self._received = bytearray(rest)
        return "ready" if has_head(self._received) else "kept"

    def _refuse(self, error):
        self._body = EndlessBody(self.connection, b"")
        answer = Answer(self.connection, {"REQUEST_METHOD": ""}, self._body, False, False)
        try:
            # Without a length, or the client would take the session for one that goes on.
            answer.start("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
            answer.write(f"Bad request: {error}.\n".encode())
        except ClientGone:
            pass
        return self._end()

    def _end(self):
        try:
            if self._body.discard():
                return "over"
        except OSError:
            return "over"
        # Before the client can see the end.
        self._tell_done()
        self.deadline = time.monotonic() + LINGER_SECONDS
        try:
            self.connection.shutdown(SHUT_WR)
        except OSError:
            return "over"
        return "lingering"

    def close(self):
        if self.deadline is None:
            self._tell_done()
        self.connection.close()

    def _linger(self):
        try:
            return "over" if self._body.discard() else "lingering"
        except OSError:
            return "over"


def _has_no_body(environ, encoding):
    """Where only the end of the client's side could say where a body ends."""
    return encoding is None and environ["REQUEST_METHOD"] in ("GET", "HEAD")


def _fail(answer, environ, error):
    report(request_name(environ), error)
    _replace(answer, "500 Internal Server Error", "Internal Server Error\n")


def _replace(answer, status, text):
    """Answers with an error, if nothing has been sent yet: an end too early is all that is left."""
    if answer.is_sent:
        return
    try:
        answer.fail(status, text)
    except ClientGone:
        pass


def _call(close, environ):
    """An iterable's close(): the answer is out, and its failure is for the log alone."""
    try:
        close()
    except ClientGone:
        pass
    except Exception as error:
        report(request_name(environ), error)
