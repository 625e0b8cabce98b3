"""The loader of Python applications:
`python3 loader.py instance|preloader STARTUP_FILE INTERFACE [name=value ...] [-- ARGUMENTS]`.

The interface is `wsgi`, `asgi`, or `either`, which is found out. Settings: `concurrency`, sessions
at once that an ASGI application is to serve; `threads`, the same for a WSGI application; `app`, as
`module:callable`; `root`, if it is not the working directory; `interpreter`, `chosen` if this is
the one to be used. Arguments are the application's.

It runs in the application's root, or where it is configured to, as the application's user, and
finds its own modules beside this file, and in the folders of the interfaces, as the package
`pool_loader`: no directory of ours gets onto sys.path, and no name of ours can hide one of the
application's. Python 3.8 or newer, the standard library alone; of that what is written in C, where
it will do: to import `signal` and `socket` takes as long as Python's own start.
"""
import _signal
import os
import sys


def read_arguments():
    """Mode, startup file, interface, settings by name, and the application's arguments."""
    mode, startup_file, interface, *rest = sys.argv[1:]
    end = rest.index("--") if "--" in rest else len(rest)
    settings = dict(setting.split("=", 1) for setting in rest[:end])
    return mode, startup_file, interface, settings, rest[end + 1 :]


def use_virtualenv(root, settings):
    """Goes on in the virtual environment that lies in the application's root, if one does.

    One that is active already was chosen by PATH, and stays.
    """
    if sys.prefix != sys.base_prefix or "interpreter" in settings:
        return
    for name in (".venv", "venv"):
        directory = os.path.join(root, name)
        if os.path.exists(directory + "/pyvenv.cfg"):
            python = directory + "/bin/python3"
            arguments = [python, *sys.argv[:4], "interpreter=chosen", *sys.argv[4:]]
            try:
                os.execv(python, arguments)
            except OSError as error:
                raise OSError(error.errno, error.strerror, python) from None


def find_modules():
    """Makes our own modules importable, all of them below one name."""
    directory = os.path.dirname(os.path.abspath(__file__))
    package = type(sys)("pool_loader")
    beside = os.path.dirname(directory)
    package.__path__ = [directory, *[os.path.join(beside, name) for name in ("wsgi", "asgi")]]
    sys.modules["pool_loader"] = package
    # With PYTHONSAFEPATH our directory is not there in the first place.
    if sys.path and os.path.abspath(sys.path[0]) == directory:
        del sys.path[0]


def instances_of(interface, settings):
    """What makes an instance of an application, with all it needs loaded."""
    if interface == "asgi":
        from pool_loader.loop_instance import LoopInstance

        return lambda application: LoopInstance(application, int(settings["concurrency"]))
    from pool_loader import instance

    threads = int(settings.get("threads", "1"))
    kind = instance.kind_for(threads)
    return lambda application: kind(application, threads)


def schedule_as_batch():
    """As the server does where it knows what it starts: see scheduleAsBatch in process.ts."""
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (OSError, AttributeError):
        pass  # A fence, or an interpreter without these calls: it serves all the same.


def main():
    mode, startup_file, interface, settings, arguments = read_arguments()
    find_modules()
    from pool_loader import lifeline, startup

    root = os.path.realpath(settings["root"]) if "root" in settings else os.getcwd()
    what = startup.Startup(root, startup_file, settings.get("app", ""), interface, arguments)
    # No KeyboardInterrupt somewhere in the application: it ends the process, as SIGTERM does.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    try:
        lifeline.end_with_server()
        use_virtualenv(root, settings)
        lifeline.keep_to_ourselves()
        if sys.version_info < (3, 8):
            raise startup.NoApplication(f"Python {sys.version.split()[0]} is older than 3.8")
        # Before the application, whose modules may hide or change those of the library, and
        # before forking: what has been loaded by then need not be loaded by each instance.
        make_instance = instances_of(interface, settings)
        if mode == "preloader":
            from pool_loader import preloader
        application, found = startup.load(what)
        if found != interface:
            make_instance = instances_of(found, settings)
            if found == "wsgi":
                schedule_as_batch()
    except BaseException as error:  # sys.exit() at the top of a module too
        text = startup.describe_failure(what, error)
        startup.write_error(text)
        lifeline.tell_failure(text)
        # Not sys.exit(): threads that the application has started could hold us up.
        os._exit(1)
    if mode == "preloader":
        preloader.run()  # Returns in the instances that it forks.
    make_instance(application).run()


# Not when multiprocessing imports us in a child of the application.
if __name__ == "__main__":
    main()
