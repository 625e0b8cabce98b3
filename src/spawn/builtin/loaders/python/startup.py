"""Loads the application, and says what is wrong with it in words that its developer can act on.

The startup file is imported under its own name, but compiled afresh each time: a cached .pyc is
told from a newer source by the second, and a restart may come sooner. The application's other
modules are cached as ever.
"""
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

import pool_loader


class FreshLoader(SourceFileLoader):
    """Loads a module from its source alone, and leaves no .pyc."""

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class NoApplication(Exception):
    """The startup file has no callable `application`; the message is all there is to say."""


def load(startup_file):
    """The WSGI callable of a startup file in the working directory. Raises whatever that raises."""
    # Lines appear in the log when they are written, not when there are many.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    sys.argv = [startup_file]
    # As for `python wsgi.py`.
    sys.path.insert(0, os.getcwd())
    name = os.path.splitext(startup_file)[0]
    module = _new_module(name, os.path.join(os.getcwd(), startup_file))
    sys.modules[name] = module
    module.__loader__.exec_module(module)
    return _callable_of(module, startup_file)


def _new_module(name, path):
    """As importlib.util makes it, whose import would be a tenth of a small application's start."""
    loader = FreshLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = type(sys)(name)
    module.__spec__, module.__loader__ = spec, loader
    module.__file__, module.__package__ = path, ""
    return module


def _callable_of(module, startup_file):
    missing = object()
    application = getattr(module, "application", missing)
    if application is missing:
        hint = "; it has `app`: add `application = app`" if hasattr(module, "app") else ""
        raise NoApplication(f"{startup_file} defines no `application`, the WSGI callable{hint}")
    if not callable(application):
        kind = type(application).__name__
        raise NoApplication(f"`application` in {startup_file} cannot be called: it is a {kind}")
    return application


def describe_failure(startup_file, error):
    """The error in its own line, then its traceback without our frames and the import system's."""
    if isinstance(error, NoApplication):
        return f"{error}\n"
    import traceback  # Only when it is needed: it is slow to import.

    trace = visible_trace(error.__traceback__)
    if isinstance(error, SystemExit):
        what = f"{startup_file} called sys.exit({error.code!r}) while it was loaded"
    else:
        what = traceback.format_exception_only(type(error), error)[-1].strip()
    return what + "\n\n" + "".join(traceback.format_exception(type(error), error, trace))


def visible_trace(trace):
    """The part of a traceback that begins where the application's code does; perhaps None."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        is_ours = os.path.dirname(file) in pool_loader.__path__
        if not is_ours and not file.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None


def report(where, error):
    """Writes an exception of the application on stderr with its traceback; never raises."""
    try:
        import traceback

        trace = visible_trace(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        text = f"{type(error).__name__}, of which nothing can be shown\n"
    write_error(f"{where}:\n{text}")


def write_error(text):
    """Writes on stderr, wherever it leads; never raises."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:
        pass  # Closed or replaced by something broken: there is nobody left to tell.
