"""The head of a session (PROTOCOL section 5) as the environ of PEP 3333.

The hot path splits the block once and makes one dict. Whatever is unusual in it (a repeated header,
a missing variable, a line end) is looked for cheaply and dealt with aside.
"""
import sys

from pool_loader.file_wrapper import FileWrapper
from pool_loader.head import METHODS, BadRequest, check_method

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

# What comes of a request line or a header has no line end; decoded paths and certificates may.
ONE_LINE = ("HTTP_", "CONTENT_", "REQUEST_", "QUERY_STRING", "SERVER_PROTOCOL")


def make_environ(head):
    """The environ of a head, the bytes after its size; without wsgi.input."""
    text = head.decode("latin-1")
    parts = text.split("\0")
    each = iter(parts)
    environ = dict(zip(each, each))  # What follows the last NUL is left over.
    if len(environ) * 2 + 1 != len(parts) or parts[-1] or "" in environ or not environ:
        environ = _unusual(parts)
    if "\n" in text or "\r" in text:
        _check_lines(environ)
    if environ.get("REQUEST_METHOD") not in METHODS:
        check_method(environ.get("REQUEST_METHOD", ""))
    environ.update(CONSTANT)
    if "HTTP_CONTENT_TYPE" in environ:
        _one_name(environ, "CONTENT_TYPE", environ.pop("HTTP_CONTENT_TYPE"))
    if "HTTP_CONTENT_LENGTH" in environ:
        _one_name(environ, "CONTENT_LENGTH", environ.pop("HTTP_CONTENT_LENGTH"))
    # A client's header `Proxy` would become what programs take for their proxy (CVE-2016-5385).
    environ.pop("HTTP_PROXY", None)
    _complete(environ)
    return environ


def _complete(environ):
    """What PEP 3333 wants to be there."""
    get = environ.get
    if "HTTPS" in environ and environ["HTTPS"].lower() in ("on", "1", "true"):
        environ["wsgi.url_scheme"] = "https"
    if not (get("SERVER_NAME") and get("SERVER_PORT") and "SERVER_PROTOCOL" in environ):
        _name_server(environ)
    if get("SCRIPT_NAME", "/") == "/":
        environ["SCRIPT_NAME"] = ""
    if "PATH_INFO" not in environ or "QUERY_STRING" not in environ:
        _split_uri(environ)


def _name_server(environ):
    if not environ.get("SERVER_NAME"):
        environ["SERVER_NAME"] = "localhost"
    if not environ.get("SERVER_PORT"):
        environ["SERVER_PORT"] = "443" if environ["wsgi.url_scheme"] == "https" else "80"
    environ.setdefault("SERVER_PROTOCOL", "HTTP/1.1")


def _one_name(environ, name, given):
    """Length and type of a body go by their own names, once, whichever they came by: parents of the
    2.0 series treat them like any other header.
    """
    value = environ.get(name, "")
    if given and value and given != value:
        raise BadRequest(f"there are two of {name}")
    if given or value:
        environ[name] = given or value


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


def _unusual(parts):
    """The environ where a name comes twice, or something is wrong."""
    if parts.pop() or not parts:
        raise BadRequest("the headers do not end with a NUL")
    if len(parts) % 2:
        raise BadRequest("a header lacks its value")
    names = parts[::2]
    if "" in names:
        raise BadRequest("a header lacks its name")
    return _joined(names, parts[1::2])


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
