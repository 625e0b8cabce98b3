"""A bad tenant: what it does is the last part of the path."""

import os
import signal
import subprocess
import sys
import time


def flood():
    for at in range(50_000):
        print("" if at % 2 else f"a line of a flood, and not the last one: {at}")
    sys.stdout.flush()


DEEDS = {
    "slow": lambda: time.sleep(0.3),
    "hang": lambda: time.sleep(3600),
    "flood": flood,
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "fork": lambda: subprocess.Popen(["sleep", "60"], start_new_session=True),
}


def application(environ, start_response):
    deed = DEEDS.get(environ["PATH_INFO"].rpartition("/")[2])
    if deed is not None:
        deed()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
