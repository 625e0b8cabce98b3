"""Every twentieth request is never answered."""

import itertools
import time

NUMBERS = itertools.count(1)


def application(_environ, start_response):
    if next(NUMBERS) % 20 == 0:
        time.sleep(3600)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
