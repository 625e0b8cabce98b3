"""The head of a session (PROTOCOL section 5) as the scope of an ASGI request.

The hot path splits the block once. Names of headers are made once for each variable that has come.
"""
import sys
from urllib.parse import quote

from pool_loader.head import METHODS, BadRequest, check_method, is_token, length_of

# OSError from `send` once the client has left: 2.4.
VERSIONS = {"version": "3.0", "spec_version": "2.4"}

# What a session can do beyond requests and answers (ASGI, Extensions).
HTTP_EXTENSIONS = {"http.response.early_hint": {}, "http.response.pathsend": {}}
PLAIN_EXTENSIONS = {"http.response.pathsend": {}}  # Where no interim answer is understood.
WEBSOCKET_EXTENSIONS = {"websocket.http.response": {}}

# Variables that have come and are headers, with the header's name. Bounded, as clients choose them.
_names = {b"CONTENT_TYPE": b"content-type", b"CONTENT_LENGTH": b"content-length"}
MAX_NAMES = 1_000
MAX_NAME_BYTES = 100

# Headers whose value is a connection's, which the session is not.
OF_THE_CONNECTION = frozenset([b"HTTP_CONNECTION", b"HTTP_KEEP_ALIVE", b"HTTP_UPGRADE"])


class Head:
    """A request: its scope, and what is ours to know of it."""

    __slots__ = ("scope", "method", "length", "is_chunked", "is_kept", "is_websocket")

    def name(self):
        """For the log: without the query, which may hold what is nobody's business."""
        return f"{self.method} {self.scope['path']!a}"


def read_head(block, state, below_root):
    """A Head of the bytes after a head's size. Raises BadRequest.

    `state`: that of the lifespan. `below_root`: whether the path is to begin below root_path.
    """
    parts = block.split(b"\0")
    if parts.pop() or not parts:
        raise BadRequest("the headers do not end with a NUL")
    if len(parts) % 2:
        raise BadRequest("a header lacks its value")
    names, values = parts[::2], parts[1::2]
    variables = dict(zip(names, values))
    headers = []
    for name, value in zip(names, values):
        header = _names.get(name)
        if header is None:
            header = _header_of(name)
        # Length and type of a body are empty where there is none.
        if header and (value or name.startswith(b"HTTP_")):
            headers.append((header, value))
    if b"\n" in block or b"\r" in block:
        _check_lines(variables)
    head = Head()
    head.method = variables.get(b"REQUEST_METHOD", b"").decode("latin-1")
    if head.method not in METHODS:
        check_method(head.method)
    head.is_kept = variables.get(b"SESSION_KEEP") == b"1"
    _frame(head, variables, headers)
    _offer(head, variables, headers)
    head.scope = _scope(head, variables, headers, below_root)
    head.scope["state"] = state.copy()
    return head


def _header_of(name):
    """The header's name; empty where a variable is none."""
    if not name:
        raise BadRequest("a header lacks its name")
    if not name.startswith(b"HTTP_"):
        header = b""
    else:
        header = name[5:].lower().replace(b"_", b"-")
        if not is_token(header.decode("latin-1")):
            raise BadRequest(f"the header {header!a} is not one of HTTP")
        if name in OF_THE_CONNECTION or header in (b"content-length", b"content-type"):
            header = b""
    if len(_names) < MAX_NAMES and len(name) <= MAX_NAME_BYTES:
        _names[name] = header
    return header


# What is decoded may hold a line end; what came of a request line or a header has none.
DECODED = (b"PATH_INFO", b"SCRIPT_NAME")


def _check_lines(variables):
    for name, value in variables.items():
        both = name if name in DECODED else name + value
        if b"\n" in both or b"\r" in both:
            raise BadRequest(f"the value of {name.decode('latin-1')!a} has a line end")


OF_THE_BODY = ((b"CONTENT_LENGTH", b"content-length"), (b"CONTENT_TYPE", b"content-type"))


def _frame(head, variables, headers):
    """Where the body ends. Front ends name its length and type as those of other headers, too."""
    for name, header in OF_THE_BODY:
        other = variables.get(b"HTTP_" + name)
        if other is None:
            continue
        value = variables.get(name, b"")
        if other and value and other != value:
            raise BadRequest(f"there are two of {name.decode()}")
        if other and not value:
            variables[name] = other
            headers.append((header, other))
    head.length = length_of(variables.get(b"CONTENT_LENGTH", b"").decode("latin-1"))
    coding = variables.get(b"HTTP_TRANSFER_ENCODING", b"")
    head.is_chunked = head.is_kept and coding != b""
    if head.is_chunked and (coding.lower() != b"chunked" or head.length is not None):
        raise BadRequest("the body is neither of a length nor chunked")


def _offer(head, variables, headers):
    """Whether a WebSocket is asked for; only who follows PROTOCOL section 11 can change to one."""
    head.is_websocket = False
    upgrade = variables.get(b"HTTP_UPGRADE")
    if upgrade is None or not head.is_kept or head.is_chunked or head.length:
        return
    tokens = variables.get(b"HTTP_CONNECTION", b"").lower().replace(b" ", b"").split(b",")
    if b"upgrade" not in tokens or upgrade.lower() != b"websocket" or head.method != "GET":
        return
    head.is_websocket = True
    headers += [(b"connection", b"Upgrade"), (b"upgrade", upgrade)]


def _scope(head, variables, headers, below_root):
    get = variables.get
    root = get(b"SCRIPT_NAME", b"")
    root = b"" if root == b"/" else root
    path, raw_path, query = _target(variables, root)
    is_secure = get(b"HTTPS", b"").lower() in (b"on", b"1", b"true")
    scope = {
        "type": "http",
        "asgi": VERSIONS.copy(),
        "http_version": "1.0" if get(b"SERVER_PROTOCOL") == b"HTTP/1.0" else "1.1",
        "method": head.method,
        "scheme": "https" if is_secure else "http",
        "path": (path if below_root else root + path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root.decode("utf-8", "replace"),
        "headers": headers,
        "client": _end(get(b"REMOTE_ADDR"), get(b"REMOTE_PORT"), 0),
        "server": _end(get(b"SERVER_NAME"), get(b"SERVER_PORT"), 443 if is_secure else 80),
        "extensions": (HTTP_EXTENSIONS if head.is_kept else PLAIN_EXTENSIONS).copy(),
    }
    if head.is_websocket:
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if is_secure else "ws"
        scope["extensions"] = WEBSOCKET_EXTENSIONS.copy()
        scope["subprotocols"] = _subprotocols(headers)
        del scope["method"]
    return scope


def _target(variables, root):
    """The path below the root, decoded; the path as it was sent; the query."""
    uri, _, query = variables.get(b"REQUEST_URI", b"").partition(b"?")
    query = variables.get(b"QUERY_STRING", query)
    if uri[:8].lower().startswith((b"http://", b"https://")):
        uri = b"/" + uri.split(b"/", 3)[3] if uri.count(b"/") > 2 else b"/"
    path = variables.get(b"PATH_INFO")
    if path is None:
        from urllib.parse import unquote_to_bytes

        path = unquote_to_bytes(uri)
        path = path[len(root) :] if path.startswith(root) else path
    return path, uri or quote(root + path).encode(), query


def _end(host, port, usual):
    if not host:
        return None
    is_number = port is not None and port.isdigit() and len(port) < 6
    return (host.decode("latin-1"), int(port) if is_number else usual)


def _subprotocols(headers):
    values = [value for name, value in headers if name == b"sec-websocket-protocol"]
    names = b",".join(values).decode("latin-1").split(",")
    return [name.strip() for name in names if name.strip()]


def has_old_starlette():
    """Before 0.33 Starlette, and FastAPI with it, takes the path to begin below root_path; others,
    and the specification, have it whole.
    """
    routing = sys.modules.get("starlette.routing")
    return routing is not None and not hasattr(routing, "get_route_path")
