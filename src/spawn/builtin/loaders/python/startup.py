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
from pool_loader.interfaces import NoApplication, application_of


class FreshLoader(SourceFileLoader):
    """Loads a module from its source alone, and leaves no .pyc."""

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class Startup:
    """What is to be loaded: a file below the root, or a module, the name of the callable, and its
    interface (interfaces.py).
    """

    def __init__(self, root, file, app, interface, arguments):
        self.root = root
        self.file = file
        self.module, _, self.callable = app.partition(":")
        self.interface = interface
        self.arguments = arguments

    @property
    def shown(self):
        """What is loaded, for people."""
        return self.module or self.file


def load(what):
    """The application, and `wsgi` or `asgi`. Raises whatever loading it raises."""
    # Lines appear in the log when they are written, not when there are many.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    sys.argv = [what.shown, *what.arguments]
    # As for `python wsgi.py`; the working directory too, if it is another of the application's.
    sys.path.insert(0, what.root)
    if os.getcwd().startswith(os.path.join(what.root, "")):
        sys.path.insert(1, os.getcwd())
    return application_of(_load_module(what), what)


def _load_module(what):
    if not what.module:
        name = os.path.splitext(os.path.basename(what.file))[0]
        return _execute(_new_module(name, os.path.join(what.root, what.file)))
    from importlib import import_module
    from importlib.util import find_spec

    spec = find_spec(what.module)  # Imports the packages around it.
    if spec is None or type(spec.loader) is not SourceFileLoader:
        return import_module(what.module)
    module = _new_module(what.module, spec.origin, spec.submodule_search_locations)
    _execute(module)
    package, _, name = what.module.rpartition(".")
    if package:
        setattr(sys.modules[package], name, module)
    return module


def _new_module(name, path, places=None):
    """As importlib.util makes it, whose import would be a tenth of a small application's start."""
    loader = FreshLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    spec.submodule_search_locations = places
    module = type(sys)(name)
    module.__spec__, module.__loader__ = spec, loader
    module.__file__, module.__package__ = path, spec.parent
    if places is not None:
        module.__path__ = places
    return module


def _execute(module):
    sys.modules[module.__name__] = module
    module.__loader__.exec_module(module)
    return sys.modules[module.__name__]


def describe_failure(what, error):
    """The error in its own line, then its traceback without our frames and the import system's."""
    if isinstance(error, NoApplication):
        return f"{error}\n"
    import traceback  # Only when it is needed: it is slow to import.

    trace = visible_trace(error.__traceback__)
    if isinstance(error, SystemExit):
        said = f"{what.shown} called sys.exit({error.code!r}) while it was loaded"
    else:
        said = traceback.format_exception_only(type(error), error)[-1].strip()
    return said + "\n\n" + "".join(traceback.format_exception(type(error), error, trace))


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
