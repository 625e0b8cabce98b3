"""What a Python application is called with: WSGI (PEP 3333) or ASGI 3. Which of the two a callable
is made for can be seen as a rule; where it cannot, it is taken for what it is said to be.
"""

CO_VARARGS = 0x04
CO_COROUTINE = 0x80

WORDS = {
    "wsgi": "a WSGI application (it is called with environ and start_response)",
    "asgi": "an ASGI application (it is called with scope, receive and send)",
}


class NoApplication(Exception):
    """There is no application of the interface; the message is all there is to say."""


def application_of(module, what):
    """The application that a module defines, and its interface. Raises NoApplication."""
    name, application = _named_callable(module, what) if what.callable else _usual(module, what)
    if not callable(application):
        kind = type(application).__name__
        raise NoApplication(f"`{name}` in {what.shown} cannot be called: it is a {kind}")
    seen = interface_of(application)
    if what.interface == "either":
        return application, seen or "wsgi"
    if seen not in (None, what.interface):
        said = f"`{name}` in {what.shown} is {WORDS[seen]}, and its type here is {what.interface}"
        raise NoApplication(f'{said}: set type = "{seen}"')
    return application, what.interface


def _usual(module, what):
    """What is called `application`, or else `app`, as most frameworks' examples have it."""
    for name in ("application", "app"):
        application = getattr(module, name, None)
        if application is not None:
            return name, application
    kind = {"wsgi": "WSGI", "asgi": "ASGI"}.get(what.interface, "WSGI or ASGI")
    raise NoApplication(
        f"{what.shown} defines neither `application` nor `app`, the {kind} callable"
    )


def _named_callable(module, what):
    name = what.callable[:-2] if what.callable.endswith("()") else what.callable
    application = module
    for part in name.split("."):
        if not hasattr(application, part):
            raise NoApplication(f"{what.shown} has no `{name}`, which `app` names")
        application = getattr(application, part)
    if name != what.callable:
        application = application()
    return what.callable, application


def interface_of(application):
    """`asgi`: a coroutine function of three parameters, or an object whose `__call__` is one;
    `wsgi`: a function of two that is none; None: neither can be told.
    """
    found = _function_of(application)
    if found is None:
        return None
    code, given, has_defaults = found
    count = code.co_argcount - given
    takes_more = bool(code.co_flags & CO_VARARGS)
    if code.co_flags & CO_COROUTINE:
        return "asgi" if count == 3 or (takes_more and count < 3) else None
    if count == 2 and not takes_more:
        return "wsgi"
    return "asgi" if count == 3 and not takes_more and not has_defaults else None


def _function_of(application):
    """The code of a callable, how many of its parameters are given, and whether others may be left
    out; None where it is not written in Python.
    """
    given = 0
    for _ in range(10):  # Partials and methods around a function: a few, and not in a circle.
        if hasattr(application, "__func__"):  # A method, which shows its function's code, too.
            given += 1
            application = application.__func__
        elif hasattr(application, "__code__"):
            return application.__code__, given, bool(application.__defaults__)
        elif hasattr(application, "func") and hasattr(application, "args"):
            given += len(application.args)
            application = application.func
        elif isinstance(application, type):
            return None
        else:
            application = getattr(application, "__call__", None)
    return None
