"""The head of a session (PROTOCOL section 5) as the environ of PEP 3333.

The hot path splits the block once and makes one dict. Whatever is unusual in it (a repeated header,
a missing variable, a line end) is looked for cheaply and dealt with aside.
"""
import sys

from pool_loader.file_wrapper import FileWrapper

# The most bytes of headers that are read.
MAX_HEAD_BYTES = 128 * 1024

# The same in every request. They are added last, so that no header can be one of them.
CONSTANT = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.file_wrapper": FileWrapper,
    # wsgi.input ends where the body does, also if there is no CONTENT_LENGTH.
    "wsgi.input_terminated": True,
}

# RFC 9110, 5.6.2: what methods and names of headers are made of.
TOKEN_CHARACTERS = (
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&'*+.^_`|~-"
)

# What comes of a request line or a header has no line end; decoded paths and certificates may.
ONE_LINE = ("HTTP_", "CONTENT_", "REQUEST_", "QUERY_STRING", "SERVER_PROTOCOL")


class BadRequest(OSError):
    """The request breaks the protocol or is no HTTP: answered with 400.

    An OSError, because that is what applications expect of a body which cannot be read.
    """


def make_environ(head):
    """The environ of a head, the bytes after its size; without wsgi.input."""
    parts = head.decode("latin-1").split("\0")
    if parts.pop() or not parts:  # What follows the last NUL.
        raise BadRequest("the headers do not end with a NUL")
    if len(parts) % 2:
        raise BadRequest("a header lacks its value")
    names = parts[::2]
    environ = dict(zip(names, parts[1::2]))
    if len(environ) != len(names):
        environ = _joined(names, parts[1::2])
    if "" in environ:
        raise BadRequest("a header lacks its name")
    if b"\n" in head or b"\r" in head:
        _check_lines(environ)
    method = environ.get("REQUEST_METHOD", "")
    if not is_token(method):
        raise BadRequest(_wrong_method(method))
    environ.update(CONSTANT)
    _complete(environ)
    return environ


def is_token(text):
    return text != "" and not text.strip(TOKEN_CHARACTERS)


def _complete(environ):
    """What PEP 3333 wants to be there, and what must not be."""
    if environ.get("HTTPS", "").lower() in ("on", "1", "true"):
        environ["wsgi.url_scheme"] = "https"
    if not environ.get("SERVER_NAME"):
        environ["SERVER_NAME"] = "localhost"
    if not environ.get("SERVER_PORT"):
        environ["SERVER_PORT"] = "443" if environ["wsgi.url_scheme"] == "https" else "80"
    if "SERVER_PROTOCOL" not in environ:
        environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    if environ.get("SCRIPT_NAME", "/") == "/":
        environ["SCRIPT_NAME"] = ""
    if "PATH_INFO" not in environ or "QUERY_STRING" not in environ:
        _split_uri(environ)
    # A client's header `Proxy` would become what programs take for their proxy (CVE-2016-5385).
    environ.pop("HTTP_PROXY", None)
    # These two go by their own names.
    environ.pop("HTTP_CONTENT_TYPE", None)
    environ.pop("HTTP_CONTENT_LENGTH", None)


def _split_uri(environ):
    path, _, query = environ.get("REQUEST_URI", "").partition("?")
    environ.setdefault("QUERY_STRING", query)
    if "PATH_INFO" in environ:
        return
    from urllib.parse import unquote  # Rarely needed, and slow to import.

    if path[:8].lower().startswith(("http://", "https://")):
        path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
    path = unquote(path, "latin-1")
    script = environ["SCRIPT_NAME"]
    environ["PATH_INFO"] = path[len(script) :] if path.startswith(script) else path


def _joined(names, values):
    """A repeated header means the same as one list (RFC 9110, 5.2), but for cookies."""
    environ = {}
    for name, value in zip(names, values):
        if name in environ and name.startswith("HTTP_"):
            separator = "; " if name == "HTTP_COOKIE" else ", "
            value = environ[name] + separator + value
        environ[name] = value
    return environ


def _check_lines(environ):
    for name, value in environ.items():
        both = name + value if name.startswith(ONE_LINE) else name
        if "\n" in both or "\r" in both:
            raise BadRequest(f"the value of {name!a} has a line end")


def _wrong_method(method):
    return f"the method {method!a} is not one of HTTP" if method else "REQUEST_METHOD is missing"


def length_of(environ):
    """CONTENT_LENGTH as a number; None without one."""
    text = environ.get("CONTENT_LENGTH")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest("CONTENT_LENGTH is not a length")
    return int(text)
