"""What Ferry has to reach: ratios of medians, and bounds on memory and on answers' times."""

import math
from dataclasses import dataclass
from statistics import median
from typing import Callable

MIB = 1 << 20
# Two medians of the same thing differ by that much.
_NOISE = 1.05


@dataclass(frozen=True)
class Target:
    """value gets the results and returns a number, or raises KeyError where something was not measured."""
    work: str
    text: str
    value: Callable
    most: float | None = None
    least: float | None = None
    unit: str = "x"

    def verdict(self, results):
        """(value, "pass" or "FAIL"); (None, "not measured")."""
        try:
            value = self.value(results)
        except KeyError:
            return None, "not measured"
        passed = value <= self.most if self.most is not None else value >= self.least
        return value, "pass" if passed else "FAIL"

    @property
    def bound(self):
        return f"at most {self.most:g} {self.unit}" if self.most is not None else f"at least {self.least:g} {self.unit}"


def seconds(results, work, contender):
    return median(sample["seconds"] for sample in results[work][contender])


def _of_copy(work):
    return lambda results: seconds(results, work, "ferry") / seconds(results, work, "cp")


def _faster_than(other, work, ferry="ferry"):
    return lambda results: seconds(results, work, other) / seconds(results, work, ferry)


def _of_changed(work, bytes_of):
    return lambda results: median(bytes_of(sample) / sample["facts"]["changed_bytes"]
                                  for sample in results[work]["ferry"])


def _memory(work, side):
    return lambda results: max(sample["facts"][f"{side}_peak_bytes_above_idle"]
                               for sample in results[work]["ferry"]) / MIB


def percentile(values, share):
    """The least of them that is not less than this share of them."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _of_local(what):
    return lambda results: (median(results["overhead"]["memory"][f"{what} ferry"]) /
                            median(results["overhead"]["memory"][f"{what} local"]))


def _slowest(what):
    return lambda results: percentile(results["overhead"]["memory"][f"{what} ferry"], 0.99)


ALL = (
    Target("big", "time, of cp -a's", _of_copy("big"), most=1.0),
    Target("big", "faster than rsync -aHAXS over ssh", _faster_than("rsync", "big"), least=3),
    Target("big", "faster than tar over ssh aes128-gcm", _faster_than("tar-gcm", "big"), least=1),
    Target("big", "through ssh, faster than tar over ssh aes128-gcm", _faster_than("tar-gcm", "big", "ferry-ssh"),
           least=1),
    Target("big-compressible", "time, of that for big",
           lambda results: seconds(results, "big-compressible", "ferry") / seconds(results, "big", "ferry"),
           most=_NOISE),
    Target("gigabit", "faster than uncompressed", _faster_than("ferry-plain", "gigabit"), least=2),
    Target("small", "time, of cp -a's", _of_copy("small"), most=0.75),
    Target("small", "faster than rsync -aHAXS over ssh", _faster_than("rsync", "small"), least=2),
    Target("small", "through ssh, faster than tar over ssh aes128-gcm", _faster_than("tar-gcm", "small", "ferry-ssh"),
           least=1),
    Target("small", "memory above idle, source", _memory("small", "source"), most=64, unit="MiB"),
    Target("small", "memory above idle, destination", _memory("small", "destination"), most=64, unit="MiB"),
    Target("again", "faster than rsync -aHAXS over ssh", _faster_than("rsync", "again"), least=3),
    Target("nothing-found", "time beside a volume that has nothing of it, of that without one",
           lambda results: seconds(results, "nothing-found", "ferry-beside") / seconds(results, "nothing-found", "ferry"),
           most=_NOISE),
    Target("archive-write", "faster than tar over ssh aes128-gcm",
           _faster_than("tar-to-ssh", "archive-write", "ferry-to-sftp"), least=1),
    Target("archive-read", "faster than tar over ssh aes128-gcm",
           _faster_than("tar-from-ssh", "archive-read", "ferry-from-sftp"), least=1),
    Target("pages", "faster than rsync -aHAXS over ssh", _faster_than("rsync", "pages"), least=8),
    Target("pages", "bytes_sent in Status, of the bytes changed",
           _of_changed("pages", lambda sample: sample["facts"]["bytes_sent"]), most=2),
    Target("pages", "bytes on the wire, of the bytes changed",
           _of_changed("pages", lambda sample: sample["wire_bytes"]), most=2),
    Target("overhead", "create, p50, of the local driver's", _of_local("create"), most=3),
    Target("overhead", "rm, p50, of the local driver's", _of_local("rm"), most=3),
    Target("overhead", "create, p99", _slowest("create"), most=10, unit="ms"),
    Target("overhead", "rm, p99", _slowest("rm"), most=10, unit="ms"),
    Target("overhead", "ls of 10,000 volumes, p50",
           lambda results: median(results["overhead"]["memory"]["ls ferry"]), most=100, unit="ms"),
)
