"""Waiting is for a condition, with a deadline."""

import time


def wait_until(condition, deadline, what, interval=0.05):
    """Returns the first true value of condition(); what says in the failure what was waited for."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}")
        time.sleep(interval)


class Stopwatch:
    def __init__(self):
        self.started = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.started
